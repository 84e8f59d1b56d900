"""`tf.strings` on arrays of str: the functions that standardize, split and join texts."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from cdl.data.texts import array_of, as_texts, decoded, encoded
from cdl.scripts.tensor import TensorShape, tensors


class Ragged(list[Any]):
    """`tf.RaggedTensor` as a list of rows of different lengths, of texts or numbers."""

    def to_list(self) -> list[list[Any]]:
        """The rows as nested lists."""
        return [np.asarray(row).tolist() for row in self]

    def to_tensor(self, default_value: Any = None, name: Any = None, shape: Any = None) -> Any:
        """A tensor of the rows, padded at the end.

        Args:
            default_value: the padding; '' for texts and 0 for numbers by default.
            name: without effect.
            shape: sizes of the result, the last of which is the number of columns; by default that
                of the longest row.
        """
        rows = [np.asarray(row) for row in self]
        filled = [row for row in rows if row.size]
        dtype = np.result_type(*filled) if filled else np.dtype(np.float32)
        fill = default_value if default_value is not None else "" if dtype.kind in "US" else 0
        width = max((len(row) for row in rows), default=0)
        if shape is not None and shape[-1] is not None:
            width = int(shape[-1])
        dtype = np.result_type(dtype, np.asarray(fill)) if dtype.kind in "US" else dtype
        whole = np.full((len(rows), width), fill, dtype)
        for line, row in zip(whole, rows, strict=True):
            line[: len(row)] = row[:width]
        return tensors(whole)

    @property
    def shape(self) -> TensorShape:
        """The shape: the number of rows, and an unknown number of columns."""
        return TensorShape((len(self), None))

    def row_lengths(self) -> Any:
        """The length of each row."""
        return tensors(np.array([len(row) for row in self], np.int64))


def _of_each(function: Callable[..., Any]) -> Callable[..., Any]:
    """Vectorize a function of one text over arrays and ragged rows."""

    def call(input: Any, *args: Any, **kwargs: Any) -> Any:
        kwargs.pop("name", None)
        if isinstance(input, Ragged):
            return Ragged(call(row, *args, **kwargs) if len(row) else row for row in input)
        texts, shape = _texts(input)
        found = np.array([function(each, *args, **kwargs) for each in texts])
        return tensors(found.reshape(shape))

    return call


def _texts(values: Any) -> tuple[list[str], tuple[int, ...]]:
    texts, shape = as_texts(values, "tf.strings: input")
    return [decoded(each) for each in texts], shape


def _regex_replace(text: str, pattern: str, rewrite: str, replace_global: bool = True) -> str:
    return re.sub(pattern, rewrite.replace("\\0", "\\g<0>"), text, count=0 if replace_global else 1)


def _substr(text: str, pos: int, len: int, unit: str = "BYTE") -> str:
    if unit != "BYTE":
        return text[pos:][:len]
    return decoded(encoded(text)[pos:][:len])


def _length(text: str, unit: str = "BYTE") -> int:
    return len(encoded(text) if unit == "BYTE" else text)


def _lower(text: str, encoding: str = "") -> str:
    """Lower case, of ASCII letters alone if no encoding is given."""
    return text.lower() if encoding else "".join(c.lower() if c.isascii() else c for c in text)


def _upper(text: str, encoding: str = "") -> str:
    return text.upper() if encoding else "".join(c.upper() if c.isascii() else c for c in text)


def _split(input: Any, sep: str | None = None, maxsplit: int = -1, name: Any = None) -> Any:
    """`tf.strings.split`: ragged rows of parts; for a single text a tensor of its parts."""
    del name
    texts, shape = _texts(input)
    return _rows([each.split(sep or None, maxsplit) for each in texts], shape)


def _rows(parts: list[list[str]], shape: tuple[int, ...]) -> Any:
    """Ragged rows of parts; a tensor of the one row for a single text."""
    rows = [tensors(np.array(each, dtype=str)) for each in parts]
    return Ragged(rows) if shape else rows[0]


def _unicode_split(input: Any, input_encoding: str = "UTF-8", **_: Any) -> Any:
    """`tf.strings.unicode_split`: the characters of each text."""
    texts, shape = _texts(input)
    return _rows([list(each) for each in texts], shape)


def _to_number(input: Any, out_type: Any = "float32", name: Any = None) -> Any:
    """`tf.strings.to_number`: texts parsed as numbers of a dtype."""
    kind = float if "float" in str(out_type) else int
    return _as_dtype(_of_each(kind)(input), str(out_type))


def _as_dtype(found: Any, dtype: str) -> Any:
    if isinstance(found, Ragged):
        return Ragged(_as_dtype(row, dtype) for row in found)
    return tensors(np.asarray(found).astype(dtype))


def _as_string(input: Any, precision: int = -1, **_: Any) -> Any:
    """`tf.strings.as_string`: numbers as texts; floats with six decimals by default."""
    array = np.asarray(input)
    digits = 6 if precision < 0 else precision
    write = (lambda x: f"{x:.{digits}f}") if array.dtype.kind == "f" else str
    return tensors(np.array([write(x) for x in array.ravel().tolist()]).reshape(array.shape))


def _reduce_join(
    inputs: Any,
    axis: int | None = None,
    keepdims: bool = False,
    separator: str = "",
    name: Any = None,
) -> Any:
    """`tf.strings.reduce_join`: join texts along an axis, or all of them."""
    array = np.asarray(inputs, dtype=object)
    array = array.ravel() if axis is None else np.moveaxis(array, axis, -1)
    flat = array.reshape(-1, array.shape[-1])
    joined = np.array([separator.join(map(str, row)) for row in flat]).reshape(array.shape[:-1])
    return tensors(np.expand_dims(joined, axis or 0) if keepdims else joined)


def _join(inputs: Any, separator: str = "", name: Any = None) -> Any:
    """`tf.strings.join`: join arrays of texts elementwise."""
    del name
    columns = np.broadcast_arrays(*(array_of(np.asarray(each), "inputs") for each in inputs))
    rows = zip(*(map(str, each.ravel()) for each in columns), strict=True)
    return tensors(np.array([separator.join(row) for row in rows]).reshape(columns[0].shape))


STRINGS: dict[str, Callable[..., Any]] = {
    "lower": _of_each(_lower),
    "upper": _of_each(_upper),
    "strip": _of_each(lambda text: text.strip()),
    "length": _of_each(_length),
    "substr": _of_each(_substr),
    "regex_replace": _of_each(_regex_replace),
    "regex_full_match": _of_each(lambda text, pattern: re.fullmatch(pattern, text) is not None),
    "as_string": _as_string,
    "bytes_split": _unicode_split,
    "reduce_join": _reduce_join,
    "split": _split,
    "to_number": _to_number,
    "unicode_split": _unicode_split,
    "join": _join,
}
