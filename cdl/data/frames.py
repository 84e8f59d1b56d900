"""frames.py - pandas DataFrames and Series as arrays, without importing pandas.

A frame of one NumPy dtype is one block: its array is a view. Columns of several dtypes have no
common block, and become float32, which is what the core computes in.
"""

import numbers
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ADVICE = {
    "O": "encode text and categories as numbers first, as by pandas.get_dummies",
    "U": "encode text and categories as numbers first, as by pandas.get_dummies",
    "M": "make dates into numbers first, such as days since a start",
    "m": "make time differences into numbers first, as by .dt.total_seconds()",
    "c": "complex numbers have no place in a real net",
}


def is_pandas(value: Any) -> bool:
    """Whether `value` is a pandas object with `to_numpy`: a DataFrame, Series or Index."""
    return type(value).__module__.partition(".")[0] == "pandas" and hasattr(value, "to_numpy")


def to_array(value: Any, name: str) -> NDArray[Any]:
    """The numbers of a DataFrame, Series or Index; ValueError names the columns that have none."""
    columns = _columns(value)
    _refuse_other_columns(columns, value, name)
    kinds = {dtype for _, dtype in columns}
    if len(kinds) == 1 and isinstance(dtype := next(iter(kinds)), np.dtype) and dtype.kind != "O":
        array: NDArray[Any] = value.to_numpy()
        return array
    if not kinds:
        return np.empty((len(value), 0), np.float32)
    array = value.to_numpy(dtype=np.float32, na_value=np.nan)
    return array


def _columns(value: Any) -> list[tuple[Any, Any]]:
    """(label, dtype) of each column; a Series or Index is one column."""
    if hasattr(value, "columns"):
        return list(zip(value.columns, value.dtypes, strict=True))
    return [(getattr(value, "name", None), value.dtype)]


def _refuse_other_columns(columns: list[tuple[Any, Any]], value: Any, name: str) -> None:
    """Raise ValueError if a column holds anything but real numbers."""
    bad = []
    kind = ""
    for position, (label, dtype) in enumerate(columns):
        if _is_numeric(dtype):
            continue
        if getattr(dtype, "kind", "O") == "O" and str(dtype) == "object":
            column = value.iloc[:, position] if hasattr(value, "columns") else value
            if all(isinstance(item, (numbers.Real, np.bool_)) for item in column):
                continue
        bad.append(f"{label!r} ({dtype})" if label is not None else str(dtype))
        kind = kind or str(getattr(dtype, "kind", "O"))
    if bad:
        shown = ", ".join(bad[:5]) + (f" and {len(bad) - 5} more" if len(bad) > 5 else "")
        advice = _ADVICE.get(kind, _ADVICE["O"])
        raise ValueError(f"{name} must have columns of real numbers, got {shown}: {advice}")


def _is_numeric(dtype: Any) -> bool:
    """Whether a NumPy or pandas dtype holds real numbers; a category of ints does not."""
    return getattr(dtype, "kind", "O") in "fiub" and str(dtype) != "category"
