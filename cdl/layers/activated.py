"""Activated: the attribute `activation` of layers that compile theirs, which may be set anew."""

from __future__ import annotations

from typing import Any

from cdl import activations
from cdl._common.overriding import overrides


class Activated:
    """An attribute of a layer that takes what the constructor takes, at any time."""

    def __get__(self, layer: Any, owner: type | None = None) -> Any:
        """The activation as programs have it."""
        if layer is None:
            return self
        try:
            return vars(layer)["activation"]
        except KeyError:
            raise AttributeError(f"{type(layer).__name__} has no activation yet") from None

    def __set__(self, layer: Any, value: Any) -> None:
        """Set it; a `call` of the user's gets it as it is, None stays None."""
        own = value is None or overrides(type(layer), "call")
        vars(layer)["activation"] = (
            value if own else activations.compiled(type(layer).__name__, value)
        )
