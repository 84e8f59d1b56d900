"""Data frames, their columns and indices as arrays, without importing their libraries.

pandas, Polars and PyArrow are read by their own methods, others by the interchange protocol. A
frame of one block, or a single column, is a view where its library can give one. Columns of
several blocks become one array: of integers where all are, else of float32, which is what the core
computes in, or of float64 where float32 would round an integer.
"""

from __future__ import annotations

import datetime
import functools
import numbers
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl.data import interchange
from cdl.data.interchange import Column

_REAL = "fiub"
_ADVICE = {
    "O": "encode text and categories as numbers first, as by pandas.get_dummies, Polars's "
    "to_dummies or scikit-learn's OneHotEncoder, or let utils.FeatureSpace.from_frame do so",
    "M": "make dates into numbers first, such as days since a start",
    "m": "make time differences into numbers first, as by .dt.total_seconds()",
    "c": "complex numbers have no place in a real net",
}


def is_frame(value: Any) -> bool:
    """Whether `value` is a frame, or a column or index of one."""
    library = _library(value)
    if library in ("pandas", "polars"):
        return hasattr(value, "to_numpy")
    if library == "pyarrow":
        return hasattr(value, "to_numpy") or hasattr(value, "column_names")
    return hasattr(value, "__dataframe__")


def to_array(value: Any, name: str, part: bool = False) -> NDArray[Any]:
    """Numbers of a frame or column as an array.

    Args:
        value: the frame, column or index.
        part: whether it is one of several frames whose arrays must have one dtype.

    Raises:
        ValueError: some columns, which the error names, hold no real numbers, or lack some.
    """
    library = _library(value)
    if library == "pandas" and _is_plain(value):
        plain: NDArray[Any] = value.to_numpy()
        return plain
    columns = _READERS.get(library, interchange.columns)(value)
    _refuse_other_columns(columns, name)
    _refuse_missing(columns, name)
    if _is_column(value, library):
        return columns[0].read()
    if library == "polars" and len({column.dtype for column in columns}) == 1:
        try:
            view: NDArray[Any] = value.to_numpy(allow_copy=False)
            return view
        except RuntimeError:  # its columns do not lie one after the other
            pass
    read = [column.read() for column in columns]
    rows = len(read[0]) if read else int(getattr(value, "num_rows", 0) or len(value))
    array = np.empty((rows, len(columns)), _common_dtype(columns, read, name, part))
    for j, values in enumerate(read):
        array[:, j] = values
    return array


def _common_dtype(
    columns: list[Column], read: list[NDArray[Any]], name: str, part: bool
) -> np.dtype[Any]:
    """Common dtype of columns in which no integer is rounded; see the head of this file.

    ValueError if there is none.
    """
    if not read:
        return np.dtype(np.float32)
    whole = [each.dtype for each in read if each.dtype.kind in "iub"]
    if len(whole) == len(read):
        common = np.result_type(*whole)
        if common.kind != "f":
            return common
        # int64 beside uint64, for which NumPy has but floats.
        beyond = _beyond(columns, read, 2**63 - 1)
        if not beyond:
            return np.dtype(np.int64)
        if not part and all(each.min(initial=0) >= 0 for each in read):
            return np.dtype(np.uint64)
        raise ValueError(
            f"{name} must have integers that one dtype has, got {beyond} with integers beyond "
            "int64 beside negative ones: give them as inputs of their own"
        )
    beyond = _beyond(columns, read, 2**53)
    if beyond:
        raise ValueError(
            f"{name} must have integers up to 2^53 beside columns of floats, got {beyond} with "
            "larger ones, which would be rounded: give it as an input of its own, or as text"
        )
    wide = any(dtype.itemsize > 2 for dtype in whole) if part else _beyond(columns, read, 2**24)
    return np.dtype(np.float64 if wide else np.float32)


def _beyond(columns: list[Column], read: list[NDArray[Any]], most: int) -> str:
    """Names of columns with integers, or whole floats, beyond a number."""
    found = []
    for column, values in zip(columns, read, strict=True):
        if values.dtype.itemsize < 4 or not len(values):
            continue
        if values.dtype.kind == "f" and most > 2**24:
            continue
        low, high = values.min(), values.max()
        if high > most or low < -most:  # false for NaN, which has no order
            found.append(_shown(column))
    return _listed(found)


def names_of(value: Any) -> tuple[str, ...] | None:
    """Names of a frame's columns; None without columns, or if some are no text."""
    if type(value) is np.ndarray or not is_frame(value):
        return None
    library = _library(value)
    if library and _is_column(value, library):
        return None
    if library == "pyarrow":
        labels = value.column_names
    elif library:
        labels = value.columns
    else:
        labels = value.__dataframe__().column_names()
    names = tuple(labels)
    return names if names and all(isinstance(name, str) for name in names) else None


