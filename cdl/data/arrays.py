"""Conversion of numbers of any form to arrays that the core reads.

The core converts in its gather, so an array of any real dtype, byte order and strides goes through
as it is. Other forms become arrays here, and anything without numbers is refused.
"""

import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl._common.errors import BothError
from cdl.data import frames, sparse

REAL_KINDS = "fiub"
_KEYS = 5  # of a dict, as many as an error shows

_TEXT = "text must be encoded as numbers first, as by layers.TextVectorization or StringLookup"
_WHAT_ELSE = {
    "c": "complex numbers have no place in a real net: give .real, .imag or np.abs",
    "U": _TEXT,
    "S": _TEXT,
    "M": "dates must be made into numbers first, such as days since a start",
    "m": "time differences must be made into numbers first: array / np.timedelta64(1, 's')",
    "V": "records must be made into one plain array, a column a field",
}


class NoArrayError(BothError, TypeError, ValueError):
    """Not an array: an error of type (TypeError), a ValueError in Keras."""


def as_numeric(value: Any, name: str) -> NDArray[Any]:
    """Array of the numbers in `value`, copied only if it was no array.

    Args:
        value: an array of any real dtype, a data frame or a column of one, (nested) lists of
            numbers, or anything with `__array__`, `__dlpack__` or `numpy()`, such as tensors.

    Raises:
        TypeError: if `value` is no collection of numbers at all.
        ValueError: if its elements are not real numbers.
    """
    if type(value) is np.ndarray:
        array = value
    elif frames.is_frame(value):
        array = frames.to_array(value, name)
    else:
        array = _array_of(value, name)
    if array.dtype.kind not in REAL_KINDS and array.dtype.name != "bfloat16":
        array = _numbers_of_objects(array, name)
    if array.ndim == 0:
        raise ValueError(f"{name} must have a row for each sample, got the single number {array}")
    return array


def as_rows(value: Any, name: str) -> Any:
    """Array of the numbers in `value`, or rows of a sparse matrix, made dense batch by batch."""
    if type(value) is not np.ndarray and sparse.is_sparse(value) and hasattr(value, "tocsr"):
        return sparse.to_rows(value, name)
    return as_numeric(value, name)


def arrays_of_weights(weights: Any, name: str) -> list[NDArray[Any]]:
    """Arrays of a list of weights, or of one array that holds them along its first axis.

    Raises:
        TypeError: if `weights` is no such list.
        ValueError: if one of them does not hold real numbers.
    """
    if isinstance(weights, (str, bytes, dict)) or not hasattr(weights, "__len__"):
        raise TypeError(f"{name}: weights must be a list of arrays, got {brief(weights)}")
    return [
        as_numeric(each, f"{name}: array {i}") if np.ndim(each) else np.asarray(each)
        for i, each in enumerate(weights)
    ]


_RAGGED = (
    ": give all samples of a batch one length, as by cdl.utils.pad_sequences, or batches of one "
    "length each, as from a generator or a PyDataset"
)


def _listed(shapes: list[Any]) -> str:
    """Text of the first few of some shapes."""
    text = ", ".join(map(str, shapes[:4]))
    return text if len(shapes) <= 4 else f"{text} ... ({len(shapes)} of them)"


def _array_of(value: Any, name: str) -> NDArray[Any]:
    """Array of `value` in any dtype; an error for anything that is no collection of numbers."""
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise ValueError(
            f"{name} must not have masked elements, got a masked array with "
            f"{int(np.ma.getmaskarray(value).sum())} of them: fill them first, as by .filled(0)"
        )
    if sparse.is_sparse(value):
        raise TypeError(
            f"{name} must be dense, got a sparse {type(value).__name__}: give its .toarray()"
        )
    if value is None or isinstance(value, (str, bytes, dict, set, frozenset)):
        raise NoArrayError(
            f"{name} must be an array, DataFrame or list of numbers, got {brief(value)}"
        )
    listed = isinstance(value, (list, tuple, memoryview, numbers.Number))
    known = listed or hasattr(value, "__array__")
    shared = not known and hasattr(value, "__dlpack__")
    tensor = not known and not shared and callable(getattr(value, "numpy", None))
    if not (known or shared or tensor) or isinstance(value, type):
        raise NoArrayError(
            f"{name} must be an array, DataFrame or list of numbers, got {brief(value)}"
        )
    try:
        if shared:
            return np.from_dlpack(value)
        return np.asarray(value.numpy() if tensor else value)
    except ValueError as error:
        shapes = [getattr(each, "shape", None) for each in value] if listed else [None]
        if None not in shapes:
            kind = type(value).__name__
            raise ValueError(
                f"{name} must be one array, got a {kind} of arrays of shapes "
                f"{_listed(shapes)}{_RAGGED}"
            ) from None
        raise ValueError(
            f"{name} must have rows of one length, got lists that make no array{_RAGGED} ({error})"
        ) from None
    except Exception as error:
        raise TypeError(
            f"{name} must be an array, got a {type(value).__name__} that becomes none: {error}"
        ) from error


def _numbers_of_objects(array: NDArray[Any], name: str) -> NDArray[Any]:
    """Array of dtype object as float64; an error unless each element is a real number."""
    if array.dtype.kind != "O":
        advice = _WHAT_ELSE.get(array.dtype.kind, "")
        raise ValueError(
            f"{name} must hold real numbers, got dtype {array.dtype}" + (advice and f": {advice}")
        )
    if array.ndim == 0:
        raise TypeError(f"{name} must be an array of numbers, got {brief(array[()])}")
    for index, item in np.ndenumerate(array):
        if not isinstance(item, (numbers.Real, np.bool_)):
            place = ", ".join(map(str, index))
            raise ValueError(
                f"{name} must hold real numbers, got dtype object with {brief(item)} at [{place}]"
                + (_RAGGED if isinstance(item, (list, tuple, np.ndarray)) else "")
            )
    try:
        return array.astype(np.float64)
    except (OverflowError, ValueError) as error:
        raise ValueError(f"{name} must hold numbers in float64's range: {error}") from None


def brief(value: Any) -> str:
    """Text of a value in an error: the value if that is short, else its type."""
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, Mapping):
        keys = ", ".join(map(repr, list(value)[:_KEYS])) + (", ..." if len(value) > _KEYS else "")
        return f"a dict with the keys [{keys}]"
    if isinstance(value, np.ndarray) and value.ndim:
        return f"an array of shape {value.shape}"
    text = repr(value) if isinstance(value, (str, bytes, numbers.Number, bool)) else ""
    if not text or len(text) > 40:
        return f"an object of type {type(value).__name__}"
    return text
