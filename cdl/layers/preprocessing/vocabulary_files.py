"""Vocabularies as text files: one token a line, as in Keras, or JSON.

A token with a line break of whatever kind, an empty one at the end, and bytes that are no UTF-8
are no line that Keras reads again. Then the file is JSON, under a name that Keras does not know:
it refuses the file, where lines would give it other tokens in silence.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from cdl.data.texts import decoded, encoded

LINES, EXACT = "vocabulary.txt", "vocabulary.json"


def files_of(
    lines: list[str], tokens: list[Any] | None, read: Callable[[str], Any]
) -> dict[str, str]:
    """Text of a vocabulary, by the name of its file.

    Args:
        lines: all tokens, special ones in front, as users see them.
        tokens: the others, as the layer has them; None before it has a vocabulary.
        read: what makes tokens of the text of lines.
    """
    text = "\n".join(lines)
    if tokens is None or (
        tokens and text.splitlines() == lines and _is_unicode(text) and read(text) == tokens
    ):
        return {LINES: text}
    return {EXACT: json.dumps([decoded(t) if isinstance(t, bytes) else int(t) for t in tokens])}


def exact_tokens(text: str, dtype: str) -> list[Any]:
    """Tokens of a file of JSON.

    Args:
        text: of the file.
        dtype: of the tokens, "string" or "int64".

    Raises:
        ValueError: it is none, or holds other tokens.
    """
    wanted = str if dtype == "string" else int
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or any(type(each) is not wanted for each in found):
        raise ValueError(f"{EXACT} must be a list of {wanted.__name__}")
    return list(map(encoded, found)) if wanted is str else found


def lines_of(path: Any, owner: str) -> list[str]:
    """Lines of a user's file of tokens; ValueError if it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            return file.read().replace("\r\n", "\n").removesuffix("\n").split("\n")
    except OSError as error:
        raise ValueError(
            f"{owner}: vocabulary must be a list of tokens or a file of them, got "
            f"{os.fspath(path)!r}, which cannot be read: {error.strerror}"
        ) from None


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