def _library(value: Any) -> str:
    """Library of an object's class, or of one of its bases."""
    for cls in type(value).__mro__:
        root = cls.__module__.partition(".")[0]
        if root in _READERS:
            return root
    return ""


def _is_plain(value: Any) -> bool:
    """Whether a pandas object is one block of one of NumPy's dtypes."""
    dtypes = set(value.dtypes) if hasattr(value, "columns") else {getattr(value, "dtype", None)}
    (dtype, *others) = dtypes or {None}
    return not others and isinstance(dtype, np.dtype) and dtype.kind in _REAL


def _is_column(value: Any, library: str) -> bool:
    if library == "pyarrow":
        return not hasattr(value, "column_names")
    return library in _READERS and len(value.shape) == 1


# --- what the libraries call their columns ---


def _pandas(value: Any) -> list[Column]:
    if hasattr(value, "columns"):
        labels, series = value.columns, [value.iloc[:, j] for j in range(len(value.columns))]
    else:
        labels, series = [getattr(value, "name", None)], [value]
    return [_of_pandas(label, each) for label, each in zip(labels, series, strict=True)]


def _of_pandas(label: Any, series: Any) -> Column:
    dtype = series.dtype
    kind, missing = getattr(dtype, "kind", "O"), 0
    if str(dtype) == "category":
        kind = "O"
    elif str(dtype) == "object":
        return _of_objects(label, series)
    elif kind in _REAL and not isinstance(dtype, np.dtype):
        missing = int(series.isna().sum())

    plain = isinstance(dtype, np.dtype) and dtype.kind != "O"
    to = None if plain else getattr(dtype, "numpy_dtype", np.dtype(np.float32))
    return Column(label, dtype, kind, missing, functools.partial(series.to_numpy, dtype=to))


def _of_objects(label: Any, series: Any) -> Column:
    """Column of Python objects: numbers, some of which may be missing."""
    items = series.tolist()
    missing = sum(item is None or str(item) in ("<NA>", "NaT") for item in items)
    kind = "O"
    if all(isinstance(item, (datetime.date, np.datetime64)) for item in items if item is not None):
        kind = "M"
    if sum(isinstance(item, (numbers.Real, np.bool_)) for item in items) + missing == len(items):
        kind = "f"

    def read() -> NDArray[Any]:
        array = np.array(items)
        if array.dtype.kind in _REAL:
            return array
        array = np.array(items, np.float64)
        pairs = zip(items, array.tolist(), strict=True)
        if any(isinstance(item, int) and item != number for item, number in pairs):
            raise ValueError(f"column {label!r} must hold integers of 64 bits, got larger ones")
        return array

    return Column(label, series.dtype, kind, missing, read)


def _polars(value: Any) -> list[Column]:
    series = value.get_columns() if hasattr(value, "get_columns") else [value]
    return [
        Column(
            each.name or None,
            each.dtype,
            _kind(each.head(0).to_numpy),
            each.null_count(),
            each.to_numpy,
        )
        for each in series
    ]


def _pyarrow(value: Any) -> list[Column]:
    labels = getattr(value, "column_names", None)
    arrays = [value] if labels is None else [value.column(j) for j in range(len(labels))]
    found = []
    for label, array in zip(labels or [None], arrays, strict=True):
        read = functools.partial(array.to_numpy, zero_copy_only=False)
        none = functools.partial(array.slice(0, 0).to_numpy, zero_copy_only=False)
        found.append(Column(label, array.type, _kind(none), array.null_count, read))
    return found


def _kind(none: Callable[[], NDArray[Any]]) -> str:
    """NumPy's kind of a column's array, from an empty slice of the column."""
    try:
        return none().dtype.kind
    except Exception:  # a type that NumPy has not got
        return "O"


_READERS: dict[str, Callable[[Any], list[Column]]] = {
    "pandas": _pandas,
    "polars": _polars,
    "pyarrow": _pyarrow,
}


# --- what is refused ---


def _refuse_other_columns(columns: list[Column], name: str) -> None:
    bad = [column for column in columns if column.kind not in _REAL]
    if bad:
        shown = _listed([_shown(column) for column in bad])
        advice = _ADVICE.get(bad[0].kind, _ADVICE["O"])
        raise ValueError(f"{name} must have columns of real numbers, got {shown}: {advice}")


def _refuse_missing(columns: list[Column], name: str) -> None:
    lacking = [column for column in columns if column.missing]
    if lacking:
        shown = _listed([f"{column.missing} in {_shown(column)}" for column in lacking])
        raise ValueError(
            f"{name} must have no missing values, got {shown}: fill them first, as by fillna or "
            "fill_null, or drop their rows"
        )


def _shown(column: Column) -> str:
    return str(column.dtype) if column.label is None else f"{column.label!r} ({column.dtype})"


def _listed(words: list[str]) -> str:
    return ", ".join(words[:5]) + (f" and {len(words) - 5} more" if len(words) > 5 else "")
