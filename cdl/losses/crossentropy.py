"""Crossentropies of probabilities or logits.

Probabilities are clipped to [1e-7, 1 - 1e-7]; those of classes are first divided by their sum.
`from_logits=True` takes raw scores, where no logarithm of a small number is taken.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdl._common.shared_arguments import with_defaults
from cdl._common.validation import class_number, flag, number, whole
from cdl.losses.core_loss import CompiledLoss
from cdl.losses.loss import as_array, function_of, registry


class Smoothed(CompiledLoss):
    """Base of crossentropies of smoothed targets, from probabilities or raw scores."""

    _on_probabilities: str
    _on_scores: str

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        owner = type(self).__name__
        self.from_logits = flag(owner, "from_logits", from_logits)
        self.label_smoothing = number(owner, "label_smoothing", label_smoothing, 0.0, 1.0)
        self.axis = whole(owner, "axis", axis)
        self.row = self._on_scores if self.from_logits else self._on_probabilities


@registry.add()
@with_defaults(name="binary_crossentropy")
class BinaryCrossentropy(Smoothed):
    """Binary crossentropy, ``-mean(y log p + (1 - y) log(1 - p))`` over the last axis.

    Args:
        from_logits: whether predictions are raw scores; p is then their sigmoid.
        label_smoothing: s in ``y (1 - s) + s / 2``, from 0 to 1.
        axis: the axis that the mean is over.

    Examples:
        >>> loss = cdl.losses.BinaryCrossentropy(from_logits=True)
        >>> float(loss(np.array([[1.0]]), np.array([[0.0]]))) == float(np.log(2, dtype="float32"))
        True
    """

    _on_probabilities = "binary_crossentropy"
    _on_scores = "sigmoid_binary_crossentropy"


@function_of(BinaryCrossentropy, "bce", "BCE")
def binary_crossentropy(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> NDArray[np.float32]:
    """Binary crossentropy, ``-mean(y log p + (1 - y) log(1 - p))`` over the last axis."""
    return BinaryCrossentropy(from_logits, label_smoothing, axis).call(y_true, y_pred)


@registry.add()
@with_defaults(name="categorical_crossentropy")
class CategoricalCrossentropy(Smoothed):
    """Crossentropy with one-hot targets or distributions, ``-sum(y log p)`` over the last axis.

    Args:
        from_logits: whether predictions are raw scores; p is then their softmax.
        label_smoothing: s in ``y (1 - s) + s / classes``, from 0 to 1.
        axis: the axis of the classes.
    """

    _on_probabilities = "categorical_crossentropy"
    _on_scores = "softmax_categorical_crossentropy"


@function_of(CategoricalCrossentropy)
def categorical_crossentropy(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> NDArray[np.float32]:
    """Crossentropy with one-hot targets or distributions, ``-sum(y log p)`` over the last axis."""
    return CategoricalCrossentropy(from_logits, label_smoothing, axis).call(y_true, y_pred)


@registry.add()
class SparseCategoricalCrossentropy(CompiledLoss):
    """Crossentropy with integer class labels y, ``-log p[y]`` over the last axis.

    Args:
        from_logits: whether predictions are raw scores; p is then their softmax.
        ignore_class: a class number whose samples have loss 0 and do not count, such as -1.
        axis: the axis of the classes.

    Examples:
        >>> loss = cdl.losses.SparseCategoricalCrossentropy()
        >>> print(f"{loss(np.array([2]), np.array([[0.25, 0.25, 0.5]])):.4f}")
        0.6931
    """

    _not_in_config = ("axis",)

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        axis: int = -1,
        name: str | None = "sparse_categorical_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        owner = type(self).__name__
        self.from_logits = flag(owner, "from_logits", from_logits)
        self.ignore_class = ignore_class
        if ignore_class is not None:
            self.ignore_class = class_number(owner, "ignore_class", ignore_class)
        self.axis = whole(owner, "axis", axis)
        self.row = f"{'softmax_' if self.from_logits else ''}sparse_categorical_crossentropy"

    def __call__(self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: Any = None) -> Any:
        """The loss of a batch; samples of `ignore_class` neither add to it nor count."""
        if self.ignore_class is None:
            return super().__call__(y_true, y_pred, sample_weight)
        values = self.call(y_true, y_pred)
        counted = (~self._ignored(y_true)).reshape(values.shape)
        return self.in_dtype(self.reduce(values, self.masked(values, counted, sample_weight)))

    def call(self, y_true: ArrayLike, y_pred: ArrayLike) -> NDArray[np.float32]:
        """The loss of each sample; 0 for those of `ignore_class`."""
        if self.ignore_class is None:
            return super().call(y_true, y_pred)
        ignored = self._ignored(y_true)
        values = super().call(np.where(ignored, 0, y_true), y_pred)
        values[ignored.reshape(values.shape)] = 0
        return values

    def _ignored(self, y_true: ArrayLike) -> NDArray[np.bool_]:
        y = as_array(type(self).__name__, "y_true", y_true)
        return np.asarray(y == self.ignore_class)


@function_of(SparseCategoricalCrossentropy)
def sparse_categorical_crossentropy(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    from_logits: bool = False,
    ignore_class: int | None = None,
    axis: int = -1,
) -> NDArray[np.float32]:
    """Crossentropy with integer class labels y, ``-log p[y]`` over the last axis.

    Args:
        y_true: class numbers, of the predictions' shape without the last axis.
    """
    loss = SparseCategoricalCrossentropy(from_logits, ignore_class, axis=axis)
    return loss.call(y_true, y_pred)
