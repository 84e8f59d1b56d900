"""One-hot encoding of class numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl._common.errors import BothError, hinted
from cdl._tracing.keras_tensor import KerasTensor
from cdl._tracing.symbolic import operator_of


class LabelError(BothError, ValueError, IndexError):
    """Class number out of range: bad input (ValueError), an IndexError in Keras."""


@hinted
def to_categorical(x: Any, num_classes: int | None = None) -> Any:
    """One-hot encoding of integer class labels.

    Args:
        x: class numbers from 0, of any shape; a last axis of length 1 is dropped.
        num_classes: length of a row; one more than the largest number unless given.

    Returns:
        Float64 array of shape `(*x.shape, num_classes)`; of a symbolic tensor a symbolic one.

    Raises:
        ValueError: a negative or too large class number, NaN, or nothing to find the number of
            classes from.
        TypeError: `num_classes` is no int.
    """
    if num_classes is not None and not isinstance(num_classes, (int, np.integer)):
        raise TypeError(f"to_categorical: num_classes must be an int or None, got {num_classes!r}")
    if num_classes is not None and num_classes < 0:
        raise ValueError(f"to_categorical: num_classes must be positive, got {num_classes!r}")
    if isinstance(x, KerasTensor) and num_classes:
        lines = operator_of("squeeze")(x, -1) if len(x.shape) > 1 and x.shape[-1] == 1 else x
        return operator_of("one_hot")(lines, num_classes)
    classes = _class_numbers(x)
    if not num_classes:
        if classes.size == 0:
            raise ValueError("to_categorical: x is empty, so num_classes must be given")
        num_classes = int(classes.max()) + 1

    shape = classes.shape
    if len(shape) > 1 and shape[-1] == 1:
        shape = shape[:-1]
    flat = classes.reshape(-1)
    wrong = np.flatnonzero((flat < 0) | (flat >= num_classes))
    if wrong.size:
        raise LabelError(
            f"to_categorical: x must be class numbers from 0 to {num_classes - 1}, "
            f"got {flat[wrong[0]]} at position {wrong[0]}"
        )
    rows = np.zeros((flat.size, num_classes))
    rows[np.arange(flat.size), flat] = 1
    return rows.reshape(*shape, num_classes)


def _class_numbers(x: Any) -> NDArray[np.int64]:
    array = np.asarray(x)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError("to_categorical: x must be class numbers, got NaN or infinity")
    if array.dtype.kind == "c":
        raise TypeError("to_categorical: x must be class numbers, got complex numbers")
    try:
        return array.astype(np.int64)
    except (TypeError, ValueError) as error:
        raise type(error)(f"to_categorical: x must be class numbers, got {x!r}: {error}") from None
