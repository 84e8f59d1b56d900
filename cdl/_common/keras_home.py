"""Folder of Keras's cache, for downloads."""

from __future__ import annotations

import os
import stat

from cdl._common.errors import warn

_REMEDY = "Set KERAS_HOME (or cache_dir of get_file) to a folder of your own"


def keras_home() -> str:
    """`KERAS_HOME` of the environment, or `~/.keras`.

    Raises:
        OSError: neither is known.
    """
    told = os.environ.get("KERAS_HOME")
    if told:
        return told
    home = os.path.expanduser("~")
    if home == "~":
        raise OSError(f"the home of this user must be known for Keras's cache: {_REMEDY}")
    folder = os.path.join(home, ".keras")
    _tell_of_others(folder, home)
    return folder


def _tell_of_others(folder: str, home: str) -> None:
    """Warn of a cache that other users may write to, such as one in `/tmp`."""
    try:
        found, owner = os.stat(folder), os.stat(home).st_uid
    except OSError:  # it is not there
        return
    shared = os.stat(home).st_mode & stat.S_IWOTH
    mine = {os.geteuid(), 0} | (set() if shared else {owner})
    why = "belongs to another user" if found.st_uid not in mine else ""
    if found.st_mode & stat.S_IWOTH:
        why = "is a folder in which every user of this machine may write"
    if why:
        warn(f"Keras's cache {folder} {why}: files in it may be theirs. {_REMEDY}")


def cache_folder(subfolder: str, cache_dir: str | os.PathLike[str] | None) -> str:
    """A folder of the cache.

    Args:
        subfolder: such as "datasets", or a whole path.
        cache_dir: the cache; None for `keras_home()`.
    """
    if os.path.isabs(subfolder):
        return subfolder
    base = keras_home() if cache_dir is None else os.path.expanduser(os.fspath(cache_dir))
    return os.path.join(base, subfolder)


def make_writable(folder: str, owner: str) -> None:
    """Create a folder of the cache, if it is not there.

    Args:
        owner: what writes there, for the error.

    Raises:
        OSError: it cannot be made or written; the text says what to do.
    """
    try:
        os.makedirs(folder, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError("no right to write there")
    except OSError as error:
        reason = error.strerror or error
        raise OSError(
            f"{owner}: the cache must be a folder that can be written, got {folder} ({reason}). "
            + _REMEDY
        ) from error


def in_cache(folder: str, name: str, origin: str, owner: str, instead: str = "") -> str:
    """The path of a file in the cache.

    Args:
        folder: "datasets" or "models".
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
