"""run_eagerly=True: user code that sees the arrays of each batch.

A program is made of what code did with symbolic tensors. So that prints, breakpoints and checks in
the `call` of a layer see numbers too, it is called once more for each batch, with the very arrays
that the program has in that place; what it gives is not used. Losses and metrics are not traced
at all then; the gradient of a loss in `cdl.ops` is exact all the same (`BatchLoss` in losses.py).
"""

import weakref
from collections.abc import Callable, Collection, Iterable
from typing import Any

import numpy as np

from cdl import regularizers, tree
from cdl._ir.lowering import Lowering
from cdl._ir.program import Value
from cdl._tracing.variable import Variable
from cdl.layers.moved import moved_variables


class Calls:
    """Calls of user code in a program.

    Args:
        program: recorder of the calls; their arguments become further outputs of it.
        variables: the trained weights.
        traced: ids of the weights whose regularizers are in the program.
    """

    def __init__(
        self,
        program: Lowering,
        variables: Iterable[Variable] = (),
        traced: Collection[int] = (),
    ) -> None:
        self._calls: list[tuple[Any, Callable[..., Any], Any]] = []
        self._places: dict[int, int] = {}  # index among the outputs, by value
        penalized = [each for each in variables if id(each) in traced]
        self._penalized = [
            each
            for each in penalized
            if each.regularizer is not None and regularizers.compiled(each.regularizer) is None
        ]
        for owner, function, arguments in program.recorder.calls or ():
            for value in tree.flatten(arguments):
                if isinstance(value, Value) and value.index not in self._places:
                    self._places[value.index] = len(program.outputs)
                    program.output(program.emit("stop", (value,), value.shape))
            # The model is not held, so that its memory goes with the last reference to it.
            self._calls.append((weakref.ref(owner), function, arguments))

    def __bool__(self) -> bool:
        return bool(self._calls or self._penalized)

    def run(self, output: Callable[[int], Any]) -> None:
        """Run all calls with the arrays of a batch.

        Args:
            output: function from the index of an output to its array.
        """

        def array(leaf: Any) -> Any:
            return output(self._places[leaf.index]) if isinstance(leaf, Value) else leaf

        for reference, function, arguments in self._calls:
            owner = reference()
            if owner is None:
                continue
            moved = {id(e): e for e in (*owner.variables, *moved_variables([owner]))}.values()
            kept = [(each, each.numpy()) for each in moved]
            added = [(each, len(each._added)) for each in owner._flatten_layers()]
            function(owner, **tree.map_structure(array, arguments))
            for layer, count in added:  # the program has these penalties
                del layer._added[count:]
            for variable, value in kept:  # the program assigns what the code has assigned
                if not np.array_equal(variable.numpy(), value, equal_nan=True):
                    variable.assign(value)
        for variable in self._penalized:
            variable.regularizer(variable.numpy())
