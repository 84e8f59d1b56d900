"""Objects with weights that stand in a config more than once, as one object.

A layer of a graph may be the layer of a wrapper too. As in Keras's files each of its configs has
the same `shared_object_id`, and the first one that is read makes the object for all. Keras takes
Python's `id`; here objects are numbered, so that equal models give equal files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any

_KEY = "shared_object_id"
_written: ContextVar[dict[int, tuple[int, Any]] | None] = ContextVar("written", default=None)
_read: ContextVar[dict[int, Any] | None] = ContextVar("read", default=None)


@contextmanager
def _begun(kept: ContextVar[Any]) -> Iterator[None]:
    token = kept.set({})
    try:
        yield
    finally:
        kept.reset(token)


def numbering() -> AbstractContextManager[None]:
    """Context, for this thread, in which configs get the number of their object."""
    return _begun(_written)


def note_written(thing: Any, config: dict[str, Any]) -> None:
    """Number the object of a config within `numbering`, if it has weights."""
    numbers = _written.get()
    if numbers is not None and hasattr(type(thing), "variables"):
        config[_KEY] = numbers.setdefault(id(thing), (len(numbers) + 1, thing))[0]


def of_shared(config: Any) -> Any:
    """Config with the numbers of those objects alone that stand in it more than once."""
    counts = Counter(_numbers(config))
    return _without(config, {number for number, count in counts.items() if count == 1})


def _is_numbered(config: dict[str, Any]) -> bool:
    """Whether a dict is the config of a numbered object, not an argument with such a key."""
    return "class_name" in config and type(config.get(_KEY)) is int


def _numbers(config: Any) -> Iterator[int]:
    if isinstance(config, dict):
        if _is_numbered(config):
            yield config[_KEY]
        config = list(config.values())
    if isinstance(config, (list, tuple)):
        for each in config:
            yield from _numbers(each)


def _without(config: Any, numbers: set[int]) -> Any:
    if isinstance(config, dict):
        return {
            key: _without(value, numbers)
            for key, value in config.items()
            if not (key == _KEY and _is_numbered(config) and value in numbers)
        }
    if isinstance(config, (list, tuple)):
        return type(config)(_without(each, numbers) for each in config)
    return config


def reading() -> AbstractContextManager[None]:
    """Context, for this thread, in which configs of one number give one object."""
    return _begun(_read)


def found(config: Any) -> Any:
    """Object that was read of a config of the same number; None if there is none yet."""
    made, number = _read.get(), config.get(_KEY)
    return made.get(number) if made is not None and type(number) is int else None


def note_read(thing: Any, config: Any) -> None:
    """Keep an object for other configs of its number."""
    made, number = _read.get(), config.get(_KEY)
    if made is not None and type(number) is int:
        made[number] = thing
