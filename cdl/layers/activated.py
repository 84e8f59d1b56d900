"""Activated: the attribute `activation` of layers that compile theirs, which may be set anew."""

from __future__ import annotations

from typing import Any

from cdl import activations
from cdl._common.overriding import is_users


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
        """Set it; None stays None, and what no program can have is for a `call` of the user's."""
        if value is not None:
            try:
                value = activations.compiled(type(layer).__name__, value)
            except ValueError:
                if isinstance(value, str) or not is_users(type(layer).call):
                    raise
        vars(layer)["activation"] = value
