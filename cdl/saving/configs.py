"""The text of a config, of unknown origin, and errors that say where it came from."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cdl._configs import serialization

LONGEST_CONFIG = 32_000_000  # bytes
_MOST_CONTAINERS = 100_000  # lists and dicts; a layer has some ten
_LONGEST_MESSAGE = 1000


def parsed(text: bytes | str) -> dict[str, Any]:
    """The config of an object in JSON.

    Raises:
        ValueError: it is no JSON, too deep or too large, or not that of an object.
    """
    if isinstance(text, bytes):
        count = text.count(b"{") + text.count(b"[")
    else:
        count = text.count("{") + text.count("[")
    if count > _MOST_CONTAINERS:
        raise ValueError(f"it must have at most {_MOST_CONTAINERS} lists and dicts, got {count}")
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
