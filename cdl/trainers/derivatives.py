"""The derivatives of any function: by its arguments, or by weights for a step of one's own."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl._ir.program import Program, Value
from cdl._tracing import graph as graphs
from cdl._tracing.graph import KerasTensor
from cdl._tracing.variable import Variable
from cdl.data import as_numeric, brief
from cdl.trainers.gradients import Gathering
from cdl.trainers.vjp import Vjp

Array = NDArray[Any]
_KEPT = 8  # programs, by shapes of arguments


def _flat(args: Sequence[Any]) -> list[Array]:
    """The arguments of a function that is differentiated, as arrays; TypeError, ValueError."""
    return [as_numeric(each, "grad: each argument") for each in args]


def _traced(
    function: Callable[..., Any], arrays: Sequence[Array]
) -> tuple[tuple[KerasTensor, ...], graphs.Graph]:
    """What a function does with such arrays; ValueError if it does not give one value of them."""
    specs = tuple(KerasTensor((None, *each.shape[1:]), each.dtype.name) for each in arrays)
    graph = graphs.trace(function, specs, {}, False)
    if not isinstance(graph.outputs, KerasTensor):
        raise ValueError(
            "grad: the function must give one value that depends on its arguments, got "
            f"{brief(graph.outputs)}"
        )
    return specs, graph


class _Compiled:
    """A function for arrays of one shape, and what it takes to differentiate it by weights.

    Args:
        function: of arrays.
        arrays: of the shapes and dtypes that are to come.
        variables: the weights.
    """

    def __init__(
        self, function: Callable[..., Any], arrays: Sequence[Array], variables: list[Variable]
    ) -> None:
        specs, graph = _traced(function, arrays)
        program = Program(training=True)
        values = [program.input(spec.sample_shape) for spec in specs]
        with program.fixed(training=False):
            y = graph.lower(program, values)
        program.objective(y, reduction="sum")
        program.output(y)
        fused = program.fused(training=True)
        read = {id(v) for v in fused.variables}
        found = [v for v in variables if id(v) in read]
        self._gathering = Gathering(fused, found, (), len(arrays[0]))

    def of(
        self, arrays: Sequence[Array], variables: list[Variable], step: int
    ) -> tuple[Any, list[Array]]:
        """The value, and the gradient by each weight; 0 for one that is not read."""
        self._gathering.begin(list(arrays), len(arrays[0]))
        self._gathering.train(step)
        value, sums = self._gathering.executor.output(0), self._gathering.sums
        gradients = [
            sums[v].get() if v in sums else np.zeros(v.shape, np.float32) for v in variables
        ]
        return (value if value.ndim else value[()]), gradients


def _by_weights(
    function: Callable[..., Any], variables: list[Variable]
) -> Callable[..., tuple[Any, list[Array]]]:
    """What `value_and_grad` gives for weights.

    Args:
        function: of arrays.
        variables: the weights.

    Raises:
        TypeError: something that is no weight.
    """
    for each in variables:
        if not isinstance(each, Variable):
            raise TypeError(f"grad: variables must be weights of layers, got {brief(each)}")
    compiled: dict[Any, _Compiled] = {}
    steps = 0

    def differentiated(*args: Any) -> tuple[Any, list[Array]]:
        nonlocal steps
        flat = _flat(args)
        if len({each.shape[:1] for each in flat}) != 1 or not flat[0].size:
            raise ValueError(
                "grad: arguments must be arrays with as many rows each, at least one, got shapes "
                f"{[each.shape for each in flat]}"
            )
        key = tuple((each.shape, each.dtype.name) for each in flat)
        if key not in compiled:
            while len(compiled) >= _KEPT:
                del compiled[next(iter(compiled))]
            compiled[key] = _Compiled(function, flat, variables)
        steps += 1
        return compiled[key].of(flat, variables, steps - 1)

    return differentiated


def value_and_grad(
    function: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    variables: Sequence[Variable] | None = None,
) -> Callable[..., tuple[Any, Any]]:
    """A function that gives what `function` gives, and its derivative.

    Args:
        function: of arrays whose first axis are the samples, of functions of `cdl.ops` or NumPy,
            layers and models; it gives one number, or numbers whose sum is differentiated. A model
            itself is one.
        argnums: the argument to differentiate by, or several.
        variables: weights to differentiate by instead, such as `model.trainable_variables`. The
            function is then traced once for each shape of its arguments: all that it reads beside
            these and weights is as it was then. Layers are called with `training=True` where it
            says so. What they add to the loss, regularizers among it, counts in the gradient and
            not in the value: `losses` of a layer is empty in the function.

    Returns:
        A function of the same arguments that returns (value, gradient): the gradient has the shape
        of the argument, and is a tuple for several; for `variables` a list, in their order, which
        an optimizer's `apply` takes.

    Raises:
        TypeError: `function` cannot be called.
        ValueError: when the result is called: an argument that there is not, or no derivative.
    """
    if not callable(function):
        raise TypeError(f"grad: function must be a function or a model, got {function!r}")
    if variables is not None:
        return _by_weights(function, list(variables))
    many = not isinstance(argnums, int)
    numbers = list(argnums) if not isinstance(argnums, int) else [argnums]

    def differentiated(*args: Any) -> tuple[Any, Any]:
        flat = _flat(args)
        for number in numbers:
            if not -len(flat) <= number < len(flat):
                raise ValueError(
                    f"grad: argnums must be numbers of the {len(flat)} arguments, got {argnums}"
                )
        specs, graph = _traced(function, flat)

        def append(program: Program, values: list[Value]) -> Value:
            value: Value = graph.lower(program, values)
            return value

        value, gradients = Vjp(append, [spec.sample_shape for spec in specs]).of(flat)
        chosen = tuple(gradients[number] for number in numbers)
        return value, chosen if many else chosen[0]

    return differentiated


def grad(function: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """A function that gives the derivative of `function`; see `value_and_grad`.

    Args:
        function: of arrays whose first axis are the samples.
        argnums: the argument to differentiate by, or several.
    """
    pair = value_and_grad(function, argnums)

    def gradient(*args: Any) -> Any:
        return pair(*args)[1]

    return gradient
