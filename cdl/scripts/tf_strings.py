"""`tf.strings` on arrays of str, for the functions that texts are standardized and split by."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from cdl.data.texts import array_of, as_texts, decoded
from cdl.scripts.tensor import tensors


def _of_each(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of a text as one of an array of texts."""

    def call(input: Any, *args: Any, **kwargs: Any) -> Any:
        kwargs.pop("name", None)
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
    return decoded(text.encode("utf-8", "surrogateescape")[pos:][:len])


def _length(text: str, unit: str = "BYTE") -> int:
    return len(text.encode("utf-8", "surrogateescape") if unit == "BYTE" else text)


def _lower(text: str, encoding: str = "") -> str:
    """Of ASCII letters alone, unless an encoding is given."""
    return text.lower() if encoding else "".join(c.lower() if c.isascii() else c for c in text)


def _upper(text: str, encoding: str = "") -> str:
    return text.upper() if encoding else "".join(c.upper() if c.isascii() else c for c in text)


def _split(input: Any, sep: str | None = None, maxsplit: int = -1, name: Any = None) -> Any:
    """`tf.strings.split`: a list of the parts of each text; of a single text its parts."""
    del name
    texts, shape = _texts(input)
    parts = [each.split(sep or None, maxsplit) for each in texts]
    return parts if shape else tensors(np.array(parts[0]))


def _join(inputs: Any, separator: str = "", name: Any = None) -> Any:
    """`tf.strings.join`: the texts in the same place of each input as one."""
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
    "split": _split,
    "join": _join,
}
