"""Losses of distributions: KL divergence, focal and generalized crossentropies."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdl._common.shared_arguments import with_defaults
from cdl._common.validation import flag, number
from cdl._tracing import graph
from cdl._tracing.graph import operator_of
from cdl._tracing.variable import in_traced_code
from cdl.config import epsilon
from cdl.losses.core_loss import CompiledLoss
from cdl.losses.crossentropy import Smoothed
from cdl.losses.loss import Loss, function_of, registry


@registry.add()
@with_defaults(name="kl_divergence")
class KLDivergence(CompiledLoss):
    """Kullback-Leibler divergence, ``sum(y_true log(y_true / y_pred))``, clipped to [1e-7, 1]."""

    row = "kl_divergence"


@function_of(KLDivergence, "kld", "KLD")
def kl_divergence(y_true: ArrayLike, y_pred: ArrayLike) -> NDArray[np.float32]:
    """Kullback-Leibler divergence, ``sum(y_true log(y_true / y_pred))``, clipped to [1e-7, 1]."""
    return KLDivergence().call(y_true, y_pred)


@registry.add()
class CategoricalGeneralizedCrossEntropy(CompiledLoss):
    """Generalized crossentropy for noisy labels y, ``(1 - p[y]^q) / q`` (Zhang, Sabuncu, 2018).

    Args:
        q: between crossentropy (towards 0) and absolute error (1); above 0 and below 1.
    """

    row = "categorical_generalized_crossentropy"

    def __init__(
        self,
        q: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_generalized_cross_entropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.q = number(type(self).__name__, "q", q, above=0.0, below=1.0)

    def call(self, y_true: ArrayLike, y_pred: ArrayLike) -> NDArray[np.float32] | Any:
        """The loss of each sample; see the class."""
        y, p = in_traced_code((y_true, y_pred))
        if not graph.tensors_in((y, p)):
            return super().call(y, p)
        if np.ndim(y) == np.ndim(p):
            y = np.squeeze(y, -1)
        hot = operator_of("one_hot")(operator_of("cast")(y, "int32"), np.shape(p)[-1])
        found = np.sum(hot * p, -1)
        is_there = np.greater(found, 0.0)  # of probability 0 the gradient is 0
        power = np.where(is_there, np.where(is_there, found, 1.0) ** self.q, 0.0)
        return (1.0 - power) / self.q


@function_of(CategoricalGeneralizedCrossEntropy, identifies=False)
def categorical_generalized_cross_entropy(
    y_true: ArrayLike, y_pred: ArrayLike, q: float
) -> NDArray[np.float32]:
    """Generalized crossentropy of integer class labels y, ``(1 - p[y]^q) / q``."""
    return CategoricalGeneralizedCrossEntropy(q).call(y_true, y_pred)


class _Focal(Smoothed):
    """Arguments shared by both focal crossentropies.

    Args:
        gamma: how much easy samples are played down.
    """

    def __init__(self, alpha: float, gamma: float, *shared: Any) -> None:
        super().__init__(*shared)
        owner = type(self).__name__
        self.alpha: Any = number(owner, "alpha", alpha)
        self.gamma = number(owner, "gamma", gamma)


@registry.add()
class BinaryFocalCrossentropy(_Focal):
    """Binary focal crossentropy: factor ``(1 - p_t)^gamma``, p_t the label's probability.

    Args:
        apply_class_balancing: whether label 1 weighs alpha and label 0 ``1 - alpha``.
        alpha: weight of label 1.
        from_logits: whether predictions are raw scores; p is then their sigmoid.
        label_smoothing: s in ``y (1 - s) + s / 2``, from 0 to 1.
        axis: the axis that the mean is over.
    """

    _on_probabilities = "binary_focal_crossentropy"
    _on_scores = "sigmoid_binary_focal_crossentropy"

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "binary_focal_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(alpha, gamma, from_logits, label_smoothing, axis, reduction, name, dtype)
        owner = type(self).__name__
        self.apply_class_balancing = flag(owner, "apply_class_balancing", apply_class_balancing)

    def parameters(self) -> dict[str, float]:
        """The parameters of the row."""
        names = ("alpha", "gamma", "label_smoothing")
        balancing = float(self.apply_class_balancing)
        return {**{name: getattr(self, name) for name in names}, "balancing": balancing}


@function_of(BinaryFocalCrossentropy)
def binary_focal_crossentropy(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> NDArray[np.float32]:
    """Binary focal crossentropy: times ``(1 - p_t)^gamma``, the mean over the last axis."""
    loss = BinaryFocalCrossentropy(
        apply_class_balancing, alpha, gamma, from_logits, label_smoothing, axis
    )
    return loss.call(y_true, y_pred)


@registry.add()
class CategoricalFocalCrossentropy(_Focal):
    """Focal crossentropy, ``-sum(alpha (1 - p)^gamma y log p)``, last axis (Lin et al., 2017).

    Args:
        alpha: weight of all classes, or a list with a weight for each.
        from_logits: whether predictions are raw scores; p is then their softmax.
        label_smoothing: s in ``y (1 - s) + s / classes``, from 0 to 1.
        axis: the axis of the classes.
    """

    _on_probabilities = "categorical_focal_crossentropy"
    _on_scores = "softmax_categorical_focal_crossentropy"

    def __init__(
        self,
        alpha: Any = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_focal_crossentropy",
        dtype: Any = None,
    ) -> None:
        several = isinstance(alpha, (list, tuple, np.ndarray)) and np.ndim(alpha) > 0
        one = 0.25 if several else alpha
        super().__init__(one, gamma, from_logits, label_smoothing, axis, reduction, name, dtype)
        if several:
            owner = "CategoricalFocalCrossentropy"
            self.alpha = [number(owner, "alpha", each) for each in alpha]
            self.by_formula = True

    def __call__(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Any:
        """The loss of a batch, as in `Loss`."""
        if self.by_formula:
            return Loss.__call__(self, y_true, y_pred, sample_weight)
        return super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true: ArrayLike, y_pred: ArrayLike) -> Any:
        """The loss of each sample; with a weight for each class by the formula as it stands."""
        if not self.by_formula:
            return super().call(y_true, y_pred)
        power, clip, log, total = map(operator_of, ("power", "clip", "log", "sum"))
        y, p = (operator_of("cast")(each, "float32") for each in (y_true, y_pred))
        axis = self.axis
        if self.label_smoothing:
            y = y * (1.0 - self.label_smoothing) + self.label_smoothing / p.shape[-1]
        if self.from_logits:
            p = operator_of("softmax")(p, axis=axis)
        p = clip(p / total(p, axis=axis, keepdims=True), epsilon(), 1.0 - epsilon())
        weights = power(1.0 - p, self.gamma) * np.asarray(self.alpha, np.float32)
        return total(weights * -y * log(p), axis=axis)


@function_of(CategoricalFocalCrossentropy)
def categorical_focal_crossentropy(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> NDArray[np.float32]:
    """Focal crossentropy, ``-sum(alpha (1 - p)^gamma y log p)`` over the last axis."""
    loss = CategoricalFocalCrossentropy(alpha, gamma, from_logits, label_smoothing, axis)
    values: NDArray[np.float32] = loss.call(y_true, y_pred)
    return values
