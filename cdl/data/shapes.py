"""Checks of the shapes of x, y and weights against a net and each other."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, ...]


def same_rows(arrays: dict[str, NDArray[Any] | None], call: str) -> int:
    """Number of rows that all arrays share; ValueError if they differ or there are none.

    Args:
        arrays: by how errors call them; the first one is what the others must be as long as.
    """
    first, x = next(iter(arrays.items()))
    assert x is not None
    n = len(x)
    for name, array in arrays.items():
        if array is not None and len(array) != n:
            raise ValueError(
                f"{call}: {name} must have as many rows as {first}, expected {n}, got {len(array)}"
            )
    if n == 0:
        raise ValueError(f"{call}: {first} must have at least one row, got shape {x.shape}")
    if not x.size:
        raise ValueError(f"{call}: {first} must have at least one column, got shape {x.shape}")
    return n


def fits(got: tuple[int | None, ...], expected: tuple[int | None, ...]) -> bool:
    """Whether two shapes have as many axes, and equal sizes where both are known."""
    if got == expected:
        return True
    pairs = zip(got, expected, strict=False)
    return len(got) == len(expected) and all(None in pair or pair[0] == pair[1] for pair in pairs)


def fit_input(x: NDArray[Any], expected: tuple[int | None, ...], name: str) -> NDArray[Any]:
    """`x` with rows of the `expected` shape, an axis of length 1 at the end added or dropped.

    Args:
        expected: None for an axis that may have any size.
    """
    got = x.shape[1:]
    if fits(got, expected):
        return x
    if isinstance(x, np.ndarray):
        if fits(got, (*expected, 1)):
            return x[..., 0]
        if fits((*got, 1), expected):
            return x[..., None]
    hint = ": x[None] makes a batch of one sample" if fits(x.shape, expected) else ""
    if len(got) == len(expected) > 1 and got[-1] == expected[-1]:
        hint = ": an Input with None in place of a size takes any"
    raise ValueError(
        f"{name} must have shape {batch_of(expected)} to fit the model's input, got {x.shape}{hint}"
    )


def fit_values(y: NDArray[Any], output: Shape, name: str, why: str) -> NDArray[Any]:
    """`y` as targets of the output's shape: a number per output value.

    Args:
        output: None for an axis whose size is that of the batch.
    """
    got = y.shape[1:]
    if got in (output, (*output, 1)) or (*got, 1) == output or fits(got, output):
        return y
    hint = ""
    if len(got) <= len(output) and _without_last_one(got) == output[:-1]:
        hint = ": class numbers need sparse_categorical_crossentropy or utils.to_categorical(y)"
    raise ValueError(
        f"{name} must have shape {batch_of(output)}, the shape of the model's output, for {why}, "
        f"got {y.shape}{hint}"
    )


def fit_classes(y: NDArray[Any], output: Shape, name: str, why: str) -> NDArray[Any]:
    """`y` as class numbers: one per row of output scores."""
    got = y.shape[1:]
    if got in (output[:-1], (*output[:-1], 1)):
        return y
    hint = ""
    if got == output and output[-1] > 1:
        hint = ": for one-hot targets use categorical_crossentropy, or class numbers y.argmax(-1)"
    raise ValueError(
        f"{name} must have shape {batch_of(output[:-1])}, one class number for each row of "
        f"{output[-1]} scores, for {why}, got {y.shape}{hint}"
    )


def batch_of(shape: tuple[int | None, ...]) -> str:
    """Text of a shape with its batch axis, for errors: `(n, 4)`."""
    return f"(n, {', '.join(map(str, shape))})" if shape else "(n,)"


def _without_last_one(shape: Shape) -> Shape:
    return shape[:-1] if shape and shape[-1] == 1 else shape
