"""Tensor: an array as scripts for TensorFlow expect it, with `numpy()`."""

from __future__ import annotations

from typing import Any

import numpy as np


class TensorShape(tuple[int | None, ...]):
    """A shape as TensorFlow has it: a tuple that can say more of itself.

    Args:
        sizes: of the axes, None for those that are not known.
    """

    __slots__ = ()

    def __new__(cls, sizes: Any) -> TensorShape:
        """The shape of given sizes, or of one axis."""
        given = [sizes] if isinstance(sizes, (int, np.integer)) else sizes
        return super().__new__(cls, (None if n is None else int(n) for n in given))

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self)

    @property
    def dims(self) -> list[int | None]:
        """The sizes."""
        return list(self)

    ndims = rank

    def as_list(self) -> list[int | None]:
        """The sizes as a list."""
        return list(self)

    def num_elements(self) -> int | None:
        """How many numbers such a tensor has; None if a size is not known."""
        return None if None in self else int(np.prod(self, dtype=np.int64))  # type: ignore[arg-type]

    def is_fully_defined(self) -> bool:
        """Whether all sizes are known."""
        return None not in self

    def is_compatible_with(self, other: Any) -> bool:
        """Whether a tensor could have both shapes."""
        other = TensorShape(other)
        pairs = zip(self, other, strict=False)
        return len(self) == len(other) and all(None in pair or len({*pair}) == 1 for pair in pairs)

    def concatenate(self, other: Any) -> TensorShape:
        """These axes, then the others."""
        return TensorShape((*self, *TensorShape(other)))

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        return TensorShape(found) if isinstance(key, slice) else found

    def __add__(self, other: Any) -> TensorShape:
        return self.concatenate(other)

    def __radd__(self, other: Any) -> TensorShape:
        return TensorShape(other).concatenate(self)

    def __eq__(self, other: object) -> bool:
        return tuple(self) == (tuple(other) if isinstance(other, (list, np.ndarray)) else other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = tuple.__hash__


class Text(str):
    """The text of a tensor, which scripts decode as the bytes that TensorFlow has there."""

    __slots__ = ()

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The text."""
        return str(self)


class Tensor(np.ndarray[Any, np.dtype[Any]]):
    """An array with the methods of TensorFlow's that scripts call most."""

    def numpy(self) -> Any:
        """The array, or the number."""
        found: Any = self.view(np.ndarray)[()]
        return Text(found) if isinstance(found, str) else found

    @property  # type: ignore[misc]
    def shape(self) -> TensorShape:
        """The sizes of the axes."""
        return TensorShape(super().shape)

    def get_shape(self) -> TensorShape:
        """The sizes of the axes."""
        return self.shape

    def set_shape(self, shape: Any) -> None:
        """A check alone: an array has its shape.

        Raises:
            ValueError: it is another one.
        """
        if not self.shape.is_compatible_with(shape):
            raise ValueError(f"set_shape: shape must be one of {self.shape}, got {shape}")

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        return found if isinstance(found, Tensor) else np.asarray(found).view(Tensor)

    def __str__(self) -> str:
        return str(self.view(np.ndarray))

    def __repr__(self) -> str:
        shown = np.array2string(self.view(np.ndarray), separator=", ")
        return f"<tf.Tensor: shape={tuple(self.shape)}, dtype={self.dtype.name}, numpy={shown}>"

    def __round__(self, digits: int = 0) -> Any:
        return np.round(self, digits)

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        return np.asarray(array).view(type(self))


def tensors(result: Any) -> Any:
    """A result whose arrays and numbers have a method `numpy()`."""
    if isinstance(result, (np.ndarray, np.generic)) and not isinstance(result, Tensor):
        return np.asarray(result).view(Tensor)
    if type(result) in (list, tuple):
        return type(result)(map(tensors, result))
    if type(result) is dict:
        return {name: tensors(value) for name, value in result.items()}
    return result
