"""Constructor arguments of cdl's objects by name, of which their configs are made."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Self

from cdl._common.errors import Hinting
from cdl._common.overriding import is_users
from cdl._common.weak_cache import weak_cache


class Configured(Hinting):
    """Base of objects whose config has the arguments of their constructor."""

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments as a dict, for `from_config`."""
        return own_arguments(self, Configured)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Create an object from the dict that `get_config` returned."""
        return cls(**config)


def own_arguments(thing: Any, base: type) -> dict[str, Any]:
    """Arguments of a constructor that the one of `base` does not have, as attributes have them.

    Args:
        thing: an object.
        base: the class of its family.

    Raises:
        AttributeError: one has no attribute, as where a custom class leaves out `super().__init__`.
    """
    return {name: getattr(thing, name) for name in own_names(type(thing), base)}


@weak_cache
def own_names(cls: type, base: type) -> list[str]:
    """Names of the arguments that `base` does not have, those of a class's own bases first.

    Left out are those of a custom class, and the names in `_not_in_config` of its bases.

    Args:
        cls: a class of cdl's own or a custom one.
        base: the class of its family.
    """
    ours = [each for each in cls.__mro__ if not is_users(each)]
    known = {*parameters(base.__mro__)}
    known.update(*(vars(each).get("_not_in_config", ()) for each in ours))
    return [name for name in dict.fromkeys(parameters(ours)) if name not in known]


def parameters(classes: Sequence[type]) -> list[str]:
    """Named parameters of the constructors of classes, those of the last class first.

    Args:
        classes: in the order in which Python looks for a method, as `__mro__` has them.
    """
    inits = [vars(each)["__init__"] for each in reversed(classes) if "__init__" in vars(each)]
    found = [each for init in inits for each in inspect.signature(init).parameters.values()]
    nameless = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [each.name for each in found if each.kind not in nameless]
