"""Variable, with Keras's arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cdl import constraints as all_constraints
from cdl import initializers, regularizers
from cdl._common.dtypes import FLOATS, MOST_EXACT, astype, narrowed, standardize_dtype
from cdl._common.errors import cause
from cdl._common.naming import scoped, unique
from cdl._common.validation import expected, flag, not_yet, one_of
from cdl._tracing import variable
from cdl._tracing.integer_variable import WholeNumbers
from cdl._variables.state import State


class _AnyVariable(type):
    """Metaclass that makes `isinstance(layer.kernel, cdl.Variable)` true."""

    def __instancecheck__(cls, thing: Any) -> bool:
        return isinstance(thing, (variable.Variable, State))


class Variable(metaclass=_AnyVariable):
    """Named array of fixed shape that can be assigned, and is used as an array in formulas.

    One of float32, bfloat16 or float16 can be a weight: the core trains it, in float32, and rounds
    what is read. One of integers, bools or float64 counts or remembers: in a layer's attributes
    it is one of the weights that training leaves alone, and of float64 it needs `trainable=False`.

    Args:
        initializer: the values, as an array or a number; or an initializer or its name.
        shape: needed with an initializer.
        dtype: None is the dtype of the values, float32 for Python's floats.
        trainable: whether training may change it.
        autocast: True: a layer that computes in another float dtype reads it in that one.
        aggregation: how it would be brought together from several processes; there is one.
        synchronization: likewise.
        name: without '/'; None makes one.
        layout: None, since there is one device.
        kwargs: `regularizer` and `constraint`.

    Raises:
        ValueError: a wrong argument, or an initializer without a shape.
    """

    def __new__(
        cls,
        initializer: Any,
        shape: Sequence[int] | None = None,
        dtype: Any = None,
        trainable: bool = True,
        autocast: bool = True,
        aggregation: str | None = "none",
        synchronization: str | None = "auto",
        name: str | None = None,
        layout: Any = None,
        *,
        regularizer: Any = None,
        constraint: Any = None,
    ) -> Any:
        """Create the variable, float or integer."""
        modes = (None, "none", "mean", "sum", "only_first_replica")
        one_of("Variable", "aggregation", aggregation, modes)
        modes = (None, "none", "on_read", "on_write", "auto")
        one_of("Variable", "synchronization", synchronization, modes)
        not_yet("Variable", autocast=(autocast, True), layout=(layout, None))
        name = unique("variable") if name is None else name
        if not isinstance(name, str) or "/" in name:
            raise expected("Variable", "name", "a string without '/'", name)
        values = _values(initializer, shape, dtype)
        trainable = flag("Variable", "trainable", trainable)
        if values.dtype.name not in FLOATS:
            never = "None for one that is not of float32, bfloat16 or float16"
            for argument, given in (("regularizer", regularizer), ("constraint", constraint)):
                if given is not None:
                    raise expected("Variable", argument, never, given)
        made: Any
        if values.dtype.kind in "biu" and (np.abs(values.astype(float)) <= MOST_EXACT).all():
            made = WholeNumbers(values.shape, lambda _: values, name=name, dtype=values.dtype.name)
        elif values.dtype.name not in FLOATS:
            made = State(values, dtype=values.dtype, name=name)
            made.trainable = trainable
        else:
            made = variable.Variable(
                values.shape,
                lambda _: values,
                name=name,
                dtype=values.dtype.name,
                trainable=trainable,
                regularizer=regularizers.get(regularizer),
                constraint=all_constraints.get(constraint),
            )
        made.path = scoped(name)
        return made


def _values(initializer: Any, shape: Sequence[int] | None, dtype: Any) -> np.ndarray[Any, Any]:
    """Initial values in the dtype of the variable."""
    if isinstance(initializer, str) or callable(initializer):
        if shape is None:
            raise expected("Variable", "shape", "given beside an initializer", None)
        first = initializers.get(initializer)
        assert first is not None
        values = first(tuple(shape), dtype=standardize_dtype(dtype))
        return astype(values, standardize_dtype(dtype))
    given = np.asarray(initializer)
    if given.dtype.kind not in "biuf" and given.dtype.name != "bfloat16":
        raise expected("Variable", "initializer", "numbers or an initializer", initializer)
    if shape is not None and tuple(shape) != given.shape:
        raise expected("Variable", "shape", f"that of the values, {given.shape}", tuple(shape))
    if dtype is not None:
        return astype(given, standardize_dtype(dtype))
    # Python's numbers, and NumPy's widest ones, which nobody has asked for
    try:
        return narrowed(given) if given.dtype.name in ("float64", "int64") else given
    except OverflowError as error:
        raise OverflowError(f"Variable: initializer: {error}; dtype='int64' keeps them") from cause(
            error
        )
