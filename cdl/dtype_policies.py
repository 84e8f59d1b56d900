"""DTypePolicy: what dtype a layer computes in and has its weights in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cdl._common.public_names import publish
from cdl._configs import serialization

if TYPE_CHECKING:
    from typing import Self

__all__ = [
    "DTypePolicy",
    "FloatDTypePolicy",
]


class DTypePolicy:
    """A dtype by name: "float32", the only one that cdl computes in.

    Args:
        name: "float32"; None means the same.

    Raises:
        ValueError: any other name.
    """

    def __init__(self, name: str | None = None) -> None:
        if name not in (None, "float32"):
            raise ValueError(f"DTypePolicy: name must be 'float32', cdl's only one, got {name!r}")
        self.name = self.compute_dtype = self.variable_dtype = "float32"
        self.quantization_mode = None

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A new one from what `get_config` gave."""
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DTypePolicy) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f'<DTypePolicy "{self.name}">'


FloatDTypePolicy = DTypePolicy
serialization.register_public("keras", DTypePolicy)


publish(globals())
