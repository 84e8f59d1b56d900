"""Circle loss: a metric-learning loss of embeddings by pairwise similarities.

Every sample's loss reads all the others, so training takes its gradients from here, once a batch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdl._common.validation import flag, number
from cdl._tracing import graph
from cdl._tracing.graph import operator_of
from cdl._tracing.variable import in_traced_code
from cdl.losses.loss import MEANS, Loss, as_array, function_of, registry

Array = NDArray[Any]


class _Pairs(NamedTuple):
    """Log-sum-exps over both kinds of pairs of each sample, and their gradients."""

    log_sums: Array
    gradients: Array


@registry.add()
class Circle(Loss):
    """Circle loss, ``log(1 + sum exp(gamma n_j) sum exp(gamma p_i))`` over a sample's pairs.

    With d the cosine distance ``max(1 - a b, 0)`` of two embeddings, a pair of one class (i) has
    ``p = max(d + m, 0) (d - m)`` and a pair of two classes (j) ``n = max(1 + m - d, 0)
    (1 - m - d)``, for m the margin. Samples without a pair of either kind have loss 0 and do not
    count in a mean (Sun et al., 2020).

    Args:
        gamma: the factor of the exponents.
        margin: m, how far a distance may be from the best one.
        remove_diagonal: whether a sample is no pair with itself.

    Raises:
        ValueError: an argument that is not a number, or not True or False.
    """

    _inner: tuple[str, ...] = ("against",)

    def __init__(
        self,
        gamma: float = 80.0,
        margin: float = 0.4,
        remove_diagonal: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "circle",
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        self.gamma = number("Circle", "gamma", gamma)
        self.margin = number("Circle", "margin", margin)
        self.remove_diagonal = flag("Circle", "remove_diagonal", remove_diagonal)

    def call(self, y_true: ArrayLike, y_pred: ArrayLike) -> Array | Any:
        """The loss of each sample; of class numbers (n,) or (n, 1) and embeddings (n, width)."""
        y_true, y_pred = in_traced_code((y_true, y_pred))
        if graph.tensors_in((y_true, y_pred)):
            return self._symbolic(y_true, y_pred)
        y, p = _checked("y_true", y_true), as_array("Circle", "y_pred", y_pred)
        return self.against(y, p, y, p)

    def _symbolic(self, y: Any, p: Any) -> Any:
        cast, total = operator_of("cast"), operator_of("logsumexp")
        y = np.reshape(cast(y, "int32"), (-1, 1))
        same = np.equal(y, np.transpose(y))
        distance = np.maximum(1.0 - np.matmul(p, np.transpose(p)), 0.0)
        near, short, far, long = self._parts(distance)
        positive = same
        if self.remove_diagonal:
            places = np.cumsum(np.ones_like(y), 0)
            positive = np.logical_and(same, np.not_equal(places, np.transpose(places)))
        # Finite where there is no pair: its exponential is 0, and so is its gradient.
        alike = np.where(positive, self.gamma * near * short, -1e30)
        apart = np.where(same, -1e30, self.gamma * far * long)
        return operator_of("softplus")(total(alike, 1) + total(apart, 1))

    def _parts(self, distance: Any) -> tuple[Any, Any, Any, Any]:
        """Factors of the exponents of pairs of one class, and of pairs of two."""
        m = self.margin
        near, short = np.maximum(distance + m, 0), distance - m
        return near, short, np.maximum(1 + m - distance, 0), 1 - m - distance

    def against(self, y: Array, p: Array, ref_y: Array, ref_p: Array) -> Array:
        """The loss of each sample, whose pairs are those with the given references."""
        same, other = self._pairs(y, p, ref_y, ref_p)
        losses: Array = np.logaddexp(0, same.log_sums + other.log_sums)
        return losses.astype(p.dtype, copy=False)

    def reduce(self, values: ArrayLike, sample_weight: ArrayLike | None = None) -> Any:
        """Reduce the values; a mean is over the samples that have pairs of both kinds."""
        if graph.tensors_in((values,)):
            counts = operator_of("cast")(np.greater(values, 0.0), "float32")
            if self.reduction in MEANS:
                n = np.sum(np.ones_like(counts))
                counts = counts * (n / np.maximum(np.sum(counts), 1.0))
            weight = counts if sample_weight is None else counts * sample_weight
            return super().reduce(values, weight)
        return super().reduce(values, self.masked(values, np.asarray(values) > 0, sample_weight))

    def shares(self, values: Array, sample_weight: ArrayLike) -> Array | None:
        """Factor of each value in the batch's loss; 0 for samples without pairs of both kinds."""
        return super().shares(values, self.masked(values, values > 0, sample_weight))

    def gradients(self, y_true: Array, y_pred: Array, shares: Array) -> Array:
        """The gradient of the sum of `call`'s values, each times its share, by each prediction."""
        y = _checked("y_true", y_true)
        same, other = self._pairs(y, y_pred, y, y_pred)
        sums = same.log_sums + other.log_sums
        outer = np.exp(sums - np.logaddexp(0, sums)) * shares
        by_distance = (same.gradients + other.gradients) * outer[:, None]
        cosine = 1 - y_pred @ y_pred.T
        by_cosine = -by_distance * np.where(cosine == 0, 0.5, cosine > 0)
        gradient: Array = (by_cosine + by_cosine.T) @ y_pred
        return gradient

    def _pairs(self, y: Array, p: Array, ref_y: Array, ref_p: Array) -> tuple[_Pairs, _Pairs]:
        """Masks of the pairs of one class, and of two."""
        if p.ndim != 2 or ref_p.ndim != 2 or len(y) != len(p) or len(ref_y) != len(ref_p):
            raise ValueError(
                f"Circle: y_pred must have shape (n, width) next to n classes, got {p.shape} next "
                f"to {y.shape}"
            )
        distance = np.maximum(1 - p @ ref_p.T, 0)
        same = y[:, None] == ref_y[None, :]
        positive = same.copy()
        if self.remove_diagonal:
            np.fill_diagonal(positive, False)
        near, short, far, long = self._parts(distance)
        gamma = self.gamma
        near_gradient, far_gradient = near + (near > 0) * short, -(far + (far > 0) * long)
        return (
            _pairs_of(positive, gamma * near * short, gamma * near_gradient),
            _pairs_of(~same, gamma * far * long, gamma * far_gradient),
        )


