"""_errors.py - errors of two of Python's kinds at once: the one that fits, and Keras's."""

from __future__ import annotations

from typing import Any, ClassVar


class BothError(Exception):
    """Base of such errors; users see the name of the kind that stands first.

    Args:
        args: the message.
    """

    _kinds: ClassVar[dict[str, type[BothError]]] = {}
    _key: ClassVar[str]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._key, shown = cls.__name__, cls.__bases__[1]
        BothError._kinds[cls._key] = cls
        cls.__name__ = cls.__qualname__ = shown.__name__
        cls.__module__ = shown.__module__

    def __reduce__(self) -> Any:
        return _again, (self._key, self.args)


def _again(key: str, args: tuple[Any, ...]) -> BothError:
    """One out of a pickle, which could not find the class by the name that it shows."""
    return BothError._kinds[key](*args)
