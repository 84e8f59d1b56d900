"""Registries of classes and functions, found by their Keras names.

A `Registry` is one dictionary from every accepted name to the thing that it means. Classes enter it
by a decorator where they are defined, so that adding one touches no list; `get`, `serialize` and
`deserialize` of each public module are the methods below. Names that the user has registered come
first; what configs look like is in _configs/serialization.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from cdl._common.errors import hint
from cdl._common.missing_names import explained
from cdl._common.naming import snake_case
from cdl._configs import serialization
from cdl._configs.custom_objects import all_custom_objects, get_registered_object
from cdl._configs.serialization import serialize

__all__ = ["Identifier", "Registry", "serialize", "unknown"]

Thing = TypeVar("Thing", bound=Callable[..., Any])
# Identifier of an activation, an initializer, a regularizer...: a name, a config, or the object.
Identifier = str | Mapping[str, Any] | Callable[..., Any]


class Registry:
    """Registry of the losses, layers or other objects that configs and strings name.

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
        article = "an" if kind[0] in "aeiou" else "a"
        self.expects = expects or f"the name, the config or an instance of {article} {kind}"
        self.key = key
        self.snake = snake
        self.missing = missing
        self._things: dict[str, Any] = {}

    def add(self, *names: str) -> Callable[[Thing], Thing]:
        """A decorator that enters a class or function under its own name and under `names`."""

        def enter(thing: Thing) -> Thing:
            exact = thing.__name__
            snake = [snake_case(exact)] if self.snake and isinstance(thing, type) else []
            for name in (exact, *snake, *names):
                self._things.setdefault(self.key(name), thing)
            serialization.register_public(self.module, thing, *names)
            return thing

        return enter

    def names(self) -> list[str]:
        """Every accepted name, sorted."""
        return sorted(self._things)

    def __contains__(self, thing: object) -> bool:
        return any(thing is known for known in self._things.values())

    def find(self, name: str, error: type[Exception] = ValueError) -> Any:
        """The class or function of that name; an error that suggests a near one otherwise."""
        exact = get_registered_object(name)
        if exact is not None:
            return exact
        try:
            return self._things[self.key(name)]
        except KeyError:
            raise error(unknown(self.kind, name, self._things)) from None

    def get(self, identifier: Any) -> Any:
        """Object of an identifier: None, a name, a config, a class, or the object itself.

        Raises:
            ValueError: a name that is not known, or something that cannot be called.
        """
        if identifier is None:
            return None
        if isinstance(identifier, str):
            thing = self.find(identifier)
        elif isinstance(identifier, (dict, Mapping)):  # a dict first, which is found at once
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
        received = f"{serialization.shown(identifier)} of type {type(identifier).__name__}"
        if isinstance(identifier, type):
            received = f"{identifier!r} (did you mean {identifier.__name__}()?)"
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
        module = serialization.public_module(config.get("module"))
        if module not in (None, self.module) or str(config["class_name"]).startswith("__"):
            return serialization.deserialize(config, custom_objects)
        custom = all_custom_objects(custom_objects)
        name, inner = config["class_name"], config.get("config", {})
        if name == "function":
            return custom.get(inner) or self.find(inner, self.missing)
        thing = custom.get(config.get("registered_name") or name) or custom.get(name)
        if thing is None:
            if module is None and config.get("module") not in (None, "builtins"):
                return serialization.deserialize(
                    config, custom_objects
                )  # which says that it is unknown
            if self.key(str(name)) not in self._things:
                raise self.missing(
                    f"{unknown(self.kind, name, self._things)}. {serialization.HINT}"
                )
            thing = self.find(name)
        return serialization.revive(thing, config, custom_objects)

    @staticmethod
    def serialize(thing: Any) -> Any:
        """The config of an object or function, as Keras writes it.

        Args:
            thing: an object with a `get_config`, a named function, or plain values.
        """
        return serialize(thing)


def unknown(kind: str, name: Any, known: Mapping[str, Any]) -> str:
    """The text of the error for a name that is not there: the nearest one that is, or all."""
    said = explained(f"{kind}s.{name}")
    if said is not None:
        return f"Could not find {kind} {serialization.shown(name)}: {said}"
    meant = hint([name], known) or f". Known names: {', '.join(sorted(known))}"
    return f"Could not find {kind} {serialization.shown(name)}{meant}"
