"""Columns of a frame or array, of one of four kinds, with missing values marked."""

from __future__ import annotations

import datetime
import math
from collections.abc import Hashable, Iterable, Mapping
from decimal import Decimal
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cdl.data.frames import is_frame
from cdl.sklearn.versions import validated

Array = NDArray[Any]

_FEW = 32  # rows of frames that become one array
_FIRST = datetime.datetime(1970, 1, 1)
_TIMES: dict[str, Any] = {
    "m": datetime.timedelta | np.timedelta64,
    "M": datetime.date | np.datetime64,
}
_OF_TIMES = {"m": "number", "M": "date"}


class Column(NamedTuple):
    """Column of a table.

    Attributes:
        name: in messages, the name in the frame or "column 3".
        kind: "number", "date" or "text".
        values: float64 of numbers, of times and their differences in seconds, of dates in seconds
            since 1970, NaN for missing ones; else objects, None for missing ones.
        mixed: whether numbers, dates or times are among texts.
        declared: whether the frame calls them categories.
        timed: whether numbers were times or their differences.
    """

    name: str
    kind: str
    values: Array
    mixed: bool = False
    declared: bool = False
    timed: bool = False

    def rows(self, at: Any) -> Column:
        """Column of some rows."""
        return self._replace(values=self.values[at])


def columns_of(estimator: Any, x: Any, reset: bool, **options: Any) -> list[Column]:
    """Columns of X, whose names and number scikit-learn checks.

    Args:
        estimator: whose `n_features_in_` and `feature_names_in_` are set or compared.
        x: a frame of pandas, Polars or PyArrow, or what becomes an array of two axes.
        reset: whether they are set.
        options: of `validated` for arrays.

    Raises:
        ValueError: other columns than in `fit`, no column or row, infinite numbers.
        TypeError: values of a kind that no table has.
    """
    owner = type(estimator).__name__
    if type(x).__name__ == "RecordBatch":  # whose names scikit-learn does not read
        import pyarrow

        x = pyarrow.Table.from_batches([x])
    if type(x).__name__ == "LazyFrame":
        raise TypeError(
            f"{owner}: X must be a frame with its values, got a LazyFrame: collect() it"
        )
    if not reset and (numbers := plain_numbers(estimator, x)) is not None:
        return numbered(numbers)
    texts: frozenset[int] = frozenset() if reset else getattr(estimator, "_mixed", frozenset())
    if isinstance(x, Mapping) and not hasattr(x, "shape"):  # as a sparse matrix of keys has
        x = [x]
    if isinstance(x, list) and x and all(isinstance(each, Mapping) for each in x):
        found = _of_dicts(estimator, x, reset, texts)
        _refuse_infinite(owner, found)
        return found
    if is_frame(x) and len(getattr(x, "shape", ())) == 2:
        _refuse_twice(owner, x)
        _check_labels(estimator, x, reset)
        if reset or not _has_names(estimator, x):
            validated(estimator, x, reset=reset, skip_check_array=True)
        few = hasattr(x, "iloc") and 0 < len(x) <= _FEW
        read = _of_few(owner, x, texts) if few else _of_many(owner, x, texts)
        found = list(read)
        rows, least = len(found[0].values) if found else 0, options.get("ensure_min_samples", 1)
        if not found or rows < least:
            raise ValueError(
                f"{owner}: X must have a column and at least {least} rows, got n_samples = {rows} "
                f"of {len(found)} columns"
            )
    else:
        x = np.array(x, object) if isinstance(x, list | tuple) else x  # 1.5 beside "a" stays 1.5
        if isinstance(x, np.ma.MaskedArray):
            x = _unmasked(x)
        array = validated(
            estimator, x, reset=reset, dtype=None, ensure_all_finite="allow-nan", **options
        )
        named = enumerate(array.T)
        found = [_read(owner, f"column {i}", each, i in texts) for i, each in named]
    if reset:
        estimator._mixed = frozenset(i for i, each in enumerate(found) if each.mixed)
    _refuse_infinite(owner, found)
    return found


