"""Constant initial values: 0, 1, one number, an array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cdl._common.dtypes import astype, numpy_dtype, standardize_dtype
from cdl._common.validation import number
from cdl._configs.serialization import deserialize, serialize
from cdl.initializers.initializer import Initializer, checked_shape, registry


@registry.add("zero")
class Zeros(Initializer):
    """Initializer of all zeros."""

    def __call__(self, shape: int | Sequence[int], dtype: Any = None) -> NDArray[Any]:
        return np.zeros(checked_shape(self, shape), numpy_dtype(standardize_dtype(dtype)))


@registry.add("one")
class Ones(Initializer):
    """Initializer of all ones."""

    def __call__(self, shape: int | Sequence[int], dtype: Any = None) -> NDArray[Any]:
        return np.ones(checked_shape(self, shape), numpy_dtype(standardize_dtype(dtype)))


@registry.add()
class Constant(Initializer):
    """Initializer of one value for all.

    Args:
        value: the number, or an array that broadcasts to the shape.
    """

    def __init__(self, value: Any = 0.0) -> None:
        self.value = value

    def __call__(self, shape: int | Sequence[int], dtype: Any = None) -> NDArray[Any]:
        return astype(np.full(checked_shape(self, shape), self.value), standardize_dtype(dtype))

    def get_config(self) -> dict[str, Any]:
        return {"value": serialize(self.value)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**{name: deserialize(value) for name, value in config.items()})


@registry.add("IdentityInitializer")
class Identity(Initializer):
    """Initializer of identity matrices, times `gain`.

    Args:
        gain: a number.
    """

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = number("Identity", "gain", gain)

    def __call__(self, shape: int | Sequence[int], dtype: Any = None) -> NDArray[Any]:
        sizes = checked_shape(self, shape)
        if len(sizes) != 2:
            raise ValueError(f"Identity: shape must have 2 axes, got {sizes}")
        return astype((self.gain * np.eye(*sizes)), standardize_dtype(dtype))

    def get_config(self) -> dict[str, Any]:
        """Constructor argument, unless it is 1: Keras never writes it."""
        return {} if self.gain == 1 else {"gain": self.gain}


class Values(Initializer):
    """Initializer of a given array."""

    def __init__(self, values: NDArray[Any]) -> None:
        self.values = values

    def __call__(self, shape: Any, dtype: Any = None) -> NDArray[Any]:
        if checked_shape(self, shape) != self.values.shape:
            raise ValueError(
                f"an array as an initializer must have the weight's shape {tuple(shape)}, "
                f"got {self.values.shape}"
            )
        return astype(self.values, standardize_dtype(dtype))

    def get_config(self) -> dict[str, Any]:
        return {"values": self.values.tolist()}
