"""Parsing of configs of unknown origin, and errors that name their source."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl._configs import serialization

if TYPE_CHECKING:
    from cdl.trainers.signature import TrainableModel

# Limits in proportion to the file: it may be packed a hundred times smaller than it is, and
# constants in it stand among the weights too.
_LONGEST_CONFIG = 32_000_000  # bytes
_LONGEST_WITH_CONSTANTS = 64_000_000
_BYTES_A_BYTE = 8  # of the config for one of weights: a number of float32 is some 20 digits
_MOST_CONTAINERS = 100_000  # lists and dicts; a layer has ten to twenty
_BYTES_EACH = 20  # of a config with more of them; Keras's and cdl's take 30 and more for each
_MOST_OBJECTS = 20_000  # NASNetLarge, with the most layers of all applications, has some 4,000
_LONGEST_MESSAGE = 1000


def longest_config(weights: int | None = None) -> int:
    """Limit of a config's bytes beside `weights` bytes of weights; None if these are not known."""
    if weights is None:
        return _LONGEST_WITH_CONSTANTS
    return max(_LONGEST_CONFIG, min(_BYTES_A_BYTE * weights, _LONGEST_WITH_CONSTANTS))


def check_length(size: int, weights: int | None = None) -> None:
    """Refuse a config that is longer than the limit.

    Args:
        size: bytes of the config.
        weights: bytes of the weights beside it, if they are known.

    Raises:
        ValueError: it is too long.
    """
    most = longest_config(weights)
    if size > most:
        raise ValueError(
            f"the config must have at most {most} bytes, got {size}: constants and vocabularies "
            "that are longer belong to the weights (set_weights, adapt) or to files of their own"
        )


def check_objects(text: bytes | str) -> None:
    """Refuse the JSON of a config with more layers than any model has.

    Raises:
        ValueError: there are too many.
    """
    _check_count(_count(text, '"class_name"'))


def _count(text: bytes | str, what: str) -> int:
    return text.count(what) if isinstance(text, str) else text.count(what.encode())


def _check_count(count: int) -> None:
    if count > _MOST_OBJECTS:
        raise ValueError(
            f"a config must have at most {_MOST_OBJECTS} objects, that is layers and what each is "
            f"made of (class_name), got {count}"
        )


def check_written(text: str, model: TrainableModel) -> None:
    """Refuse to write a config that could not be read again.

    Raises:
        ValueError: it is too long, or there are too many layers.
    """
    try:
        if len(text) > _LONGEST_CONFIG:
            check_length(len(text), sum(np.asarray(each).nbytes for each in model.weights))
        check_objects(text)
    except ValueError as error:
        raise ValueError(f"save_model: {model.name!r} would not be loaded: {error}") from None


def read(text: bytes | str, size: int | None = None) -> Any:
    """Parsed JSON of a config, checked before it is parsed.

    Args:
        text: the JSON.
        size: bytes of the file that it came in.

    Raises:
        ValueError: it is no JSON, too deep or too large.
    """
    count = _count(text, "{") + _count(text, "[")
    size = len(text) if size is None else size
    most = max(_MOST_CONTAINERS, min(size, len(text)) // _BYTES_EACH)
    if count > most:
        raise ValueError(
            f"it must have at most {most} lists and dicts in a file of {size} bytes, got {count}"
        )
    check_objects(text)
    try:
        config = json.loads(text)
    except RecursionError:
        raise ValueError("it is not JSON that can be read: it is too deep") from None
    except ValueError as error:
        raise ValueError(f"it is not JSON: {error}") from error
    if _count(text, "\\u00"):  # perhaps in the name of a key
        _check_count(_objects(config))
    return config


def _objects(config: Any) -> int:
    """Number of dicts with a class_name."""
    count, waiting = 0, [config] if isinstance(config, (dict, list)) else []
    while waiting:
        each = waiting.pop()
        count += isinstance(each, dict) and "class_name" in each
        waiting += [
            inner
            for inner in (each.values() if isinstance(each, dict) else each)
            if isinstance(inner, (dict, list))
        ]
    return count


def parsed(text: bytes | str, size: int) -> dict[str, Any]:
    """Config of an object in JSON.

    Args:
        size: bytes of the file that it came in.

    Raises:
        ValueError: it is no JSON, too deep or too large, or not that of an object.
    """
    config = read(text, size)
    if not isinstance(config, Mapping) or "class_name" not in config or "config" not in config:
        raise ValueError(
            "it must hold the config of a model, a dict with class_name and config, "
            f"got {serialization.shown(config)}"
        )
    return dict(config)


@contextlib.contextmanager
def blaming(path: Path, member: str) -> Iterator[None]:
    """Context in which errors become a ValueError naming the file and the member, or an OSError."""
    try:
        yield
    except OSError as error:
        if str(path) in str(error):
            raise
        raise OSError(f"{path}: {member}: {_text(error)}") from error
    except Exception as error:
        if isinstance(error, ValueError) and str(error).startswith(str(path)):
            raise
        unknown = isinstance(error, serialization.UnknownObjectError)
        kind = serialization.UnknownObjectError if unknown else ValueError
        raise kind(f"{path}: {member}: {_text(error)}") from error


def _text(error: Exception) -> str:
    """Text of an error, with its type unless that is understood."""
    text = str(error)
    if not isinstance(error, (ValueError, TypeError, OSError)) or not text:
        text = f"{type(error).__name__}: {text}".removesuffix(": ")
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]}..."
