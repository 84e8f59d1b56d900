"""Datasets from text and CSV files, and `tf.data.experimental`."""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from cdl.data import brief
from cdl.scripts.tf_data import AUTOTUNE, Dataset, as_dataset
from cdl.scripts.tf_elements import Options
from cdl.scripts.tf_io import files_of, paths_of

_SHUFFLED = 10000


def files(pattern: Any, what: str) -> list[str]:
    """The files that match one pattern or several; ValueError if there are none."""
    found = files_of(pattern)
    if not found:
        raise ValueError(f"{what} must be of files that are there, got {brief(pattern)}")
    return found


class TextLineDataset(Dataset):
    """`tf.data.TextLineDataset`: the lines of files, without line ends.

    Args:
        filenames: one path, several, or a dataset of paths.
        compression_type: None; compressed files are not supported.
        buffer_size: without effect.
        num_parallel_reads: without effect.
        name: without effect.

    Raises:
        ValueError: a `compression_type`.
    """

    def __init__(
        self,
        filenames: Any,
        compression_type: str | None = None,
        buffer_size: int | None = None,
        num_parallel_reads: int | None = None,
        name: str | None = None,
    ) -> None:
        if compression_type:
            raise ValueError(
                f"TextLineDataset: compression_type must be None, got {compression_type!r}"
            )
        paths = paths_of(filenames)

        def start() -> Iterator[Any]:
            for path in paths:
                with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
                    for line in file:
                        yield np.asarray(line.removesuffix("\n").removesuffix("\r"))

        super().__init__(start, None)


# --- tables ---


def _typed(values: list[str], default: Any, na_value: str) -> Any:
    """Parse a column of texts as int32, int64, float32 or str, the first that fits all of them.

    Args:
        values: the texts.
        default: the dtype, or the value of missing fields, which sets the dtype too; or None.
        na_value: the text of a missing field.
    """
    filled = [value for value in values if value != na_value]
    kinds: tuple[Any, ...] = (("int32", int), ("int64", int), ("float32", float))
    if default is not None:
        value = default[0] if isinstance(default, (list, tuple)) and default else default
        if isinstance(value, str) and value not in ("string", *(name for name, _ in kinds)):
            kinds, missing = (), value
        elif isinstance(value, (str, type, np.dtype)):
            name = "string" if value in ("string", str) else np.dtype(value).name
            kinds, missing = ((name, float if "float" in name else int),), None
            kinds = () if name == "string" else kinds
        else:
            name = {float: "float32", int: "int32"}.get(type(value)) or np.asarray(value).dtype.name
            kinds, missing = ((name, float if "float" in name else int),), value
    else:
        missing = None
    for name, kind in kinds:
        try:
            numbers = [kind(each) for each in filled]
        except ValueError:
            continue
        limits = None if kind is float else np.iinfo(name)
        if limits and numbers and not limits.min <= min(numbers) <= max(numbers) <= limits.max:
            continue
        rest = iter(numbers)
        empty = kind(missing or 0)
        return np.array([empty if each == na_value else next(rest) for each in values], name)
    if default is not None and kinds:
        raise ValueError(f"make_csv_dataset: column_defaults: a column of {kinds[0][0]} has texts")
    return np.array([(missing or "") if each == na_value else each for each in values])


