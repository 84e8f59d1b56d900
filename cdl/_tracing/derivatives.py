"""Derivatives within traced code: nodes that give the gradient of one tensor by others.

When such a node is lowered, its program already has the instructions from these to that one. The
backward pass is appended to them (cdl/_ir/reverse/), so it can be differentiated again.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cdl import tree
from cdl._ir import emit
from cdl._ir.lowering import Lowering
from cdl._ir.program import Value
from cdl._ir.reverse import walk
from cdl._tracing import graph, joining
from cdl._tracing.keras_tensor import KerasTensor
from cdl._tracing.variable import Variable


class _Leaf:
    """Node operation of the identity: a new tensor of equal values, to differentiate by."""

    name = "leaf"

    def append_to(self, program: Lowering, x: Any) -> Value:
        """Append the tensor, a weight or a constant as a value of its own."""
        if isinstance(x, Variable):
            x = program.param(x)
        return emit.leaf(program, x if isinstance(x, Value) else program.constant(x))

    def infer(self, x: Any) -> KerasTensor:
        """Symbolic tensor like the one given."""
        return _spec_of(x).like()


class _Gradients:
    """Node operation that gives gradients of the sum of a tensor's elements."""

    name = "gradients"

    def append_to(self, program: Lowering, y: Value, xs: list[Value]) -> list[Value]:
        """Append the backward pass."""
        return walk.gradients(program, [y], xs, [walk.full(program, 1.0, y)])

    def infer(self, y: KerasTensor, xs: list[KerasTensor]) -> list[KerasTensor]:
        """Symbolic tensors like those differentiated by."""
        return [x.like() for x in xs]


class _Tangents:
    """Node operation that gives derivatives of tensors in a direction of others."""

    name = "tangents"

    def append_to(
        self, program: Lowering, ys: list[Value], xs: list[Value], directions: list[Value]
    ) -> list[Value]:
        """Append the tangents of the results."""
        return walk.tangents(program, ys, xs, directions)

    def infer(
        self, ys: list[KerasTensor], xs: list[KerasTensor], directions: list[KerasTensor]
    ) -> list[KerasTensor]:
        """Symbolic tensors like the results."""
        return [y.like() for y in ys]


def _spec_of(x: Any) -> KerasTensor:
    if isinstance(x, KerasTensor):
        return x
    dtype = x.dtype if isinstance(x, Variable) else "float32"
    return KerasTensor(np.shape(x), dtype, rows_per_sample=0)


def leaf(x: Any, name: str) -> KerasTensor:
    """Symbolic tensor of equal values, on which nothing depends yet.

    Args:
        x: a symbolic tensor, a weight, an array or a number.

    Raises:
        TypeError: it has no floats.
    """
    if not isinstance(x, (KerasTensor, Variable)):
        x = np.asarray(x)
        x = x.astype(np.float32) if x.dtype.kind == "f" or not x.ndim else x
    spec = _spec_of(x)
    dtype = spec.dtype if isinstance(x, (KerasTensor, Variable)) else str(x.dtype)
    if "float" not in dtype:
        raise TypeError(f"{name}: a derivative is by floats, got {dtype}")
    return graph.record(_Leaf(), (x,), {}, spec.like())


def source(x: Any) -> Any:
    """An array of floats as a tensor, by which a tape in a layer's `call` can differentiate."""
    is_array = isinstance(x, np.ndarray) and x.dtype.kind == "f"
    return leaf(x, "call") if is_array else x


def are_traced(values: Sequence[Any]) -> bool:
    """Whether there is a symbolic tensor among values, or a weight where code is traced."""
    kinds = (KerasTensor,) if graph.current_scope() is None else (KerasTensor, Variable)
    return any(isinstance(each, kinds) for each in values)


def _check_traced() -> None:
    """Error where no code is traced."""
    if graph.current_scope() is None:
        raise graph.symbolic_error(
            "the derivative of a symbolic tensor is known in traced code alone",
            "ask for it in the call() of a layer or a model, in a loss, or by arrays",
        )


