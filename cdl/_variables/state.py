"""Named array that is no weight, such as a learning rate, a counter or a metric's sum.

It behaves as a Keras variable and as the NumPy array in it, and the compiled core knows nothing
of it.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from cdl._common import html
from cdl._common.dtypes import numpy_dtype
from cdl._variables.array_like import Operators
from cdl._variables.stepping import recorded, shown, touched


class _Scopes(threading.local):
    """Scopes that are told of what this thread assigns: see `cdl.StatelessScope`."""

    open: tuple[Any, ...] = ()


scopes = _Scopes()


_READ = "the value of a variable is read"


class State(Operators):
    """An array with a name that can be assigned and computed with.

    Args:
        value: the initial value; its shape stays.
        dtype: of what is kept.
        name: its own.
        owner: the name of the object that keeps it, the first part of `path`.
    """

    def __init__(
        self, value: Any = 0, *, dtype: DTypeLike = "float32", name: str, owner: str = ""
    ) -> None:
        self._array = np.array(value, numpy_dtype(dtype) if isinstance(dtype, str) else dtype)
        self.name = name
        self.path = f"{owner}/{name}" if owner else name
        self.trainable = False

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore from a pickle; arrays in read-only memory, such as Ray's, are copied."""
        vars(self).update(state)
        if not self._array.flags.writeable:
            self._array = self._array.copy()

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that every assigned value must have."""
        return self._array.shape

    @property
    def dtype(self) -> str:
        """The name of the dtype."""
        return self._array.dtype.name

    @property
    @shown
    def value(self) -> NDArray[Any]:
        """Copy of the value."""
        return self._array.copy()

    @shown
    def numpy(self) -> NDArray[Any]:
        """Copy of the value, as `value`."""
        return self._array.copy()

    @shown
    def assign(self, value: Any) -> NDArray[Any]:
        """Keep `value` from now on.

        Raises:
            ValueError: it has another shape, or is no number.
        """
        if value is None or isinstance(value, (str, bytes)):
            raise ValueError(f"{self.path}: value must be a number or an array, got {value!r}")
        array = np.asarray(value, self._array.dtype)
        if array.shape != self._array.shape:
            raise ValueError(
                f"{self.path}: value must have shape {self._array.shape}, got {array.shape}"
            )
        self._check(array)
        for scope in scopes.open:
            scope.note(self)
        self._array[...] = array
        return self._array.copy()

    def _check(self, value: NDArray[Any]) -> None:
        """Check a new value; an error leaves the value as it is."""

    @shown
    def assign_add(self, value: Any) -> NDArray[Any]:
        """Add a number or array to the value."""
        return self.assign(self._array + np.asarray(value))

    @shown
    def assign_sub(self, value: Any) -> NDArray[Any]:
        """Subtract a number or array from the value."""
        return self.assign(self._array - np.asarray(value))

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return recorded(super().__array_ufunc__, ufunc, method, *inputs, **kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return recorded(super().__array_function__, function, types, args, kwargs)

    def __float__(self) -> float:
        touched(_READ)
        return float(self._array)

    def __int__(self) -> int:
        touched(_READ)
        return int(self._array)

    def __index__(self) -> int:
        touched(_READ)
        return self._array.__index__()

    def __bool__(self) -> bool:
        touched(_READ)
        return bool(self._array)

    _repr_html_ = html.of_weight

    def __repr__(self) -> str:
        return (
            f"<Variable path={self.path}, shape={self.shape}, dtype={self.dtype}, "
            f"value={self._array}>"
        )