def _of_dicts(
    estimator: Any, rows: list[Mapping[Any, Any]], reset: bool, texts: frozenset[int]
) -> list[Column]:
    """Columns of rows that are dicts of values by the names that `fit` has seen."""
    owner, names = type(estimator).__name__, getattr(estimator, "feature_names_in_", None)
    if reset or names is None:
        what = "a frame or an array in fit" if reset else "as in fit, where columns had no names"
        raise TypeError(f"{owner}: X must be {what}, got a dict")
    for i, row in enumerate(rows):
        absent = [each for each in names.tolist() if each not in row]
        other = [each for each in row if each not in names.tolist()]
        if absent or other:
            raise ValueError(
                f"{owner}: X must have a value for each column of fit and no other, got none for "
                f"{absent[:8]} and also {other[:8]} in row {i}"
            )
    columns = enumerate(names.tolist())
    return [
        _read(owner, name, _objects([row[name] for row in rows]), i in texts) for i, name in columns
    ]


def plain_numbers(estimator: Any, x: Any) -> Array | None:
    """Array of finite floats as float64, if it has the columns that an estimator without names has.

    None says that X must be read column by column.
    """
    if type(x) is not np.ndarray or x.dtype.char not in "fd" or x.ndim != 2 or not len(x):
        return None
    if x.shape[1] != estimator.n_features_in_ or hasattr(estimator, "feature_names_in_"):
        return None
    found: Array = x.astype(np.float64, copy=False)
    return None if np.isinf(found).any() else found


def numbered(x: Array) -> list[Column]:
    """Columns of an array of numbers."""
    return [Column(f"column {i}", "number", each) for i, each in enumerate(x.T)]


def _refuse_twice(owner: str, x: Any) -> None:
    names = list(x.column_names if hasattr(x, "column_names") else x.columns)
    if len(set(names)) < len(names):
        twice = sorted({str(each) for each in names if names.count(each) > 1})
        raise ValueError(f"{owner}: X must have columns of different names, got twice {twice[:5]}")


def _check_labels(estimator: Any, x: Any, reset: bool) -> None:
    """Compare labels of columns that are no strings, which scikit-learn does not."""
    labels = list(x.columns) if hasattr(x, "iloc") else []
    plain = all(isinstance(each, str) for each in labels)
    if not plain and any(isinstance(each, str) for each in labels):
        raise TypeError(
            f"{type(estimator).__name__}: X must have columns whose labels are strings, or none of "
            f"them, got {labels[:8]}: x.columns = x.columns.astype(str) makes them such"
        )
    if reset:
        estimator._labels = [] if plain else labels
        return
    known = getattr(estimator, "_labels", [])
    if known and not plain and labels != known:
        raise ValueError(
            f"{type(estimator).__name__}: X must have the columns of fit in their order, "
            f"{known[:8]}, got {labels[:8]}"
        )


def _has_names(estimator: Any, x: Any) -> bool:
    """Whether the columns of a frame of pandas or Polars have the names that `fit` has seen."""
    names = getattr(estimator, "feature_names_in_", None)
    return names is not None and list(getattr(x, "columns", ())) == names.tolist()


def _named(x: Any) -> Iterable[tuple[Any, Any]]:
    """Labels of a frame and its columns."""
    if hasattr(x, "iloc"):
        return ((label, x.iloc[:, i]) for i, label in enumerate(x.columns))
    if hasattr(x, "column_names"):
        return ((label, x.column(i)) for i, label in enumerate(x.column_names))
    if hasattr(x, "get_columns"):
        return ((each.name, each) for each in x.get_columns())
    raise TypeError(
        f"X must be a frame of pandas, Polars or PyArrow, or an array, got {type(x).__name__}"
    )


def _of_many(owner: str, x: Any, texts: frozenset[int]) -> Iterable[Column]:
    """Columns of a frame, of which some are texts whatever they hold."""
    for i, (label, values) in enumerate(_named(x)):
        yield _read(owner, str(label), values, i in texts)


def _of_few(owner: str, x: Any, texts: frozenset[int]) -> Iterable[Column]:
    """Columns of a frame of pandas with few rows, whose values are read at once."""
    values = x.to_numpy()
    for i, (label, dtype) in enumerate(zip(x.columns, x.dtypes, strict=True)):
        if i in texts:
            yield _read(owner, str(label), x.iloc[:, i], True)
        elif isinstance(dtype, np.dtype) and dtype.kind in "biuf" and values.dtype.kind != "c":
            yield Column(str(label), "number", values[:, i].astype(np.float64))
        elif values.dtype.kind == "O" and dtype.type in (np.object_, str):
            yield _of_objects(owner, str(label), values[:, i])
        else:
            yield _read(owner, str(label), x.iloc[:, i])


