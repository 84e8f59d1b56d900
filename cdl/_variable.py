"""_variable.py - a weight: a named array of a layer, kept in the layout of the kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cdl import _budget, _core

Array = np.ndarray[Any, np.dtype[Any]]


class Variable:
    """A weight of ``shape``; reading gives a fresh float32 array, ``assign`` writes it.

    Args:
        shape: its shape, without a batch axis.
        initializer: called with the shape, gives the first values; None for zeros.
        name: last part of ``path``.
        trainable: whether training changes it.
        matrix: whether it is the (k, n) factor of a matrix product, which has a layout of its own.
        regularizer: what the layer was given; read when the model is lowered.
        constraint: likewise.
    """

    __slots__ = (
        "constraint",
        "dtype",
        "name",
        "path",
        "regularizer",
        "shape",
        "storage",
        "trainable",
    )

    def __init__(
        self,
        shape: Sequence[int],
        initializer: Callable[[tuple[int, ...]], Any] | None = None,
        *,
        name: str = "variable",
        trainable: bool = True,
        matrix: bool = False,
        regularizer: Any = None,
        constraint: Any = None,
    ) -> None:
        self.shape: tuple[int, ...] = tuple(int(n) for n in shape)
        self.dtype = "float32"
        self.name = name
        self.path = name
        self.trainable = trainable
        self.regularizer = regularizer
        self.constraint = constraint
        _budget.spend(name, self.shape)
        self.storage = _core.Parameter(self.shape, matrix)
        if initializer is not None:
            self.assign(initializer(self.shape))

    def numpy(self) -> Array:
        """A copy of the values, float32, in C order."""
        return self.storage.get()

    @property
    def value(self) -> Array:
        """As ``numpy()``."""
        return self.storage.get()

    def assign(self, value: Any) -> None:
        """Sets all values.

        Raises:
            ValueError: if ``value`` has another shape.
        """
        array = np.asarray(value, dtype=np.float32)
        if array.shape != self.shape:
            raise ValueError(
                f"{self.path}: expected an array of shape {self.shape}, got {array.shape}"
            )
        self.storage.set(array)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        array = self.storage.get()
        return array if dtype is None else array.astype(dtype)

    def __repr__(self) -> str:
        return f"<Variable path={self.path}, shape={self.shape}, dtype={self.dtype}>"
