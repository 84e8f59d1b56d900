"""Constructor arguments of cdl's objects by name, of which their configs are made."""

from __future__ import annotations

import functools
import inspect
from typing import Any, Self

from cdl._common.errors import Hinting
from cdl._common.overriding import cdl_base

_MISSING = object()


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

    Those of the classes that its class is derived from come first. Left out are arguments without
    an attribute, those of a custom class, and the names in `_not_in_config` of its classes.

    Args:
        thing: an object.
        base: the class of its family.
    """
    found = {}
    for name in _names(cdl_base(type(thing)), base):
        value = getattr(thing, name, _MISSING)
        if value is not _MISSING:
            found[name] = value
    return found


@functools.cache
def _names(cls: type, base: type) -> list[str]:
    known = {*_parameters(base)}
    known.update(*(vars(each).get("_not_in_config", ()) for each in cls.__mro__))
    return [name for name in dict.fromkeys(_parameters(cls)) if name not in known]


def _parameters(cls: type) -> list[str]:
    """Parameters of the constructors of a class and its bases, `object`'s first."""
    inits = [vars(each)["__init__"] for each in reversed(cls.__mro__) if "__init__" in vars(each)]
    return [name for init in inits for name in inspect.signature(init).parameters]
