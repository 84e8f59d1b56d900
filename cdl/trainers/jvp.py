"""Derivatives in a direction, and matrices of second derivatives, of functions of arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl import ops, tree
from cdl._tracing import derivatives
from cdl.data import brief
from cdl.trainers.custom.structures import is_nested
from cdl.trainers.derivatives import (
    argument_numbers,
    derivative_of,
    grad,
    of_tapes,
    positive_numbers,
)

Array = NDArray[Any]


def jvp(
    fun: Callable[..., Any],
    primals: Sequence[Any],
    tangents: Sequence[Any],
    has_aux: bool = False,
) -> tuple[Any, ...]:
    """Value of a function and its derivative in a direction: the Jacobian times a vector.

    It is d/dt fun(primals + t tangents) at t = 0, of each number that `fun` gives; it takes as long
    as the function once more, however many arguments there are (Griewank and Walther, "Evaluating
    derivatives", 2008, chapter 3). On arrays `fun` is traced in each call; within code that is
    traced itself, as in `grad` or a loss, it becomes part of that, and has derivatives in turn.

    Args:
        fun: of functions of `cdl.ops` or NumPy, layers and models; it gives arrays, nested as it
            likes.
        primals: list or tuple of its arguments: arrays, numbers or nested ones.
        tangents: the direction, nested and shaped like `primals`.
        has_aux: whether `fun` gives a pair ``(value, aux)``, of which the first is differentiated.

    Returns:
        ``(value, tangent)``, of one structure and shape, or ``(value, tangent, aux)``.

    Raises:
        TypeError: `fun` cannot be called, or `primals` or `tangents` are no lists or tuples.
        ValueError: structures or shapes of both differ; or no derivative is known of something on
            the way, which is named.
    """
    if not callable(fun):
        raise TypeError(f"jvp: fun must be a function or a model, got {brief(fun)}")
    for name, given in (("primals", primals), ("tangents", tangents)):
        if not isinstance(given, (list, tuple)):
            raise TypeError(
                f"jvp: {name} must be a list or tuple of arguments of fun, got {brief(given)}"
            )
    xs, directions = _floats(tree.flatten(list(primals))), tree.flatten(list(tangents))
    is_traced = derivatives.are_traced((*xs, *directions))
    shapes, of_tangents = (list(map(np.shape, each)) for each in (xs, directions))
    is_alike = len(shapes) == len(of_tangents) if is_traced else shapes == of_tangents
    if not xs or not is_alike:
        raise ValueError(
            f"jvp: tangents must have the shapes of primals, {shapes}, and there must be some, got "
            f"{of_tangents}"
        )
    aux: list[Any] = []

    def of_leaves(*leaves: Any) -> Any:
        result = fun(*tree.pack_sequence_as(list(primals), list(leaves)))
        if not has_aux:
            return result
        if not isinstance(result, (tuple, list)) or len(result) != 2:
            raise ValueError(
                f"jvp: with has_aux=True fun must give (value, aux), got {brief(result)}"
            )
        aux[:] = [result[1]]
        return result[0]

    def traced(*leaves: Any) -> tuple[Any, ...]:
        found = derivatives.jvp(of_leaves, leaves[: len(xs)], leaves[len(xs) :])
        return (*found, *aux)

    if is_traced:
        return traced(*xs, *directions)
    tapes = of_tapes()
    if tapes is not None:
        return (*tapes.jvp(of_leaves, xs, directions), *aux)
    run = derivative_of(lambda *leaves: (leaves[0], traced(*leaves)), (), has_aux=True)
    found: tuple[Any, ...] = run(*xs, *directions)[0][1]
    return found


def _floats(values: Sequence[Any]) -> list[Any]:
    """Values to differentiate by, of which whole numbers are meant as floats."""
    return [float(each) if type(each) is int else each for each in values]


def hessian(fun: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """Function that returns the matrix of second derivatives of `fun`.

    Element (i, j) is d2 fun / dx_i dx_j. It takes a pass for each number of the arguments to
    differentiate by; for many of them `cdl.grad(lambda x, v: ops.sum(cdl.grad(fun)(x) * v))(x, v)`
    is the matrix times a vector, in one pass.

    Args:
        fun: of arrays and numbers, of functions of `cdl.ops` or NumPy, layers and models; it gives
            one number.
        argnums: the argument to differentiate by, or several.

    Returns:
        A function of the same arguments. For an argument of shape `s` it gives an array of shape
        ``(*s, *s)``; for several a tuple of tuples, of arrays of shapes ``(*s_i, *s_j)``.

    Raises:
        TypeError: `fun` cannot be called, or `argnums` is no number and no list of them; or, when
            the result is called, an argument to differentiate by has no floats or is a structure.
        ValueError: when the result is called: `fun` does not give one number, an argument has no
            rows, or no second derivative of something on the way is known, which is named.
    """
    if not callable(fun):
        raise TypeError(f"hessian: fun must be a function or a model, got {brief(fun)}")
    asked, is_one = argument_numbers("hessian", argnums)

    def matrix(*args: Any) -> Any:
        numbers = positive_numbers("hessian", asked, len(args))
        for nested in [args[k] for k in numbers if is_nested(args[k])]:
            raise TypeError(
                "hessian: an argument to differentiate by must be one array, got "
                f"{brief(nested)}; give each array as an argument, with argnums"
            )
        args = tuple(_floats([a])[0] if k in numbers else a for k, a in enumerate(args))
        if derivatives.are_traced(args):
            raise TypeError(
                "hessian: in traced code take products with vectors instead, cdl.jvp of cdl.grad"
            )

        def product(*values: Any) -> Any:
            gradients = grad(one_number, numbers)(*values[: len(args)])
            pairs = zip(gradients, values[len(args) :], strict=True)
            return sum(ops.sum(gradient * direction) for gradient, direction in pairs)

        def one_number(*values: Any) -> Any:
            value = fun(*values)
            if isinstance(value, (tuple, list, dict)) or np.shape(value) != ():
                got = f"shape {value.shape}" if hasattr(value, "shape") else brief(value)
                raise ValueError(f"hessian: fun must give one number, got {got}")
            return value

        shapes = [np.shape(args[k]) for k in numbers]
        if any(0 in shape for shape in shapes):
            raise ValueError(f"hessian: arguments must have numbers in them, got shapes {shapes}")
        tapes = of_tapes()
        if tapes is not None:
            found = tapes.hessian(one_number, args, numbers)
            return found[0][0] if is_one else tuple(map(tuple, found))
        made: Any = derivative_of(product, numbers, is_fixed=True)
        zeros = [np.zeros(shape, np.float32) for shape in shapes]
        calls = []
        for k, shape in enumerate(shapes):
            for place in range(zeros[k].size):
                direction = np.zeros(zeros[k].size, np.float32)
                direction[place] = 1
                calls.append((*args, *zeros[:k], direction.reshape(shape), *zeros[k + 1 :]))
        gradients = iter([gradient for _, gradient in made.__self__.of_each(calls)])
        rows = []
        for k, shape in enumerate(shapes):
            columns = zip(*(next(gradients) for _ in range(zeros[k].size)), strict=True)
            pairs = zip(columns, shapes, strict=True)
            rows.append(tuple(np.reshape(each, (*shape, *other)) for each, other in pairs))
        return rows[0][0] if is_one else tuple(rows)

    return matrix
