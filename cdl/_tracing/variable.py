"""Variable: a weight of a layer, kept in the layout of the kernels."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from cdl import _core, tree
from cdl._common import dtypes, html
from cdl._common.errors import Listed
from cdl._configs import allocation_limit
from cdl._tracing import graph
from cdl._tracing.graph import KerasTensor, current_scope
from cdl._tracing.numpy_dispatch import function_of_symbols, ufunc_of_symbols
from cdl._tracing.symbolic import operator_of, symbolic_error
from cdl._variables.array_like import Operators
from cdl._variables.low_array import low, plain
from cdl._variables.program_caches import invalidate_programs
from cdl._variables.state import scopes
from cdl._variables.stepping import recorded, shown

Array = np.ndarray[Any, np.dtype[Any]]
# The `get` of regularizers and that of constraints, entered by these modules: they import this one.
RULES: dict[str, Callable[[Any], Any]] = {}
_local = threading.local()  # its autocast: the dtype that weights are read in; None: their own


@contextmanager
def autocast_to(dtype: str | None) -> Iterator[None]:
    """Context in which weights are read in this dtype; None: each in its own."""
    before = autocast()
    _local.autocast = dtype
    try:
        yield
    finally:
        _local.autocast = before


def autocast() -> str | None:
    """Dtype in which weights are read now; None: each in its own."""
    return getattr(_local, "autocast", None)


def in_calls(array: Any) -> Any:
    """Array of 16 bits as user code computes with it: in `call` by Keras's rules."""
    return array if autocast() is not None else plain(array)


class Variable(Operators, Listed):
    """Weight of ``shape``; reading gives a fresh array of ``dtype``, ``assign`` writes it.

    It can be computed with as the array: ``w + 1``, ``w[0]``, ``w > 0``, ``np.mean(w)``. Within
    code that is traced, such as the `call` of a layer, it is symbolic, as what it will be.

    Args:
        shape: its shape, without a batch axis.
        initializer: called with the shape, gives the initial values; None for zeros.
        trainable: whether training changes it.
        matrix: whether it is the (k, n) factor of a matrix product, which has a layout of its own.
        regularizer: what the layer was given; read when the model is lowered.
        constraint: likewise.
        dtype: a float; numbers of "bfloat16" and "float16" are kept in float32, in which training
            goes on, and rounded where they are read.
        autocast: whether layers read it in the dtype that they compute in.
    """

    _inner: tuple[str, ...] = ("kept_dtype", "storage")
    __slots__ = (
        "_constraint",
        "_regularizer",
        "autocast",
        "kept_dtype",
        "name",
        "path",
        "shape",
        "storage",
        "trainable",
    )

    is_state = True  # whether its value counts between runs of programs

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
        dtype: str = "float32",
        autocast: bool = True,
    ) -> None:
        self.shape: tuple[int, ...] = tuple(map(int, shape))
        self.kept_dtype = dtype
        self.autocast = autocast
        self.name = name
        self.path = name
        self.trainable = trainable
        self._regularizer = regularizer
        self._constraint = constraint
        allocation_limit.spend(name, self.shape)
        self.storage = _core.Parameter(self.shape, matrix)
        if initializer is not None and not allocation_limit.shapes_only():
            self.assign(initializer(self.shape))

    @property
    def regularizer(self) -> Any:
        """Penalty on it, or None; a name may be set, and counts from the next step on."""
        return self._regularizer

    @regularizer.setter
    def regularizer(self, value: Any) -> None:
        self._set_rule("regularizer", value)

    @property
    def constraint(self) -> Any:
        """Constraint after each update, or None; a name may be set, for the next steps."""
        return self._constraint

    @constraint.setter
    def constraint(self, value: Any) -> None:
        self._set_rule("constraint", value)

    @property
    def overwrite_with_gradient(self) -> bool:
        """False: an optimizer updates a weight, and never replaces it by its gradient."""
        return False

    @overwrite_with_gradient.setter
    def overwrite_with_gradient(self, value: bool) -> None:
        if value is not False:
            raise ValueError(
                f"Variable: overwrite_with_gradient must be False, got {value!r}: scales of float8 "
                "alone need it, and there are none; assign the value in a train_step"
            )

    def _set_rule(self, kind: str, value: Any) -> None:
        if isinstance(value, (str, dict)):
            value = RULES[kind](value)
        before = getattr(self, f"_{kind}", None)
        setattr(self, f"_{kind}", value)
        if value is not before:
            invalidate_programs()

    @property
    def dtype(self) -> str:
        """Dtype; within a layer's `call` its compute dtype, if that is another."""
        to = autocast()
        return to if to is not None and self.autocast else self.kept_dtype

    @shown
    def numpy(self) -> Array:
        """Copy of the values, in C order."""
        dtype, array = self.dtype, self.storage.get()
        if dtype == "float32":
            return array
        return dtypes.astype(array, dtype) if autocast() is None else low(array, dtype)

    @property
    @shown
    def value(self) -> Array:
        """Values as ``numpy()``; symbolic within code that is traced."""
        return self.numpy() if current_scope() is None else in_traced_code(self)

    @shown
    def assign(self, value: Any) -> Array | Any:
        """Set all values and return them; a symbolic value is set in each step.

        Raises:
            ValueError: if ``value`` has another shape.
        """
        if isinstance(value, KerasTensor):
            return graph.assign(self, value)
        array = np.asarray(value, dtype=np.float32)
        if self.kept_dtype != "float32":
            array = dtypes.rounded(array, self.kept_dtype)
        if array.shape != self.shape:
            raise ValueError(
                f"{self.path}: the value must have shape {self.shape}, got {array.shape}"
            )
        for scope in scopes.open:
            scope.note(self)
        self.storage.set(array)
        return array

    @shown
    def assign_add(self, value: Any) -> Array:
        """Add to all values and return them."""
        if current_scope() is not None:
            return self.assign(self + value)
        return self.assign(self.storage.get() + np.asarray(value))

    @shown
    def assign_sub(self, value: Any) -> Array:
        """Subtract from all values and return them."""
        if current_scope() is not None:
            return self.assign(self - value)
        return self.assign(self.storage.get() - np.asarray(value))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if current_scope() is not None:
            raise symbolic_error(
                f"a conversion to an array of the weight {self.path}, which is being traced",
                "use functions of NumPy or cdl.ops on it, or take numpy() of what never changes",
            )
        return super().__array__(dtype, copy)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if current_scope() is None and not any(isinstance(each, KerasTensor) for each in inputs):
            return recorded(super().__array_ufunc__, ufunc, method, *inputs, **kwargs)
        return ufunc_of_symbols(ufunc, method, inputs, kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if current_scope() is not None:
            return function_of_symbols(function, args, kwargs)
        if function is np.shape:  # which no update changes
            return self.shape
        return recorded(super().__array_function__, function, types, args, kwargs)

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

    _repr_html_ = html.of_weight

    def __repr__(self) -> str:
        values = np.array2string(self.numpy(), separator=", ", threshold=20)
        head = f"<Variable path={self.path}, shape={self.shape}, dtype={self.dtype}"
        return f"{head}, value={values}>"


def in_traced_code(structure: Any) -> Any:
    """Structure with its weights as symbolic values while code is being traced."""
    if current_scope() is None:
        return structure
    if not any(isinstance(leaf, Variable) for leaf in tree.flatten(structure)):
        return structure
    convert = operator_of("convert_to_tensor")
    return tree.map_structure(
        lambda leaf: convert(leaf) if isinstance(leaf, Variable) else leaf, structure
    )
