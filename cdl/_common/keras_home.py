"""Keras's cache: the folder in which it keeps what it has downloaded."""

from __future__ import annotations

import os


def keras_home() -> str:
    """`KERAS_HOME` of the environment, or `~/.keras`."""
    return os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")


def in_cache(folder: str, name: str, origin: str, owner: str, instead: str = "") -> str:
    """The path of a file in the cache.

    Args:
        folder: "datasets" or "models".
        name: of the file.
        origin: the address from which Keras downloads it.
        owner: what needs it, for the error.
        instead: what else one can do, for the error.

    Raises:
        FileNotFoundError: it is not there; the text says what to put where.
    """
    path = os.path.join(keras_home(), folder, name)
    if os.path.exists(path):
        return path
    folders = f"cache_subdir={folder!r}" + (", extract=True" if origin.endswith(".tar.gz") else "")
    raise FileNotFoundError(
        f"{owner}: {name} is not in Keras's cache, as {path}, and cdl downloads only what it is "
        f"told to: utils.get_file({name!r}, {origin!r}, {folders}) puts it there, "
        f"on a machine with access to the internet{instead}"
    )
