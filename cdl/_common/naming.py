"""The names of objects that were given none: `dense`, `dense_1`, `re_lu`.

One counter for the whole process, as in Keras: it belongs to names, not to kinds of objects.
"""

from __future__ import annotations

import functools
import re

_WORD_STARTS = re.compile(r"(?<=.)(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])")
_counts: dict[str, int] = {}


@functools.lru_cache(1024)
def snake_case(name: str) -> str:
    """`MaxPooling2D` as `max_pooling2d`, `RMSprop` as `rm_sprop`, `<lambda>` as `lambda`."""
    return _WORD_STARTS.sub("_", re.sub(r"\W+", "", name)).lower()


def name_of(cls: type) -> str:
    """A class's name; that of Keras's class where it has another one there than in public."""
    name: str = vars(cls).get("_known_as", cls.__name__)
    return name


def unique(thing: type | str) -> str:
    """The next free name after a class or a word: `dense`, then `dense_1`, `dense_2` ..."""
    name = snake_case(thing if isinstance(thing, str) else name_of(thing))
    count = _counts.get(name, 0)
    _counts[name] = count + 1
    return f"{name}_{count}" if count else name


class FreeNames:
    """Names of which each is given out once: the second `loss` is `loss_1`.

    Args:
        taken: names that are not free from the start.
    """

    def __init__(self, *taken: str) -> None:
        self._taken = set(taken)
        self._counts: dict[str, int] = {}

    def take(self, name: str, other: str = "") -> str:
        """`name`, or `other` if it is taken, then with the first of `_1`, `_2` ... that is free."""
        if name in self._taken:
            name = other or name
        free, count = name, self._counts.get(name, 0)
        while free in self._taken:
            count += 1
            free = f"{name}_{count}"
        self._counts[name] = count
        self._taken.add(free)
        return free


class name_scope:  # noqa: N801 - Keras's name
    """Context that puts a name before the paths of variables made within, but not by layers.

    Args:
        name: without '/'.
        kwargs: what Keras's backends take.

    Raises:
        ValueError: no text, or one with '/'.
    """

    def __init__(self, name: str, **kwargs: object) -> None:
        if not isinstance(name, str) or "/" in name:
            raise ValueError(f"name_scope: name must be a string without '/', got {name!r}")
        self.name = name

    def __enter__(self) -> name_scope:
        _around.append(self.name)
        return self

    def __exit__(self, *error: object) -> None:
        _around.pop()


_around: list[str] = []


def scoped(name: str) -> str:
    """Path with the names of the scopes around in front."""
    return "/".join((*_around, name))


def get_uid(prefix: str = "") -> int:
    """Count of names with a `prefix` so far, this one included: 1, 2, 3 ..."""
    _counts[prefix] = _counts.get(prefix, 0) + 1
    return _counts[prefix]


def clear_session(free_memory: bool = True) -> None:
    """Reset the counters of automatic names.

    Args:
        free_memory: as in Keras; here memory goes with the last reference to a model, so there is
            nothing more to free.
    """
    del free_memory
    _counts.clear()