def _read(owner: str, name: str, values: Any, text: bool = False) -> Column:
    """Column of a library's values, numbers and dates as texts if it is one of texts."""
    if text:
        is_coded = hasattr(values, "iloc") and hasattr(values, "cat")
        items = _as_array(values) if is_coded else _objects(_items(values))
        return _of_objects(owner, name, items, True)
    array = _as_array(values)
    if array.ndim != 1:
        raise TypeError(
            f"{owner}: X: {name} must have one value a row, got {array[0].shape} in the first"
        )
    if array.dtype.kind in "biuf":
        return Column(name, "number", array.astype(np.float64, copy=False))
    if array.dtype.kind in "Mm":
        return _of_times(name, array.dtype.kind, _seconds(array))
    if array.dtype.kind == "c":
        raise ValueError(f"Complex data not supported\n{owner}: X: {name} has complex numbers")
    found = _of_objects(owner, name, array.astype(object))
    dtype = values.type if hasattr(values, "to_pylist") else getattr(values, "dtype", None)
    if not str(dtype).startswith(("category", "Categorical", "Enum", "dictionary")):
        return found
    return found._replace(declared=True, mixed=found.mixed or _of_other_than_text(values, dtype))


def _of_other_than_text(values: Any, dtype: Any) -> bool:
    """Whether categories of pandas or Arrow are no strings, so that they may come as they are."""
    if hasattr(values, "cat") and hasattr(values.cat, "categories"):
        return not all(isinstance(each, str | bytes) for each in values.cat.categories)
    inner = getattr(getattr(dtype, "pyarrow_dtype", dtype), "value_type", "string")
    return not any(each in str(inner) for each in ("string", "binary"))


def _items(values: Any) -> list[Any]:
    """Python objects of a column: numbers, strings, dates."""
    if isinstance(values, np.ndarray):
        items: list[Any] = (_dated(values) if values.dtype.kind in "Mm" else values).tolist()
        return items
    found: list[Any] = (values.to_pylist if hasattr(values, "to_pylist") else values.to_list)()
    return found


def _dated(values: Any) -> Any:
    """Array or scalar of dates or times in microseconds, of which Python has objects."""
    return values.astype(f"{values.dtype.kind}8[us]")


def _of_times(name: str, kind: str, seconds: Array) -> Column:
    return Column(name, _OF_TIMES[kind], seconds, timed=kind == "m")


def _as_array(values: Any) -> Array:
    """NumPy's form of a column: of its own kind if all values are there, else of objects."""
    if isinstance(values, np.ndarray):
        return values
    if hasattr(values, "to_pylist"):  # of PyArrow
        if str(values.type).startswith("dictionary"):
            return _objects([None if each is None else _text(each) for each in values.to_pylist()])
        if values.null_count or "string" in str(values.type):
            return _objects(values.to_pylist())
        array: Array = np.asarray(values.to_numpy(zero_copy_only=False))
        return array
    if hasattr(values, "null_count"):  # of Polars
        exact = values.null_count() or "128" in str(values.dtype)  # of which NumPy has none
        return _objects(values.to_list()) if exact else np.asarray(values.to_numpy())
    dtype = values.dtype  # of pandas
    if hasattr(values, "cat"):
        names = _objects([*map(_text, values.cat.categories), None])
        coded: Array = names[values.cat.codes.to_numpy()]
        return coded
    if hasattr(dtype, "pyarrow_dtype"):
        return _as_array(values.array.__arrow_array__())
    if isinstance(dtype, np.dtype) and dtype.kind != "O":
        return np.asarray(values)
    kind = getattr(dtype, "kind", "O")
    if kind in "biuf":
        return np.asarray(values.to_numpy(dtype=np.float64, na_value=np.nan))
    if kind == "M":
        return np.asarray(values.dt.tz_convert(None) if values.dt.tz is not None else values)
    return _objects(values.tolist())


def _objects(items: list[Any]) -> Array:
    array = np.empty(len(items), object)
    array[:] = items
    return array


def _seconds(dates: Array) -> Array:
    """Seconds since 1970, or of a time difference; NaN for NaT."""
    unit = "datetime64[us]" if dates.dtype.kind == "M" else "timedelta64[us]"
    whole = dates.astype(unit).astype(np.int64)
    return np.where(np.isnat(dates), np.nan, whole / 1e6)


