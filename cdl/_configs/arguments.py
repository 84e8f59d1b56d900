"""Constructor arguments of cdl's objects by name, of which their configs are made."""

from __future__ import annotations

import inspect
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
    known = {*parameters(base)}
    known.update(*(vars(each).get("_not_in_config", ()) for each in cls.__mro__))
    return [name for name in dict.fromkeys(parameters(cls)) if name not in known]


@weak_cache
def parameters(cls: type) -> list[str]:
    """Named parameters of the constructors of a class's own bases, those of the last one first.

    Args:
        cls: a class of cdl's own or a custom one, whose own parameters are left out.
    """
    ours = [vars(each) for each in reversed(cls.__mro__) if not is_users(each)]
    inits = [each["__init__"] for each in ours if "__init__" in each]
    found = [each for init in inits for each in inspect.signature(init).parameters.values()]
    nameless = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [each.name for each in found if each.kind not in nameless and each.name != "self"]
