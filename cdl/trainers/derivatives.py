"""Derivatives of functions: by their arguments, or by weights for custom steps."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl import tree
from cdl._ir.program import Program, Value
from cdl._tracing import graph as graphs
from cdl._tracing.graph import KerasTensor
from cdl._tracing.variable import Variable
from cdl.data import brief
from cdl.trainers.gradients import Gathering
from cdl.trainers.several_rows import Arguments, SeveralRows
from cdl.trainers.vjp import Vjp

Array = NDArray[Any]
_KEPT = 8  # programs, by shapes of arguments


class _Traced:
    """Function, traced for the arguments of one call.

    Args:
        function: the user's.
        arguments: of the call.
        has_aux: whether it gives (value, aux).

    Attributes:
        arguments: as given.
        graph: what it does.

    Raises:
        ValueError: it does not give one value of its arguments.
    """

    def __init__(self, function: Callable[..., Any], arguments: Arguments, has_aux: bool) -> None:
        self.arguments = arguments

        def of_samples(*specs: KerasTensor) -> Any:
            return function(*arguments.symbols())

        self.graph = graphs.trace(of_samples, tuple(arguments.specs), {}, False)
        value, self._aux = self.graph.outputs, None
        if has_aux:
            if not isinstance(value, (tuple, list)) or len(value) != 2:
                raise ValueError(
                    "grad: with has_aux=True the function must give (value, aux), got "
                    f"{brief(value)}"
                )
            value, self._aux = value
        if not isinstance(value, KerasTensor):
            hint = "; has_aux=True is for others beside it" if isinstance(value, tuple) else ""
            raise ValueError(
                "grad: the function must give one value that depends on its arguments, got "
                f"{brief(value)}{hint}"
            )
        self._has_aux = has_aux
        self._tensors = [value, *_tensors(self._aux)]  # those that a program gives
        self._counts: list[int | None] = []
        self.others: list[Value] = []

    def append(self, program: Program, values: list[Value]) -> Value:
        """Append the function to a program of `SeveralRows`; 0 in rows that do not count."""
        assert isinstance(program, SeveralRows)
        lowered = self.arguments.append(self.graph, program, values)
        value, aux = lowered if self._has_aux else (lowered, None)
        self.others = [each for each in tree.flatten(aux) if isinstance(each, Value)]
        self._counts = [program.count(each) for each in (value, *self.others)]
        return program.masked(value)

    def result(self, value: Array, others: Sequence[Array]) -> Any:
        """Result of the function, from the outputs of the program."""
        arrays = [value, *others]
        parts = zip(self._tensors, arrays, self._counts, strict=True)
        value, *found = [self.arguments.own_rows(*each) for each in parts]
        if not self._has_aux:
            return value
        left = iter(found)
        return value, tree.map_structure(
            lambda leaf: next(left) if isinstance(leaf, KerasTensor) else leaf, self._aux
        )


def _tensors(structure: Any) -> list[KerasTensor]:
    return [each for each in tree.flatten(structure) if isinstance(each, KerasTensor)]


class _Compiled:
    """Function compiled for arguments of one form, with its derivatives by weights.

    Args:
        traced: the function.
        variables: the weights.
    """

    def __init__(self, traced: _Traced, variables: list[Variable]) -> None:
        self._traced = traced
        arguments = traced.arguments
        program = SeveralRows(training=True)
        values = [program.input(each.shape[1:]) for each in arguments.arrays]
        with program.fixed(training=False):
            y = traced.append(program, values)
        program.objective(y, reduction="sum")
        for value in (y, *traced.others):
            program.output(value)
        fused = program.fused(training=True)
        read = {id(v) for v in fused.variables}
        found = list(dict.fromkeys(v for v in variables if id(v) in read))
        numbers = {v: i for i, v in enumerate(found)}
        self._places = [numbers.get(v) for v in variables]
        self._as_given = self._places == list(range(len(found)))
        self._shapes = [v.shape for v in variables]
        self._rows = arguments.rows
        self._gathering = Gathering(fused, found, (), arguments.rows)
        self.takes_plain = arguments.is_plain
        traced.arguments = arguments.without_arrays()

    def of(self, arrays: Sequence[Array], step: int) -> tuple[Any, list[Array]]:
        """Value, and gradient by each weight; 0 for one that is not read."""
        with self._gathering.lock:
            gradients: list[Array] = list(self._gathering.once(arrays, step))
            outputs = range(1 + len(self._traced.others))
            value, *others = [self._gathering.executor.output(i, self._rows) for i in outputs]
        if not self._as_given:
            gradients = [
                np.zeros(shape, np.float32) if place is None else gradients[place].copy()
                for place, shape in zip(self._places, self._shapes, strict=True)
            ]
        return self._traced.result(value, others), gradients


def _by_weights(
    function: Callable[..., Any], variables: list[Variable], has_aux: bool
) -> Callable[..., tuple[Any, list[Array]]]:
    """Function of `value_and_grad` for weights.

    Args:
        function: of arrays.
        variables: the weights.
        has_aux: whether the function gives more than the value.

    Raises:
        TypeError: something that is no weight.
    """
    for each in variables:
        if not isinstance(each, Variable):
            raise TypeError(f"grad: variables must be weights of layers, got {brief(each)}")
    compiled: dict[Any, _Compiled] = {}
    steps = 0
    lock = threading.RLock()  # of these two; threads may call one function

    def differentiated(*args: Any) -> tuple[Any, list[Array]]:
        nonlocal steps
        arrays: Sequence[Any] = args
        key = tuple([(a.shape, a.dtype) if type(a) is np.ndarray else None for a in args])
        with lock:
            found = compiled.get(key)
            if found is None or not found.takes_plain:
                arguments = Arguments(args)
                arrays, key = arguments.arrays, arguments.key
                found = compiled.get(key)
                if found is None:
                    while len(compiled) >= _KEPT:
                        del compiled[next(iter(compiled))]
                    found = _Compiled(_Traced(function, arguments, has_aux), variables)
                    compiled[key] = found
            step, steps = steps, steps + 1
        return found.of(arrays, step)

    return differentiated


def value_and_grad(
    function: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    variables: Sequence[Variable] | None = None,
    has_aux: bool = False,
) -> Callable[..., tuple[Any, Any]]:
    """Function that returns the value of `function` and its gradient.

    Arguments are arrays whose first axis are the samples, and single numbers, such as a coefficient
    that is annealed: these are traced as well, so another number takes no other program. Arrays of
    as many rows go together sample by sample; those of other rows, such as points within and points
    on the boundary, each have their own, and what the function makes of them is combined once it is
    numbers, as by `ops.mean`.

    Args:
        function: of such arguments, of functions of `cdl.ops` or NumPy, layers and models; it gives
            one number, or numbers whose sum is differentiated. A model itself is one.
        argnums: the argument to differentiate by, or several.
        variables: weights to differentiate by instead, such as `model.trainable_variables`. The
            function is then traced once for each shape of its arguments: all that it reads beside
            these and weights is as it was then. Layers are called with `training=True` where it
            says so. What they add to the loss, regularizers among it, counts in the gradient and
            not in the value: `losses` of a layer is empty in the function.
        has_aux: whether the function gives a pair ``(value, aux)``, of which the first is
            differentiated; `aux` is whatever else is of interest, nested as it likes.

    Returns:
        A function of the same arguments that returns (value, gradient), or ((value, aux), gradient)
        with `has_aux`: the gradient has the shape of the argument, and is a tuple for several; for
        `variables` a list, in their order, which an optimizer's `apply` takes.

    Raises:
        TypeError: `function` cannot be called.
        ValueError: when the result is called: an argument that there is not, no derivative, or
            samples of arguments with different rows that are combined.
    """
    if not callable(function):
        raise TypeError(f"grad: function must be a function or a model, got {function!r}")
    if variables is not None:
        return _by_weights(function, list(variables), has_aux)
    many = not isinstance(argnums, int)
    numbers = list(argnums) if not isinstance(argnums, int) else [argnums]

    def differentiated(*args: Any) -> tuple[Any, Any]:
        for number in numbers:
            if not -len(args) <= number < len(args):
                raise ValueError(
                    f"grad: argnums must be numbers of the {len(args)} arguments, got {argnums}"
                )
        arguments = Arguments(args)
        traced = _Traced(function, arguments, has_aux)
        shapes = [each.shape[1:] for each in arguments.arrays]
        vjp = Vjp(traced.append, shapes, program=SeveralRows(), others=lambda: traced.others)
        value, others, gradients = vjp.of_all(arguments.arrays)
        chosen = tuple(
            arguments.gradient(number % len(args), gradients[number % len(args)])
            for number in numbers
        )
        return traced.result(value, others), chosen if many else chosen[0]

    return differentiated


def grad(
    function: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Callable[..., Any]:
    """Function that returns the gradient of `function`; see `value_and_grad`.

    Args:
        function: of arrays whose first axis are the samples, and of numbers.
        argnums: the argument to differentiate by, or several.
        has_aux: whether the function gives ``(value, aux)``; the derivative is then the first of a
            pair, and `aux` the second.
    """
    pair = value_and_grad(function, argnums, has_aux=has_aux)

    def gradient(*args: Any) -> Any:
        given, found = pair(*args)
        return (found, given[1]) if has_aux else found

    return gradient