def _of_objects(owner: str, name: str, values: Array, text: bool = False) -> Column:
    """Column of Python objects, by what all of them are that are not missing."""
    missing = np.array([is_missing(each) for each in values], bool)
    known = values[~missing].tolist()
    found = np.full(len(values), np.nan)
    if not (text and known):
        if all(isinstance(each, Real | np.bool_ | Decimal) for each in known):
            found[~missing] = [_float(each) for each in known]
            return Column(name, "number", found)
        if all(isinstance(each, datetime.time) for each in known):
            known = [datetime.datetime.combine(_FIRST, each) - _FIRST for each in known]
        for kind, types in _TIMES.items():
            if all(isinstance(each, types) for each in known):
                plain = [_without_zone(each) for each in known]
                found[~missing] = _seconds(np.array(plain, f"{kind}8[us]"))
                return _of_times(name, kind, found)
    words: Any = Hashable if text else str | bytes | Real | np.bool_
    no = complex | np.complexfloating
    other = next((i for i in known if not isinstance(i, words) or isinstance(i, no)), None)
    if other is not None:
        raise TypeError(
            f"{owner}: X: {name}: argument must be a string or a real number, or all must be "
            f"dates or times, got {type(other).__name__}"
        )
    texts = np.full(len(values), None, object)
    texts[~missing] = [_text(each) for each in known]
    return Column(name, "text", texts, any(not isinstance(each, str | bytes) for each in known))


def _text(value: Any) -> str:
    value = _float(value) if isinstance(value, Decimal) else value
    if isinstance(value, float | np.floating) and value.is_integer():
        return str(int(value))  # 1.0 is 1, which becomes a float beside missing values
    if isinstance(value, np.datetime64 | np.timedelta64):
        value = _dated(value).item()
    if isinstance(value, datetime.timedelta):  # pandas has another text of it than Python
        value = datetime.timedelta(value.days, value.seconds, value.microseconds)
    if isinstance(value, datetime.datetime):  # a date's own text if it is one
        value = _without_zone(value)
        value = value.date() if value.time() == datetime.time() else value
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _float(value: Any) -> float:
    """Number in float64, infinite if it is too large, NaN if it is a signaling one."""
    try:
        return float(value)
    except OverflowError:
        return math.inf
    except ValueError:
        return math.nan


def _without_zone(date: Any) -> Any:
    """Date in UTC without its time zone."""
    if getattr(date, "tzinfo", None) is None:
        return date
    return date.astimezone(datetime.UTC).replace(tzinfo=None)


def _unmasked(x: Any) -> Array:
    """Array with None where values are masked."""
    array: Array = x.data
    if np.ma.is_masked(x):
        array = array.astype(object)
        array[np.ma.getmaskarray(x)] = None
    return array


def plain_labels(y: Any) -> Any:
    """Target with NumPy's dtype, where pandas has one of its own for what it holds."""
    if isinstance(y, np.ma.MaskedArray):
        return _unmasked(y)
    if isinstance(y, list | tuple) and len({isinstance(each, str) for each in y}) > 1:
        return _objects(list(y))  # of which NumPy would make strings
    dtype: Any = getattr(y, "dtype", None)
    if getattr(dtype, "name", "") == "string":
        return y.astype(object).where(y.notna(), None)
    if hasattr(dtype, "categories") and hasattr(y, "isna") and not y.isna().any():
        return np.asarray(y)
    if isinstance(dtype, np.dtype) or getattr(dtype, "kind", "") not in ("b", "i", "u"):
        return y
    if not hasattr(dtype, "numpy_dtype") or y.isna().any():
        return y
    return y.to_numpy(dtype=dtype.numpy_dtype)


def is_missing(value: Any) -> bool:
    """Whether a value is None, NaN, NaT or pandas' NA."""
    if value is None:
        return True
    if isinstance(value, float | np.floating):
        return bool(np.isnan(value))
    return not isinstance(value, str) and str(value) in ("<NA>", "NaT")


def _refuse_infinite(owner: str, columns: list[Column]) -> None:
    bad = [each.name for each in columns if each.kind != "text" and np.isinf(each.values).any()]
    if bad:
        raise ValueError(
            f"Input X contains infinity: {owner}: {', '.join(bad[:5])}; clip such values, or make "
            "them NaN, which counts as missing"
        )