def value_and_aux(result: Any, has_aux: bool) -> tuple[Any, Any]:
    """Value to differentiate in a function's result, and its auxiliary data or None.

    Raises:
        ValueError: it is not one value, or no pair with `has_aux`.
    """
    value, aux = result, None
    if has_aux:
        if not isinstance(result, (tuple, list)) or len(result) != 2:
            raise ValueError(
                "grad: with has_aux=True the function must give (value, aux), got an object of "
                f"type {type(result).__name__}"
            )
        value, aux = result
    if isinstance(value, (tuple, list, dict)):
        hint = "; has_aux=True is for others beside it" if isinstance(value, tuple) else ""
        raise ValueError(
            "grad: the function must give one value that depends on its arguments, got an object "
            f"of type {type(value).__name__}{hint}"
        )
    return value, aux


def value_and_gradients(
    function: Callable[..., Any], args: Sequence[Any], numbers: Sequence[int], has_aux: bool
) -> tuple[Any, list[KerasTensor]]:
    """Result of a function of symbolic tensors, and gradients of the sum of its first tensor.

    Args:
        numbers: indices of the tensors to differentiate by.
        has_aux: whether the function gives (value, aux).

    Raises:
        TypeError: no code is traced.
        ValueError: the function does not give one value.
    """
    _check_traced()
    given = list(args)
    for k in set(numbers):
        given[k] = leaf(args[k], "grad")
    result = function(*given)
    value, _ = value_and_aux(result, has_aux)
    xs = [given[k] for k in numbers]
    if not isinstance(value, KerasTensor):  # it depends on none of the arguments
        value = leaf(value, "grad")
    return result, graph.record(_Gradients(), (value, xs), {}, [x.like() for x in xs])


def gradients(ys: Sequence[KerasTensor], xs: Sequence[KerasTensor]) -> list[Any]:
    """Gradients of the sum of all elements of tensors by others that they were computed from.

    Args:
        ys: symbolic tensors.
        xs: symbolic tensors; by one on which nothing depends the gradient is 0.

    Raises:
        TypeError: no code is traced.
    """
    _check_traced()
    likes = [x.like() for x in xs]
    parts = [graph.record(_Gradients(), (y, list(xs)), {}, likes) for y in ys]
    return [functools.reduce(operator.add, each) for each in zip(*parts, strict=True)]


def _direction(x: KerasTensor, tangent: Any) -> KerasTensor:
    """Tangent as a tensor like x; an array is that of all samples, or one for each of them."""
    shape = tangent.shape if isinstance(tangent, KerasTensor) else np.shape(tangent)
    wrong = ValueError(f"jvp: a tangent must have the shape of its primal, {x.shape}, got {shape}")
    zeros = graph.operator_of("zeros_like")(x)
    try:
        _, found = joining.aligned(x, graph.operator_of("add")(zeros, tangent))
    except ValueError:
        raise wrong from None
    if not isinstance(found, KerasTensor):
        found = leaf(found, "jvp")
    if (found.sample_shape, found.rows_per_sample) != (x.sample_shape, x.rows_per_sample):
        raise wrong
    return found


def jvp(
    function: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]
) -> tuple[Any, Any]:
    """Result of a function of symbolic tensors, and its derivative in a direction, nested alike.

    Args:
        primals: its arguments.
        tangents: the direction, a leaf for each of these.

    Raises:
        TypeError: no code is traced.
        ValueError: a tangent has not the shape of its primal.
    """
    _check_traced()
    xs = [leaf(x, "jvp") for x in primals]
    result = function(*xs)
    ys = graph.tensors_in(result)
    directions = [_direction(*pair) for pair in zip(xs, tangents, strict=True)]
    outputs = [y.like() for y in ys]
    moved = iter(graph.record(_Tangents(), (ys, xs, directions), {}, outputs))
    return result, tree.map_structure(
        lambda y: next(moved) if isinstance(y, KerasTensor) else np.zeros_like(y), result
    )
