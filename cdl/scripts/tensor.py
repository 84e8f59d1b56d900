"""`Tensor`: a NumPy array with `numpy()` and the other methods of TensorFlow's tensors."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from cdl._variables.stepping import ARRAYS, StepArray


class TensorShape(tuple[int | None, ...]):
    """`tf.TensorShape`: a tuple of sizes with TensorFlow's methods.

    Args:
        sizes: sizes of the axes; None for an unknown one.
    """

    __slots__ = ()

    def __new__(cls, sizes: Any) -> TensorShape:
        """Create a shape of several axes, or of one from an int."""
        given = [sizes] if isinstance(sizes, (int, np.integer)) else sizes
        return super().__new__(cls, (None if n is None else int(n) for n in given))

    @property
    def rank(self) -> int:
        """The number of axes."""
        return len(self)

    @property
    def dims(self) -> list[int | None]:
        """The sizes as a list."""
        return list(self)

    ndims = rank

    def as_list(self) -> list[int | None]:
        """The sizes as a list."""
        return list(self)

    def num_elements(self) -> int | None:
        """The number of elements; None if a size is unknown."""
        return None if None in self else int(np.prod(self, dtype=np.int64))  # type: ignore[arg-type]

    def is_fully_defined(self) -> bool:
        """Whether all sizes are known."""
        return None not in self

    def is_compatible_with(self, other: Any) -> bool:
        """Whether one tensor can have both shapes, with unknown sizes as wildcards."""
        other = TensorShape(other)
        pairs = zip(self, other, strict=False)
        return len(self) == len(other) and all(None in pair or len({*pair}) == 1 for pair in pairs)

    def concatenate(self, other: Any) -> TensorShape:
        """The shape with the axes of another one appended."""
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
    """The str of a text tensor, with `decode` since TensorFlow has bytes there."""

    __slots__ = ()

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the text, which is str already."""
        return str(self)


class Tensor(np.ndarray[Any, np.dtype[Any]]):
    """A NumPy array with the methods of `tf.Tensor` that scripts call most.

    Attributes:
        is_immutable: True, since `x += y` gives another tensor.
        is_of_shapes: whether its numbers depend on nothing but the shapes of others.
    """

    is_immutable = True
    is_of_shapes = False

    def numpy(self) -> Any:
        """The values as a plain array, or as a scalar."""
        found: Any = self.view(np.ndarray)[()]
        return Text(found) if isinstance(found, str) else found

    @property  # type: ignore[misc]
    def shape(self) -> TensorShape:
        """The shape as a `TensorShape`."""
        return TensorShape(super().shape)

    def get_shape(self) -> TensorShape:
        """The shape as a `TensorShape`."""
        return self.shape

    def set_shape(self, shape: Any) -> None:
        """Check that a shape matches that of the array.

        Raises:
            ValueError: an incompatible shape.
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


class Sizes(Tensor):
    """Tensor of `tf.shape`, or computed from such tensors and Python numbers alone."""

    is_of_shapes = True

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if any(isinstance(each, StepArray) for each in inputs):
            return NotImplemented
        given = [each.view(Tensor) if isinstance(each, Sizes) else each for each in inputs]
        found = getattr(ufunc, method)(*given, **kwargs)
        is_known = all(isinstance(each, (Sizes, int, float)) for each in inputs)
        return found.view(Sizes) if is_known and isinstance(found, Tensor) else found

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(key).view(Sizes)

    def prod(self, *args: Any, **kwargs: Any) -> Any:
        """The product as a number of NumPy, which repeats lists, as TensorFlow's do."""
        return np.asarray(self).prod(*args, **kwargs)


def _operator(name: str) -> Any:
    def in_place(self: Any, other: Any) -> Any:
        return getattr(operator, name)(self, other)

    return in_place


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul"):
    setattr(Tensor, f"__i{_name}__", _operator(_name))
for _name in ("and_", "or_", "xor"):
    setattr(Tensor, f"__i{_name.strip('_')}__", _operator(_name))
ARRAYS.append(Tensor)


def tensors(result: Any) -> Any:
    """Convert the arrays and NumPy scalars of a nested result to tensors."""
    if isinstance(result, StepArray):
        made = tensors(result.array)
        return result if made is result.array else result.seen_as(made)
    if isinstance(result, (np.ndarray, np.generic)) and not isinstance(result, Tensor):
        return np.asarray(result).view(Tensor)
    if type(result) in (list, tuple):
        return type(result)(map(tensors, result))
    if type(result) is dict:
        return {name: tensors(value) for name, value in result.items()}
    return result
