"""The user's own classes and functions, found by the names they are registered with.

What is registered with `register_keras_serializable` is known everywhere; what a
`custom_object_scope` holds is known within it, in the thread that entered it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from typing import Any, TypeVar

Thing = TypeVar("Thing")

_objects: dict[str, Any] = {}  # registered name -> class or function
_names: dict[Any, str] = {}  # the other way round
_scoped: ContextVar[Mapping[str, Any] | None] = ContextVar("custom_objects", default=None)


def register_keras_serializable(
    package: str = "Custom", name: str | None = None
) -> Callable[[Thing], Thing]:
    """Decorator that registers a class or function, so that configs with it can be read.

    It is known as `package>name`, which is what `get_registered_name` gives and what configs hold.

    Args:
        package: first part of the name.
        name: second part; that of the class or function itself if None.

    Raises:
        ValueError: the class has no `get_config`; a part is no string.
    """
    for what, part in (("package", package), ("name", name)):
        if not isinstance(part, str) and not (what == "name" and part is None):
            raise ValueError(
                f"register_keras_serializable: {what} must be a string, got {part!r}: "
                "use it as @register_keras_serializable()"
            )

    def enter(thing: Thing) -> Thing:
        if isinstance(thing, type) and not hasattr(thing, "get_config"):
            raise ValueError(
                "Cannot register a class that does not have a get_config() method, "
                f"got {thing.__name__}"
            )
        if not callable(thing):
            raise TypeError(
                f"register_keras_serializable: it must be a class or a function, got {thing!r}"
            )
        named: Any = thing
        full = f"{package}>{name if name is not None else named.__name__}"
        _objects[full] = thing
        _names[thing] = full
        return thing

    return enter


class CustomObjectScope:
    """Context in which configs and names find custom objects: `{"Mine": Mine}`.

    A scope within another one hides it.

    Args:
        custom_objects: classes and functions by name.

    Raises:
        TypeError: `custom_objects` is no dict.
    """

    def __init__(self, custom_objects: Mapping[str, Any] | None) -> None:
        if custom_objects is not None and not isinstance(custom_objects, Mapping):
            raise TypeError(
                "CustomObjectScope: custom_objects must be a dict by name, "
                f"got {type(custom_objects).__name__}"
            )
        self.custom_objects = dict(custom_objects or {})
        self._token: Token[Mapping[str, Any] | None] | None = None

    def __enter__(self) -> CustomObjectScope:
        self._token = _scoped.set(self.custom_objects)
        return self

    def __exit__(self, *error: object) -> None:
        assert self._token is not None
        _scoped.reset(self._token)


custom_object_scope = CustomObjectScope


def get_custom_objects() -> dict[str, Any]:
    """All registered objects, by registered name: the dictionary itself, which may be changed."""
    return _objects


def get_registered_name(obj: Any) -> str:
    """Registered name of a class or function; its own if it is not registered.

    Args:
        obj: a class or function.
    """
    try:
        return _names[obj]
    except (KeyError, TypeError):
        name: str = obj.__name__
        return name


def get_registered_object(
    name: str,
    custom_objects: Mapping[str, Any] | None = None,
    module_objects: Mapping[str, Any] | None = None,
) -> Any:
    """Object of a name: in the scope, registered, or in one of the dictionaries; or None.

    Args:
        name: of the loss.
        custom_objects: names of the user's own and what they stand for, beside the registered ones.
        module_objects: looked at last.
    """
    for known in (_scoped.get(), _objects, custom_objects, module_objects):
        if known and name in known:
            return known[name]
    return None


def all_custom_objects(custom_objects: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """`custom_objects`, and all that the scope and the registry have, which come before them."""
    return {**(custom_objects or {}), **_objects, **(_scoped.get() or {})}
