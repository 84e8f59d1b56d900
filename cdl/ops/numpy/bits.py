"""Integer and bitwise functions; programs call them back, with integers that float32 holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdl._tracing.array_call import on_arrays
from cdl._tracing.operation import pair_operation, tensor_operation
from cdl.ops.arrays import Array


def _whole(name: str, function: Callable[..., Any], x: ArrayLike, y: ArrayLike) -> Array:
    """Bitwise function of integers."""
    for each in (x, y):
        if np.asarray(each).dtype.kind not in "iub":
            raise TypeError(f"{name}: x must be whole numbers, got {np.asarray(each).dtype.name}")
    found: Array = function(x, y)
    return found


@tensor_operation(on_arrays(of_integers=True))
def bitwise_and(x: ArrayLike, y: ArrayLike) -> Any:
    """Bitwise and: bits that both have."""
    return _whole("bitwise_and", np.bitwise_and, x, y)


@tensor_operation(on_arrays(of_integers=True))
def bitwise_or(x: ArrayLike, y: ArrayLike) -> Any:
    """Bitwise or: bits that at least one has."""
    return _whole("bitwise_or", np.bitwise_or, x, y)


@tensor_operation(on_arrays(of_integers=True))
def bitwise_xor(x: ArrayLike, y: ArrayLike) -> Any:
    """Bitwise exclusive or: bits that just one has."""
    return _whole("bitwise_xor", np.bitwise_xor, x, y)


@tensor_operation(on_arrays(of_integers=True))
def bitwise_not(x: ArrayLike) -> Any:
    """Bitwise not: bits that x does not have."""
    return np.bitwise_not(x)


@tensor_operation(on_arrays(of_integers=True))
def bitwise_invert(x: ArrayLike) -> Any:
    """Bitwise not, as `bitwise_not`."""
    return np.bitwise_not(x)


@tensor_operation(on_arrays(of_integers=True))
def left_shift(x: ArrayLike, y: ArrayLike) -> Any:
    """Left shift of the bits of x by y places."""
    return _whole("left_shift", np.left_shift, x, y)


@tensor_operation(on_arrays(of_integers=True))
def bitwise_left_shift(x: ArrayLike, y: ArrayLike) -> Any:
    """Left shift, as `left_shift`."""
    return _whole("bitwise_left_shift", np.left_shift, x, y)


@tensor_operation(on_arrays(of_integers=True))
def right_shift(x: ArrayLike, y: ArrayLike) -> Any:
    """Right shift of the bits of x by y places."""
    return _whole("right_shift", np.right_shift, x, y)


@tensor_operation(on_arrays(of_integers=True))
def bitwise_right_shift(x: ArrayLike, y: ArrayLike) -> Any:
    """Right shift, as `right_shift`."""
    return _whole("bitwise_right_shift", np.right_shift, x, y)


@pair_operation(on_arrays(of_integers=True))
def gcd(x1: ArrayLike, x2: ArrayLike) -> Any:
    """Greatest common divisor of integers."""
    return _whole("gcd", np.gcd, x1, x2)


@pair_operation(on_arrays(of_integers=True))
def lcm(x1: ArrayLike, x2: ArrayLike) -> Any:
    """Least common multiple of integers."""
    return _whole("lcm", np.lcm, x1, x2)
