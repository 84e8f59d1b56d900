"""Objects that are computed with as the array that they hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from cdl import tree
from cdl._common.errors import cause
from cdl._common.validation import unfit_matrices
from cdl._variables.stepping import recorded

Array = np.ndarray[Any, np.dtype[Any]]


class Operators(NDArrayOperatorsMixin):
    """Arithmetic, comparison, indexing and NumPy's functions, all of which give plain arrays.

    Since ``==`` is elementwise, as of arrays, objects are told apart by `is`.
    """

    __slots__ = ()
    __hash__ = object.__hash__  # by identity: such objects are keys of dictionaries

    def numpy(self) -> Array:
        """A copy of the values."""
        raise NotImplementedError

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        array = self.numpy()
        return array if dtype is None else array.astype(dtype, copy=False)

    def __array_ufunc__(
        self, ufunc: Callable[..., Any], method: str, *inputs: Any, **kwargs: Any
    ) -> Any:
        arrays = [_plain(each) for each in inputs]
        try:
            return getattr(ufunc, method)(*arrays, **kwargs)
        except ValueError as error:
            if "core dimension" not in str(error):  # NumPy's words for the products of matrices
                raise
            raise unfit_matrices("matmul", map(np.shape, arrays)) from cause(error)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return function(*tree.map_structure(_plain, args), **tree.map_structure(_plain, kwargs))

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.numpy().ndim

    def __getitem__(self, key: Any) -> Any:
        return recorded(_item, self, key)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.numpy())

    def __len__(self) -> int:
        return len(self.numpy())

    def __float__(self) -> float:
        return float(self._only("float"))

    def __int__(self) -> int:
        return int(self._only("int"))

    def __round__(self, digits: int = 0) -> Any:
        return np.round(self.numpy(), digits)

    def _only(self, kind: str) -> Any:
        """The one number that there is."""
        array = self.numpy()
        if array.size != 1:
            raise TypeError(f"{kind}() needs a single number, got shape {array.shape}")
        return array.reshape(())[()]

    def __format__(self, spec: str) -> str:
        return format(self.numpy()[()], spec) if spec else repr(self)


def _item(variable: Any, key: Any) -> Any:
    return variable.numpy()[key]


def _plain(thing: Any) -> Any:
    return thing.numpy() if isinstance(thing, Operators) else thing
