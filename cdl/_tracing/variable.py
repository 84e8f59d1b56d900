"""A weight: a named array of a layer, kept in the layout of the kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cdl import _core, tree
from cdl._common.errors import Listed
from cdl._configs import allocation_limit
from cdl._tracing import graph
from cdl._tracing.graph import KerasTensor, current_scope
from cdl._tracing.numpy_dispatch import function_of_symbols, ufunc_of_symbols
from cdl._tracing.symbolic import operator_of, symbolic_error
from cdl._variables.array_like import Operators

Array = np.ndarray[Any, np.dtype[Any]]


class Variable(Operators, Listed):
    """A weight of ``shape``; reading gives a fresh float32 array, ``assign`` writes it.

    It can be computed with as the array: ``w + 1``, ``w[0]``, ``w > 0``, ``np.mean(w)``. Within
    code that is traced, such as the `call` of a layer, it is symbolic, as what it will be.

    Args:
        shape: its shape, without a batch axis.
        initializer: called with the shape, gives the initial values; None for zeros.
        name: last part of ``path``.
        trainable: whether training changes it.
        matrix: whether it is the (k, n) factor of a matrix product, which has a layout of its own.
        regularizer: what the layer was given; read when the model is lowered.
        constraint: likewise.
    """

    _inner: tuple[str, ...] = ("storage",)
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
        allocation_limit.spend(name, self.shape)
        self.storage = _core.Parameter(self.shape, matrix)
        if initializer is not None:
            self.assign(initializer(self.shape))

    def numpy(self) -> Array:
        """A copy of the values, float32, in C order."""
        return self.storage.get()

    @property
    def value(self) -> Array:
        """As ``numpy()``; symbolic within code that is traced."""
        return self.storage.get() if current_scope() is None else in_traced_code(self)

    def assign(self, value: Any) -> Array | Any:
        """Sets all values, and returns them; a symbolic value is set in each step.

        Raises:
            ValueError: if ``value`` has another shape.
        """
        if isinstance(value, KerasTensor):
            return graph.assign(self, value)
        array = np.asarray(value, dtype=np.float32)
        if array.shape != self.shape:
            raise ValueError(
                f"{self.path}: the value must have shape {self.shape}, got {array.shape}"
            )
        self.storage.set(array)
        return array

    def assign_add(self, value: Any) -> Array:
        """Adds to all values, and returns them."""
        if current_scope() is not None:
            return self.assign(self + value)
        return self.assign(self.numpy() + np.asarray(value))

    def assign_sub(self, value: Any) -> Array:
        """Subtracts from all values, and returns them."""
        if current_scope() is not None:
            return self.assign(self - value)
        return self.assign(self.numpy() - np.asarray(value))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if current_scope() is not None:
            raise symbolic_error(
                f"a conversion to an array of the weight {self.path}, which is being traced",
                "use functions of NumPy or cdl.ops on it, or take numpy() of what never changes",
            )
        return super().__array__(dtype, copy)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if current_scope() is None and not any(isinstance(each, KerasTensor) for each in inputs):
            return super().__array_ufunc__(ufunc, method, *inputs, **kwargs)
        return ufunc_of_symbols(ufunc, method, inputs, kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if current_scope() is not None:
            return function_of_symbols(function, args, kwargs)
        return super().__array_function__(function, types, args, kwargs)

    def __getitem__(self, key: Any) -> Any:
        return (
            super().__getitem__(key)
            if current_scope() is None
            else operator_of("getitem")(self, key)
        )

    def _only(self, kind: str) -> Any:
        if current_scope() is not None:
            raise symbolic_error(f"{kind}() of a weight that is being traced", "go on with cdl.ops")
        return super()._only(kind)

    def __bool__(self) -> bool:
        raise TypeError(f"{self.path}: a variable cannot be used as True or False")

    def __repr__(self) -> str:
        values = np.array2string(self.numpy(), separator=", ", threshold=20)
        head = f"<Variable path={self.path}, shape={self.shape}, dtype={self.dtype}"
        return f"{head}, value={values}>"


def in_traced_code(structure: Any) -> Any:
    """A structure with its weights as symbolic values while code is being traced."""
    if current_scope() is None:
        return structure
    if not any(isinstance(leaf, Variable) for leaf in tree.flatten(structure)):
        return structure
    convert = operator_of("convert_to_tensor")
    return tree.map_structure(
        lambda leaf: convert(leaf) if isinstance(leaf, Variable) else leaf, structure
    )
