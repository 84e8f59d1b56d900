"""Columns of a frame by name, each in the form its input reads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl._common.errors import warn
from cdl.data import frames, interchange

Array = NDArray[Any]

_CATEGORIES = ("category", "Categorical", "Enum", "dictionary")  # as the libraries call them


def by_name(
    frame: Any, inputs: Mapping[str, str], name: str, gaps: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """Columns of a frame for inputs, by the names of these.

    Args:
        frame: of any library.
        inputs: the dtype of each input by its name: "string" or that of numbers.
        name: how errors call the frame, such as "fit: x".
        gaps: the inputs that take missing values, as NaN or None.

    Raises:
        ValueError: a column is missing, or there are two of one name.
    """
    labels = list(frames.names_of(frame) or ())
    missing = [each for each in inputs if each not in labels]
    if missing:
        raise ValueError(
            f"{name} must have the columns {list(inputs)}, got {labels}, without {missing}"
        )
    double = [each for each in inputs if labels.count(each) > 1]
    if double:
        raise ValueError(f"{name} must have one column of each name, got several {double}")
    more = [each for each in labels if each not in inputs]
    if more and name.startswith("fit:"):
        warn(f"{name} has columns that are no inputs, and are not read: {more}")
    found = {}
    for each, dtype in inputs.items():
        column = column_of(frame, each)
        if dtype == "string":
            found[each] = texts(column)
        else:
            found[each] = numbers(column, f"{name}: column {each!r}", each in gaps)
    return found


def column_of(frame: Any, label: str) -> Any:
    """One column of a frame, in its library's type."""
    if hasattr(frame, "__getitem__"):
        return frame[label]
    return next(each.read() for each in interchange.columns(frame) if each.label == label)


def is_categorical(column: Any) -> bool:
    """Whether a column has a categorical dtype."""
    dtype = getattr(column, "dtype", getattr(column, "type", ""))
    return str(dtype).startswith(_CATEGORIES)


def listed(column: Any) -> list[Any]:
    """Values of a column as Python objects, None for missing ones."""
    for method in ("to_pylist", "to_list", "tolist"):
        if hasattr(column, method):
            found = getattr(column, method)()
            break
    else:
        found = np.asarray(column).tolist()
    return [None if is_missing(each) else each for each in found]


def is_missing(value: Any) -> bool:
    """Whether a value is missing: None, NaN, pandas's NA or NaT."""
    if isinstance(value, (str, bytes, int)):
        return False
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or str(value) in ("<NA>", "NaT", "nan")


def numeric(column: Any) -> Array | None:
    """Array of a column of numeric dtype, NaN for missing values; None for others."""
    if is_categorical(column):
        return None
    if not isinstance(column, np.ndarray):
        dtype = getattr(column, "dtype", None)
        if getattr(dtype, "kind", "f") not in "fiu":  # of pandas, and no number
            return None
        if hasattr(column, "isna"):
            lacks = not isinstance(dtype, np.dtype) and bool(column.isna().any())
            to = np.float64 if lacks else getattr(dtype, "numpy_dtype", None)
            return np.asarray(
                column.to_numpy(to, na_value=np.nan) if lacks else column.to_numpy(to)
            )
        if not hasattr(column, "to_numpy"):
            return None
        whole = {"zero_copy_only": False} if hasattr(column, "to_pylist") else {}
        column = column.to_numpy(**whole)
    return column if column.dtype.kind in "fiu" else None


def texts(column: Any) -> Array:
    """Texts of a column, an array of objects; numeric categories become texts."""
    values = listed(column)
    if is_categorical(column):
        kinds = (str, bytes, type(None))
        values = [each if isinstance(each, kinds) else str(each) for each in values]
    array = np.empty(len(values), object)
    array[:] = values
    return array


def numbers(column: Any, name: str, gaps: bool) -> Any:
    """Numbers of a column as an array.

    Args:
        column: of any library.
        gaps: whether missing values become NaN; they are refused otherwise.

    Raises:
        ValueError: it holds no numbers, or lacks some.
    """
    found = numeric(column) if gaps else None
    if found is not None:
        return found
    if is_categorical(column) or (gaps and frames.is_frame(column)):
        values = listed(column)
        if None in values or is_categorical(column):
            column = np.array([np.nan if each is None else each for each in values])
    if isinstance(column, np.ndarray):
        if column.dtype.kind not in "fiub":
            raise ValueError(f"{name} must hold numbers, got {column.dtype} {column.flat[0]!r}")
        return column
    return frames.to_array(column, name) if frames.is_frame(column) else column
