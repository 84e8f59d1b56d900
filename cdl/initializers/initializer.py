"""Initializer: the base of initializers, and their registry by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from cdl._configs.arguments import Configured
from cdl._configs.identifiers import Registry

registry = Registry(
    "initializer",
    "keras.initializers",
    "a name, a config, an instance, an array or a function of (shape, dtype=None)",
)


class Initializer(Configured):
    """Base of initializers; a subclass overrides `__call__` and, with arguments, `get_config`."""

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        """Initial values: an array of that shape."""
        raise NotImplementedError(f"{type(self).__name__} must override __call__(shape, dtype)")

    def clone(self) -> Self:
        """Copy with the same arguments."""
        return self.from_config(self.get_config())


def checked_shape(owner: Initializer, shape: int | Sequence[int]) -> tuple[int, ...]:
    """Shape as a tuple of known sizes; one int is one axis."""
    sizes = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    for size in sizes:
        if not isinstance(size, (int, np.integer)) or size < 0:
            raise ValueError(f"{type(owner).__name__}: shape must have known sizes, got {shape!r}")
    return tuple(map(int, sizes))
