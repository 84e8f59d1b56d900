"""LowArray: an array of bfloat16 or float16 that is computed with as Keras does.

NumPy makes float32 of a bfloat16 array times 2.0, float64 of a float16 array plus one of int32, and
has no products of bfloat16. Here Python's numbers and integers do not widen a float, what goes on
within a function is float32, and its result is rounded once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from cdl import tree
from cdl._common import dtypes
from cdl._variables.array_like import Operators


class LowArray(np.ndarray[Any, np.dtype[Any]]):
    """An array whose arithmetic gives its own dtype, or float32 beside wider floats."""

    def __array_ufunc__(
        self, ufunc: Callable[..., Any], method: str, *inputs: Any, out: Any = None, **kwargs: Any
    ) -> Any:
        result = computed(getattr(ufunc, method), inputs, kwargs)
        if out is None:
            return result
        out[0][...] = result
        return out[0]

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        del types
        return computed(function, args, kwargs)

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        return array[()] if return_scalar else array


def low(array: Any, dtype: str) -> LowArray:
    """An array of this dtype that is computed with in it."""
    return dtypes.astype(array, dtype).view(LowArray)


def plain(array: Any) -> Any:
    """A LowArray as NumPy's own; anything else as it is."""
    return array.view(np.ndarray) if isinstance(array, LowArray) else array


def low_of(leaves: Iterable[Any]) -> str | None:
    """The dtype that all floats among arrays have, if it is one of 16 bits; None if not."""
    names = {str(leaf.dtype) for leaf in leaves if hasattr(leaf, "dtype")}
    floats = {name for name in names if "float" in name}
    return floats.pop() if len(floats) == 1 and floats & set(dtypes.LOW) else None


def widened(leaf: Any) -> Any:
    """An array of 16 bits as one of float32; a variable as its array; anything else as it is."""
    if isinstance(leaf, Operators):
        leaf = leaf.numpy()
    if isinstance(leaf, (np.ndarray, np.generic)) and dtypes.is_low(leaf.dtype):
        return np.asarray(leaf, np.float32).view(np.ndarray)
    return leaf


def computed(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """A function of arrays in float32, with results of the one dtype that its floats have."""
    leaves = tree.flatten((args, kwargs))
    to = None if kwargs.get("dtype") is not None else low_of(leaves)
    args, kwargs = tree.map_structure(widened, args), tree.map_structure(widened, kwargs)
    result = function(*args, **kwargs)
    return tree.map_structure(lambda leaf: lowered(leaf, to), result)


def lowered(leaf: Any, to: str | None) -> Any:
    """A float result in this dtype, and no wider than 32 bits; anything else as it is."""
    if not isinstance(leaf, (np.ndarray, np.generic)) or leaf.dtype.kind != "f":
        return leaf
    if to is None:
        return leaf.astype(np.float32) if leaf.dtype.itemsize > 4 else leaf
    return low(leaf, to)