def make_csv_dataset(
    file_pattern: Any,
    batch_size: int,
    column_names: Any = None,
    column_defaults: Any = None,
    label_name: str | None = None,
    select_columns: Any = None,
    field_delim: str = ",",
    use_quote_delim: bool = True,
    na_value: str = "",
    header: bool = True,
    num_epochs: int | None = None,
    shuffle: bool = True,
    shuffle_buffer_size: int = _SHUFFLED,
    shuffle_seed: int | None = None,
    prefetch_buffer_size: int | None = None,
    num_parallel_reads: int | None = None,
    sloppy: bool = False,
    num_rows_for_inference: int | None = 100,
    compression_type: str | None = None,
    ignore_errors: bool = False,
    encoding: str = "utf-8",
) -> Dataset:
    """`tf.data.experimental.make_csv_dataset`: batches of CSV columns, as a dict by name.

    With `label_name`, elements are pairs of the dict and the label column. The dtype of a column
    is inferred from all rows, not from `num_rows_for_inference` of them.

    Raises:
        ValueError: an unknown column, a row of another length, or no matching file.
    """
    if compression_type:
        raise ValueError(f"make_csv_dataset: compression_type must be None, got {compression_type}")
    columns: list[list[str]] = []
    names = None if column_names is None else list(column_names)
    quoting: Any = csv.QUOTE_MINIMAL if use_quote_delim else csv.QUOTE_NONE
    for path in files(file_pattern, "make_csv_dataset: file_pattern"):
        with open(path, encoding=encoding, newline="") as file:
            rows = csv.reader(file, delimiter=field_delim, quoting=quoting)
            first = next(rows, None) if header else None
            if names is None:
                names = first if first is not None else None
            for row in rows:
                if names is None or (row and len(row) != len(names)):
                    if ignore_errors and names is not None:
                        continue
                    raise ValueError(
                        f"make_csv_dataset: {path}: rows must have a value for each of the columns "
                        f"{names}, got {brief(row)}"
                    )
                if row:
                    columns.append(row)
    assert names is not None
    chosen = [names[c] if isinstance(c, int) else c for c in select_columns or names]
    unknown = {*chosen, *([label_name] if label_name else [])} - {*names}
    if unknown:
        raise ValueError(f"make_csv_dataset: there are columns {names}, got {sorted(unknown)}")
    by_name = dict(zip(names, map(list, zip(*columns, strict=True)), strict=True))
    defaults = dict(zip(chosen, column_defaults or itertools.repeat(None), strict=False))
    table = {name: _typed(by_name[name], defaults.get(name), na_value) for name in chosen}
    if label_name is None:
        rows_of = Dataset.from_tensor_slices(table)
    else:
        label = table.pop(label_name)
        rows_of = Dataset.from_tensor_slices((table, label))
    if shuffle:
        rows_of = rows_of.shuffle(shuffle_buffer_size, shuffle_seed)
    return rows_of.repeat(num_epochs).batch(batch_size, drop_remainder=num_epochs is None)


def _cardinality(dataset: Any) -> Any:
    """`tf.data.experimental.cardinality`: the number of elements, as a tensor."""
    return dataset.cardinality()


def _assert_cardinality(expected_cardinality: int) -> Callable[[Dataset], Dataset]:
    """`tf.data.experimental.assert_cardinality`: a transformation that sets the length."""
    n = int(expected_cardinality)
    length = {-1: math.inf, -2: None}.get(n, n)

    def counted(dataset: Dataset) -> Dataset:
        given = as_dataset("assert_cardinality: dataset", dataset)
        return Dataset(lambda: iter(given), length, batches=given._batches)

    return counted


def _as_it_is(*args: Any, **kwargs: Any) -> Callable[[Any], Any]:
    """A transformation without effect, for ones about TensorFlow's input pipeline."""
    return lambda dataset: dataset


DATA: dict[str, Any] = {
    "AUTOTUNE": AUTOTUNE,
    "INFINITE_CARDINALITY": -1,
    "UNKNOWN_CARDINALITY": -2,
    "Dataset": Dataset,
    "Options": Options,
    "TextLineDataset": TextLineDataset,
}
EXPERIMENTAL: dict[str, Any] = {
    "AUTOTUNE": AUTOTUNE,
    "assert_cardinality": _assert_cardinality,
    "cardinality": _cardinality,
    "choose_from_datasets": Dataset.choose_from_datasets,
    "ignore_errors": _as_it_is,
    "make_csv_dataset": make_csv_dataset,
    "prefetch_to_device": _as_it_is,
    "sample_from_datasets": Dataset.sample_from_datasets,
    "snapshot": _as_it_is,
}
