"""Tables of any size, whose columns are x, y and weights by name.

Those of PyArrow (`pyarrow.dataset.Dataset`, `RecordBatchReader`, large `Table`s), lazy frames of
Polars, and Hugging Face's data sets. Their libraries are not imported for that: who hands such an
object in has done so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl import tree
from cdl.data import frames
from cdl.data.arrays import brief
from cdl.data.windows import PART, TOGETHER, packed

_PAGE = 1_200_000  # bytes that a column of an open row group takes: a page, and what is made of it
_DECODED = 128_000_000  # bytes that all open row groups may take
_BUFFER = 1 << 16  # bytes of a column that are read from the disk at a time
_TEXTS = ("csv", "json")  # formats that must be read to know how many rows there are
LARGE = 250_000_000  # bytes of a table in memory that is not copied into one array


class Reader:
    """Base of readers of one kind of table.

    Attributes:
        names: of its columns.
        rows: how many, None if only reading them tells.
        once: whether they can be read but once.
    """

    once = False

    def together(self, columns: int) -> int:
        """Number of blocks that may be open at a time, for a number of columns."""
        del columns
        return TOGETHER

    def __init__(self, names: Iterable[str], rows: int | None) -> None:
        self.names = list(names)
        self.rows = rows

    def blocks(self, rows: int) -> Sequence[Any]:
        """Blocks that can be read in any order, of about `rows` rows where possible."""
        raise NotImplementedError

    def read(self, block: Any, names: list[str], rows: int) -> Iterator[Any]:
        """Read frames of some columns, of about `rows` rows each."""
        raise NotImplementedError


class _Dataset(Reader):
    """Reader of a `pyarrow.dataset.Dataset`; a block is a row group of Parquet, else a file.

    Filtered ones do not show their files, and are read in one stream. Parquet is read by its own
    reader: the scanner of a data set holds a row group and more, the former some pages.
    """

    def __init__(self, value: Any) -> None:
        self._value = value
        try:
            self._fragments = list(value.get_fragments())
            formats = [getattr(each, "format", None) for each in self._fragments]
            counts = not any(getattr(each, "default_extname", "") in _TEXTS for each in formats)
        except ValueError:  # it is filtered
            self._fragments, counts = [], False
        super().__init__(value.schema.names, value.count_rows() if counts else None)

    def together(self, columns: int) -> int:
        groups = [each.row_groups[0] for each in self._fragments if getattr(each, "row_groups", ())]
        share = columns / max(1, len(self.names))
        largest = max((int(each.total_byte_size * share) for each in groups), default=0)
        return max(1, min(TOGETHER, _DECODED // max(1, min(columns * _PAGE, largest))))

    def blocks(self, rows: int) -> Sequence[Any]:
        del rows
        found: list[Any] = []
        for fragment in self._fragments:
            found += (
                fragment.split_by_row_group() if hasattr(fragment, "row_groups") else [fragment]
            )
        return found or [None]

    def read(self, block: Any, names: list[str], rows: int) -> Iterator[Any]:
        if hasattr(block, "row_groups"):
            wanted, there = self._value.schema, block.physical_schema
            if all(n in there.names and there.field(n).type == wanted.field(n).type for n in names):
                return self._read_parquet(block, names, rows)
        options = {"columns": names, "batch_size": rows, "batch_readahead": 2}
        if block is None:
            scanner = self._value.scanner(fragment_readahead=1, **options)
        else:
            scanner = block.scanner(schema=self._value.schema, **options)
        batches: Iterator[Any] = iter(scanner.to_batches())
        return batches

    @staticmethod
    def _read_parquet(block: Any, names: list[str], rows: int) -> Iterator[Any]:
        from pyarrow.parquet import ParquetFile

        groups = [each.id for each in block.row_groups]
        with ParquetFile(block.open(), metadata=block.metadata, buffer_size=_BUFFER) as file:
            yield from file.iter_batches(rows, groups, names, use_threads=False)


class _Sliced(Reader):
    """Reader of tables with fast access to any rows: a Table, a Hugging Face dataset."""

    def __init__(
        self, names: Iterable[str], rows: int, part: Callable[[int, int, list[str]], Any]
    ) -> None:
        super().__init__(names, rows)
        self._part = part
        self._rows = rows

    def blocks(self, rows: int) -> Sequence[tuple[int, int]]:
        return [(at, min(self._rows, at + rows)) for at in range(0, self._rows, rows)]

    def read(self, block: tuple[int, int], names: list[str], rows: int) -> Iterator[Any]:
        start, stop = block
        for at in range(start, stop, rows):
            yield self._part(at, min(stop, at + rows), names)


class _Streamed(Reader):
    """Reader of tables that give their rows in one order only."""

    def __init__(
        self,
        names: Iterable[str],
        stream: Callable[[list[str], int], Iterable[Any]],
        once: bool = False,
    ) -> None:
        super().__init__(names, None)
        self._stream = stream
        self.once = once

    def blocks(self, rows: int) -> Sequence[None]:
        del rows
        return [None]

    def read(self, block: None, names: list[str], rows: int) -> Iterator[Any]:
        del block
        return iter(self._stream(names, rows))


# --- the kinds, by library and class ---


def _table(value: Any) -> Reader:
    def part(start: int, stop: int, names: list[str]) -> Any:
        return value.select(names).slice(start, stop - start)

    return _Sliced(value.column_names, value.num_rows, part)


def _record_batches(value: Any) -> Reader:
    def stream(names: list[str], rows: int) -> Iterator[Any]:
        del rows
        return (batch.select(names) for batch in value)

    return _Streamed(value.schema.names, stream, once=True)


def _lazy_frame(value: Any) -> Reader:
    def stream(names: list[str], rows: int) -> Iterable[Any]:
        batches: Iterable[Any] = value.select(names).collect_batches(
            chunk_size=rows, maintain_order=True
        )
        return batches

    if not hasattr(value, "collect_batches"):
        raise ImportError("Polars 1.34 or newer is needed to read a LazyFrame batch by batch")
    return _Streamed(value.collect_schema().names(), stream)


def _hugging_face(value: Any) -> Reader:
    formatted: list[Any] = []  # made once: that copies the data set's description

    def part(start: int, stop: int, names: list[str]) -> Any:
        if not formatted:
            formatted.append(value.with_format("arrow", columns=names))
        return formatted[0][start:stop]

    return _Sliced(value.column_names, len(value), part)


def _hugging_face_stream(value: Any) -> Reader:
    def stream(names: list[str], rows: int) -> Iterator[Any]:
        tables = value.with_format("arrow").iter(rows)
        return (each.select(names) for each in tables)

    names = value.column_names or list(next(iter(value)))
    return _Streamed(names, stream)


_KINDS: dict[tuple[str, str], Callable[[Any], Reader]] = {
    ("pyarrow", "Dataset"): _Dataset,
    ("pyarrow", "RecordBatchReader"): _record_batches,
    ("polars", "LazyFrame"): _lazy_frame,
    ("datasets", "Dataset"): _hugging_face,
    ("datasets", "IterableDataset"): _hugging_face_stream,
}


def is_table(value: Any, named: bool = False) -> bool:
    """Whether `value` is a table read block by block.

    Args:
        value: anything.
        named: whether names of its columns are given beside it: then large tables in memory are.
    """
    return _kind(value) is not None or (
        named
        and getattr(value, "nbytes", 0) > LARGE
        and (hasattr(value, "column_names") and hasattr(value, "slice"))
    )


def _kind(value: Any) -> Callable[[Any], Reader] | None:
    for cls in type(value).__mro__:
        found = _KINDS.get((cls.__module__.partition(".")[0], cls.__name__))
        if found is not None:
            return found
    return None


def are_names(given: Any) -> bool:
    """Whether targets or weights are given as column names."""
    leaves = tree.flatten(given)
    return bool(leaves) and all(isinstance(leaf, str) for leaf in leaves)


def split_frame(x: Any, y: Any, weight: Any, call: str, outputs: int) -> tuple[Any, Any, Any]:
    """x, y and weights of a frame in memory whose y or weights are column names.

    Args:
        x: the frame.
        y: as of a Table.
        weight: likewise.
    """
    labels = list(frames.names_of(x) or ())
    names = [each for given in (y, weight) if are_names(given) for each in tree.flatten(given)]
    missing = [name for name in names if name not in labels]
    if missing:
        raise ValueError(f"{call}: y must name columns of x, got {missing} of {labels}")

    def select(of: list[str]) -> Any:
        return x.select(of) if hasattr(x, "select") else x[of]

    def part(given: Any) -> Any:
        if not are_names(given):
            return given
        if isinstance(given, (list, tuple)) and outputs == 1:
            return select(list(given))
        return tree.map_structure(lambda name: x[name], given)

    rest = [each for each in labels if each not in names]
    return select(rest), part(y), part(weight)


class Table:
    """Source of windows from a table: see `windows.Source`.

    Args:
        value: the table.
        y: the name of a column, a list of names, or a dict of them by the outputs' names; None for
            a table of inputs alone.
        weight: the same of sample weights.
        inputs: the names of the model's inputs, if it has several: those of their columns.
        outputs: how many outputs the model has.
        known: the names of the columns that the model was trained on, None for all others than y
            and weights.

    Raises:
        ValueError: the table has no such columns.
        TypeError: y or weights are no names.
    """

    def __init__(
        self,
        value: Any,
        y: Any,
        weight: Any,
        call: str,
        inputs: Sequence[str] | None = None,
        outputs: int = 1,
        known: Sequence[str] | None = None,
    ) -> None:
        kind = _kind(value) or _table
        self._reader = reader = kind(value)
        self.name, self.rows, self.once = f"{call}: x", reader.rows, reader.once
        taken: list[str] = []
        for given, name in ((y, "y"), (weight, "sample_weight")):
            if given is None:
                continue
            if not are_names(given):
                raise TypeError(
                    f"{call}: {name} must name columns of x, a {type(value).__name__}, "
                    f"got {brief(given)}"
                )
            self._check(tree.flatten(given), f"{call}: {name}")
            taken += tree.flatten(given)
        x: Any
        self.columns = None
        if inputs is not None:
            self._check(inputs, f"{call}: the model's inputs")
            x = {each: _Columns([each], False) for each in inputs}
        else:
            rest = [each for each in reader.names if each not in taken]
            if known is not None and set(known) <= set(reader.names):
                rest = list(known)
            if not rest:
                raise ValueError(f"{call}: x must have columns beside y, got {reader.names}")
            self.columns = tuple(rest)
            x = _Columns(rest, True)
        self._parts = x, _targets(y, outputs), _targets(weight, outputs)
        self._leaves: list[_Columns] = [
            leaf for leaf in tree.flatten(self._parts) if leaf is not None
        ]
        self._names = list(dict.fromkeys(name for leaf in self._leaves for name in leaf.names))
        self.together = reader.together(len(self._names))
        self._part = max(1, PART // (4 * len(self._names)))

    def _check(self, names: Iterable[str], what: str) -> None:
        missing = [name for name in names if name not in self._reader.names]
        if missing:
            raise ValueError(
                f"{what} must name columns of the table, got {missing} of {self._reader.names}"
            )

    def blocks(self) -> Sequence[Any]:
        """Blocks of the table as it is stored."""
        return self._reader.blocks(4 * self._part)

    def read(self, block: Any) -> Iterator[list[NDArray[Any]]]:
        """Rows of a block, as arrays of the columns."""
        for frame in self._reader.read(block, self._names, self._part):
            yield [leaf.of(frame, self.name) for leaf in self._leaves]

    def pack(self, arrays: list[NDArray[Any]]) -> tuple[Any, Any, Any]:
        """x, one array or a dict of them; y and weights as they were named."""
        return packed(self._parts, arrays)


def _targets(given: Any, outputs: int) -> Any:
    """Columns of y or of weights."""
    if isinstance(given, (list, tuple)) and outputs == 1:
        return _Columns(list(given), True)
    if given is None:
        return None
    return tree.map_structure(lambda name: _Columns([name], False), given)


class _Columns:
    """Group of columns that become one array.

    Args:
        names: theirs.
        matrix: whether a single one of numbers is an array of shape (rows, 1), and not (rows,).
    """

    def __init__(self, names: list[str], matrix: bool) -> None:
        self.names = names
        self._matrix = matrix

    def of(self, frame: Any, name: str) -> NDArray[Any]:
        """Array of the columns, for some rows."""
        if len(self.names) == 1:
            array = _column(frame[self.names[0]], f"{name}: column {self.names[0]!r}")
            return array[:, None] if array.ndim == 1 and self._matrix else array
        return frames.to_array(frame.select(self.names), name, part=True)


def _column(column: Any, name: str) -> NDArray[Any]:
    """Array of one column: lists of one length are further axes, and texts stay texts."""
    if hasattr(column, "to_list") and str(column.dtype).startswith("List"):  # of Polars
        column = column.list.to_array(int(column.list.len()[0]) if len(column) else 0)
    if str(getattr(column, "dtype", "")).startswith(("Array", "String")):
        array: NDArray[Any] = column.to_numpy()
        return array
    if hasattr(column, "combine_chunks"):
        column = column.combine_chunks()
    if str(getattr(column, "type", "")) in ("string", "large_string", "string_view"):
        array = column.to_numpy(zero_copy_only=False)
        return array
    return _lists(column, name)


def _lists(array: Any, name: str) -> NDArray[Any]:
    """Arrow list array as an array; its lists must have one length."""
    if hasattr(array, "to_numpy_ndarray"):  # of tensors
        tensors: NDArray[Any] = array.to_numpy_ndarray()
        return tensors
    array = getattr(array, "storage", array)
    if not (hasattr(array, "flatten") and hasattr(array.type, "value_type")):
        return frames.to_array(array, name)
    if array.null_count:
        raise ValueError(f"{name} must have no missing values, got {array.null_count} lists")
    inner, rows = _lists(array.flatten(), name), len(array)
    size = len(inner) // rows if rows else 0
    if hasattr(array, "value_lengths") and (np.asarray(array.value_lengths()) != size).any():
        raise ValueError(f"{name} must have lists of one length, got several")
    return inner.reshape(rows, size, *inner.shape[1:])