def _pairs_of(mask: Array, exponent: Array, gradient: Array) -> _Pairs:
    """log sum exp over the pairs in each row, and its gradients; -inf and 0 where there is none."""
    masked = np.where(mask, exponent, -np.inf)
    top = masked.max(1, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, 0)
    parts = np.exp(masked - top)
    sums = parts.sum(1, keepdims=True)
    with np.errstate(divide="ignore"):
        log_sums = (np.log(sums) + top)[:, 0]
    return _Pairs(log_sums, parts / np.where(sums == 0, 1, sums) * gradient)


def _checked(name: str, y: ArrayLike) -> NDArray[np.int32]:
    """Class numbers as a vector of int32, cut off as Keras does."""
    classes = as_array("Circle", name, y)
    if classes.ndim == 2 and classes.shape[1] == 1:
        classes = classes[:, 0]
    if classes.ndim != 1:
        raise ValueError(f"Circle: {name} must have shape (n,) or (n, 1), got {classes.shape}")
    return classes.astype(np.int32)


@function_of(Circle)
def circle(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    ref_labels: Any = None,
    ref_embeddings: Any = None,
    remove_diagonal: bool = True,
    gamma: float = 80,
    margin: float = 0.4,
) -> NDArray[Any]:
    """Circle loss of each sample, over pairs in the batch or with given references.

    Args:
        y_true: class numbers, (n,) or (n, 1).
        y_pred: embeddings of length 1, (n, width).
        ref_labels: class numbers of the references; None for `y_true`.
        ref_embeddings: the references, (k, width); None for `y_pred`.
        remove_diagonal: whether sample i is no pair with reference i.

    Returns:
        An array of n losses.

    Raises:
        ValueError: shapes that do not fit.
    """
    y, p = _checked("y_true", y_true), as_array("Circle", "y_pred", y_pred)
    ref_y = y if ref_labels is None else _checked("ref_labels", ref_labels)
    ref_p = p if ref_embeddings is None else as_array("Circle", "ref_embeddings", ref_embeddings)
    return Circle(float(gamma), margin, remove_diagonal).against(y, p, ref_y, ref_p)
