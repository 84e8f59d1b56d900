"""_named.py - families of classes and functions that are found by their Keras names.

A `Family` is one dictionary from every accepted name to the thing that it means. Classes enter it
by a decorator where they are defined, so that adding one touches no list; `get`, `serialize` and
`deserialize` of each public module are the methods below. Configs are Keras's own:
`{"module", "class_name", "config", "registered_name"}`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from cdl.utils.naming import snake_case

Thing = TypeVar("Thing", bound=Callable[..., Any])

_families: dict[str, Family] = {}  # by their Keras modules
_homes: dict[Any, str] = {}  # what cdl itself defines, and the Keras module that has it


class Family:
    """Things of one kind.

    Args:
        kind: what one is called in messages, "loss".
        module: where Keras has them, "keras.losses".
        expects: what else may stand for one, for messages.
        key: brings a name to the form in which it is looked up; `str.lower` if case is nothing.
        snake: whether a class is found by its name in snake_case too.
        missing: the exception for a config whose class is not known.
    """

    def __init__(
        self,
        kind: str,
        module: str,
        expects: str = "",
        key: Callable[[str], str] = str,
        snake: bool = True,
        missing: type[Exception] = ValueError,
    ) -> None:
        self.kind = kind
        self.module = module
        self.expects = expects or f"the name, the config or an instance of {_article(kind)}"
        self.key = key
        self.snake = snake
        self.missing = missing
        self._things: dict[str, Any] = {}
        _families[module] = self

    def add(self, *names: str) -> Callable[[Thing], Thing]:
        """A decorator that enters a class or function under its own name and under `names`."""

        def enter(thing: Thing) -> Thing:
            own = thing.__name__
            snake = [snake_case(own)] if self.snake and isinstance(thing, type) else []
            for name in (own, *snake, *names):
                self._things.setdefault(self.key(name), thing)
            _homes[thing] = self.module
            return thing

        return enter

    def names(self) -> list[str]:
        """Every accepted name, sorted."""
        return sorted(self._things)

    def __contains__(self, thing: object) -> bool:
        return any(thing is known for known in self._things.values())

    def find(self, name: str, error: type[Exception] = ValueError) -> Any:
        """The class or function of that name; an error that suggests a near one otherwise."""
        try:
            return self._things[self.key(name)]
        except KeyError:
            raise error(unknown(self.kind, name, self._things)) from None

    def get(self, identifier: Any) -> Any:
        """What an identifier stands for: None, a name, a config, a class, or the thing itself.

        Raises:
            ValueError: a name that is not known, or something that cannot be called.
        """
        if identifier is None:
            return None
        if isinstance(identifier, str):
            thing = self.find(identifier)
        elif isinstance(identifier, Mapping):
            thing = self.deserialize(identifier)
        else:
            thing = identifier
        if isinstance(thing, type):
            thing = thing()
        if not callable(thing):
            raise self.not_one(identifier)
        return thing

    def not_one(self, identifier: Any) -> ValueError:
        """The error for something that cannot stand for one of this family."""
        received = f"{identifier!r} of type {type(identifier).__name__}"
        return ValueError(f"Could not interpret {self.kind} {received}; expected {self.expects}")

    def deserialize(
        self,
        config: Mapping[str, Any] | str | None,
        custom_objects: Mapping[str, Any] | None = None,
    ) -> Any:
        """The object that a config of `serialize` describes; a bare name is a config too.

        Args:
            config: what `serialize` gave, a name, or None.
            custom_objects: classes and functions of the user's own, by name.
        """
        if config is None:
            return None
        if isinstance(config, str):
            config = {"class_name": config, "config": {}}
        if not isinstance(config, Mapping) or "class_name" not in config:
            raise self.not_one(config)
        home = _families.get(config.get("module") or "", self)
        if home is not self:
            return home.deserialize(config, custom_objects)
        custom = custom_objects or {}
        name, inner = config["class_name"], config.get("config", {})
        if name == "function":
            return custom.get(inner) or self.find(inner, self.missing)
        thing = custom.get(config.get("registered_name") or name) or custom.get(name)
        if thing is None:
            thing = self.find(name, self.missing)
        if not isinstance(thing, type):
            return thing
        from_config = getattr(thing, "from_config", None)
        return from_config(dict(inner)) if from_config else thing(**inner)

    @staticmethod
    def serialize(thing: Any) -> Any:
        """The config of an object or function, as Keras writes it."""
        return serialize(thing)


def serialize(thing: Any) -> Any:
    """The config of any object that has a `get_config`, or of a named function.

    None, numbers and strings are themselves; containers are walked through.
    """
    if thing is None or isinstance(thing, (str, bool, int, float)):
        return thing
    if isinstance(thing, (list, tuple)):
        return type(thing)(serialize(item) for item in thing)
    if isinstance(thing, dict):
        return {key: serialize(value) for key, value in thing.items()}
    if hasattr(thing, "tolist"):
        return thing.tolist()
    if hasattr(thing, "get_config"):
        return _class_config(thing)
    name = getattr(thing, "__name__", None)
    if name is None:
        raise TypeError(f"serialize: {thing!r} has no get_config and no name")
    if name == "<lambda>":
        raise ValueError("serialize: a lambda has no name to be found by; use a named function")
    known = thing in _homes
    module = "builtins" if known else _module(thing)
    registered = "function" if known else name
    return {
        "module": module,
        "class_name": "function",
        "config": name,
        "registered_name": registered,
    }


def unknown(kind: str, name: Any, known: Mapping[str, Any]) -> str:
    """The text of the error for a name that is not there, with the nearest one that is."""
    import difflib

    lower = {each.lower(): each for each in known}
    near = difflib.get_close_matches(str(name).lower(), lower, 1)
    hint = f"; did you mean {lower[near[0]]!r}?" if near else "."
    return f"Could not find {kind} {name!r}{hint} Known names: {', '.join(sorted(known))}"


def _class_config(thing: Any) -> dict[str, Any]:
    cls = type(thing)
    home = _homes.get(cls)
    return {
        "module": home or _module(cls),
        "class_name": cls.__name__,
        "config": serialize(thing.get_config()),
        "registered_name": None if home else cls.__name__,
    }


def _module(thing: Any) -> str | None:
    module = getattr(thing, "__module__", None)
    return None if module == "__main__" else module


def _article(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
