"""Functions whose gradient is the user's own."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from cdl import tree
from cdl._ir.lowering import Lowering
from cdl._ir.program import Value
from cdl._ir.reverse import custom_gradient as instruction
from cdl._tracing import graph
from cdl._tracing.keras_tensor import KerasTensor
from cdl._tracing.operation import is_symbolic
from cdl._tracing.variable import Variable
from cdl.data import brief

F = TypeVar("F", bound=Callable[..., Any])


def custom_gradient(f: F) -> F:
    """Decorator of a function that says its gradient itself.

    In training, `value_and_grad` and everywhere else that gradients are taken the function's own
    counts, in place of the derivative of what it computes: for rounding that lets gradients pass
    (straight-through estimators), gradients that are clipped, reversed or stable. Both are traced,
    and computed by the core. ::

        @cdl.ops.custom_gradient
        def rounded(x):
            return cdl.ops.round(x), lambda upstream: upstream

    Args:
        f: takes arrays, tensors or weights, and returns a pair: the value, one tensor, and a
            function of the gradient by it (`upstream`), which gives that by each argument: one, or
            a list, nested as the arguments are; None for none. Arguments by keyword and other
            tensors that `f` reads get no gradient. That function must compute element by element
            (arithmetic, `where`, `clip`, `exp` and the like), and arguments with a gradient must
            have the shape of the value.

    Returns:
        The function of the value alone.

    Raises:
        TypeError: `f` cannot be called; or, in a call, it returns no such pair.
        ValueError: in a call, another number of gradients than arguments; or, when it is compiled,
            a gradient that is not computed element by element.
    """
    if not callable(f):
        raise TypeError(f"custom_gradient: f must be a function, got {brief(f)}")
    name = getattr(f, "__name__", type(f).__name__)

    def run(*args: Any, **kwargs: Any) -> Any:
        found = f(*args, **kwargs)
        if not isinstance(found, (tuple, list)) or len(found) != 2 or not callable(found[1]):
            raise TypeError(
                f"custom_gradient: {name!r} must return its value and a function of the gradient, "
                f"got {type(found).__name__}"
            )
        value, gradient = found
        if isinstance(value, Variable):  # a weight itself
            value = graph.operator_of("convert_to_tensor")(value)
        if not isinstance(value, KerasTensor):
            if is_symbolic(value):
                raise TypeError(f"custom_gradient: the value of {name!r} must be one tensor")
            return value
        around = graph.current_scope()
        if around is None:
            raise TypeError(
                f"custom_gradient: {name!r} must be called in the call of a layer or model, in a "
                "Lambda or a loss, got a tensor of a functional model"
            )
        upstream = value.like()
        with graph.scope(around.training) as within:
            by = gradient(upstream)
            gradients = list(by) if isinstance(by, (tuple, list)) else [by]
            _check_count(name, "arguments", args, gradients)
            pairs = []
            for argument, found in zip(args, gradients, strict=True):
                leaves, by_leaves = tree.flatten(argument), tree.flatten(found)
                if found is None:
                    continue
                _check_count(name, "tensors of an argument", leaves, by_leaves)
                for each, by in zip(leaves, by_leaves, strict=True):
                    if by is not None and isinstance(each, (KerasTensor, Variable)):
                        by = by if isinstance(by, KerasTensor) else upstream * 0.0 + by
                        pairs.append((each, by))
        wanted = [by for _, by in pairs]
        forward, others = _split(within.nodes, upstream, wanted)
        around.nodes += forward
        of_upstream = graph.Graph([upstream, *others], wanted)
        operation = _CustomGradient(name, of_upstream, len(pairs))
        operands = [each for each, _ in pairs]
        return graph.record(operation, (value, *operands, *others), {}, value.like())

    @functools.wraps(f)
    def call(*args: Any, **kwargs: Any) -> Any:
        return called(run, args, kwargs)

    return call  # type: ignore[return-value]


def called(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Result of a function with a gradient of its own; tapes record the call as a whole."""
    return function(*args, **kwargs)


def _check_count(name: str, what: str, given: Sequence[Any], gradients: Sequence[Any]) -> None:
    if len(given) != len(gradients):
        raise ValueError(
            f"custom_gradient: the gradient of {name!r} must be one for each of {len(given)} "
            f"{what}, got {len(gradients)}"
        )


def _split(
    nodes: Sequence[graph.Node], upstream: KerasTensor, gradients: Sequence[KerasTensor]
) -> tuple[list[graph.Node], list[KerasTensor]]:
    """Calls that do not depend on `upstream`, and tensors that the others and gradients read."""
    behind = {id(upstream)}
    found: dict[int, KerasTensor] = {}
    forward: list[graph.Node] = []
    for node in nodes:
        if any(id(each) in behind for each in node.inputs):
            behind |= set(map(id, node.output_tensors))
            found |= {id(each): each for each in node.inputs}
        else:
            forward.append(node)
    found |= {id(each): each for each in gradients}
    return forward, [each for key, each in found.items() if key not in behind]


class _CustomGradient:
    """Node operation of a value of n operands with a gradient of its own.

    The gradient is made from that by the value, and other tensors. Errors name `function`.
    """

    name = "custom_gradient"

    def __init__(self, function: str, gradient: graph.Graph, n: int) -> None:
        self._function = function
        self._gradient = gradient
        self._n = n

    def infer(self, value: KerasTensor, *_: Any) -> KerasTensor:
        """Symbolic result of a call."""
        return value.like()

    def append_to(self, program: Lowering, value: Value, *given: Any) -> Value:
        """Append the instruction, with the gradient as its code."""
        values = [each if isinstance(each, Value) else program.param(each) for each in given]
        operands, others = values[: self._n], values[self._n :]

        def gradient(upstream: Value) -> list[Value | None]:
            found: list[Value | None] = self._gradient.lower(program, [upstream, *others])
            return found

        try:
            return instruction.emit(program, value, operands, gradient)
        except ValueError as error:
            raise ValueError(
                f"custom_gradient: the gradient of {self._function!r} must be computed element by "
                f"element, with arguments of the shape of its value: {error}"
            ) from None
