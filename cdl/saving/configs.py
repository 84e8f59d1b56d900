"""The text of a config, of unknown origin, and errors that say where it came from."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cdl._configs import serialization

# What any file may have. What a config asks for must be in proportion to the file, not more: it
# may be packed a hundred times smaller than it is.
_LONGEST_CONFIG = 32_000_000  # bytes
_MOST_CONTAINERS = 100_000  # lists and dicts; a layer has ten to twenty
_BYTES_EACH = 20  # of a file with more of them; Keras's and cdl's configs take 30 and more for each
_LONGEST_MESSAGE = 1000


def longest_config(size: int) -> int:
    """How many bytes the config in a file of that size may have."""
    return max(_LONGEST_CONFIG, size)


def parsed(text: bytes | str, size: int) -> dict[str, Any]:
    """The config of an object in JSON.

    Args:
        text: the JSON.
        size: bytes of the file that it came in.

    Raises:
        ValueError: it is no JSON, too deep or too large, or not that of an object.
    """
    if isinstance(text, bytes):
        count = text.count(b"{") + text.count(b"[")
    else:
        count = text.count("{") + text.count("[")
    most = max(_MOST_CONTAINERS, size // _BYTES_EACH)
    if count > most:
        raise ValueError(
            f"it must have at most {most} lists and dicts in a file of {size} bytes, got {count}"
        )
    try:
        config = json.loads(text)
    except RecursionError:
        raise ValueError("it is not JSON that can be read: it is too deep") from None
    except ValueError as error:
        raise ValueError(f"it is not JSON: {error}") from error
    if not isinstance(config, Mapping) or "class_name" not in config or "config" not in config:
        raise ValueError(
            "it must hold the config of a model, a dict with class_name and config, "
            f"got {serialization.shown(config)}"
        )
    return dict(config)


@contextlib.contextmanager
def blaming(path: Path, member: str) -> Iterator[None]:
    """Whatever fails within is a ValueError that names the file and the member; or an OSError."""
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
    """What an error says, and of what kind it is unless that is understood."""
    text = str(error)
    if not isinstance(error, (ValueError, TypeError, OSError)) or not text:
        text = f"{type(error).__name__}: {text}".removesuffix(": ")
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]}..."
