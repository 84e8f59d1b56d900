"""Activated: the attribute `activation` of layers, which may be set again."""

from __future__ import annotations

from typing import Any

from cdl import activations
from cdl._common.overriding import is_users


class Activated:
    """Attribute of a layer that takes the values of the constructor's `activation`, at any time."""

    def __get__(self, layer: Any, owner: type | None = None) -> Any:
        """Activation in the form of programs."""
        if layer is None:
            return self
        try:
            return vars(layer)["activation"]
        except KeyError:
            raise AttributeError(f"{type(layer).__name__} has no activation yet") from None

    def __set__(self, layer: Any, value: Any) -> None:
        """Set the activation; None stays None, and an untraceable one is for a custom `call`."""
        if value is not None:
            try:
                value = activations.compiled(type(layer).__name__, value)
            except ValueError:
                if isinstance(value, str) or not is_users(type(layer).call):
                    raise
        vars(layer)["activation"] = value
