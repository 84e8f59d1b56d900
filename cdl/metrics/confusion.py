"""Metrics of thresholded predictions: confusion counts, precision and recall."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdl._common.validation import expected, positive_int, whole
from cdl._tracing.graph import KerasTensor
from cdl._tracing.variable import Variable
from cdl._variables.state import State
from cdl.metrics.call_metrics import score
from cdl.metrics.core_metric import Tally, divided
from cdl.metrics.metric import registry

Array = NDArray[Any]

TP, FP, TN, FN = "true_positives", "false_positives", "true_negatives", "false_negatives"
NO_THRESHOLD = -1e10  # what all predictions exceed but those outside the top k


class Confusion(Tally):
    """Base of metrics that count true and false positives and negatives at thresholds.

    A subclass makes `thresholds`, then its variables by `count`. Predictions that do not exceed a
    threshold are negative there. Evenly spread thresholds are compared with predictions clipped to
    [0, 1] and in Keras's rounding.

    Attributes:
        thresholds: as they were given, a list.
        top_k: predictions outside the k largest of a line are negative; None for no such rule.
        class_id: the only column that counts; None for all.
        multi_label: whether columns are counted apart.
        from_logits: whether predictions are raw scores, of which the sigmoid is taken first.
        label_weights: a factor for each column, or None.
    """

    _inner: tuple[str, ...] = ("condition", "count", "missed", "use")
    thresholds: Any
    top_k: int | None = None
    class_id: int | None = None
    multi_label: bool = False
    from_logits: bool = False

    def use(
        self, thresholds: Sequence[float], even: bool, label_weights: Array | None = None
    ) -> None:
        """Set the thresholds, which the core reads in ascending order."""
        values = np.array(thresholds, np.float32)
        order = np.argsort(values, kind="stable")
        self._sorted = values[order]
        self._places = np.argsort(order, kind="stable")
        self._label_weights = label_weights
        self.row = "even_confusion" if even else "confusion"
        self._counted: tuple[str, ...] = ()

    def count(self, *conditions: str, shape: tuple[int, ...]) -> list[State]:
        """Create the variables of the given counts, each of `shape`."""
        self._counted = conditions
        return [self.add_variable(shape, "zeros", name=name) for name in conditions]

    def parameters(self) -> dict[str, float]:
        return {
            "top_k": float(self.top_k or 0),
            "class_id": float(-1 if self.class_id is None else self.class_id),
            "by_label": float(self.multi_label),
            "from_logits": float(self.from_logits),
        }

    def tables(self) -> tuple[Variable | None, ...]:
        weights = self._label_weights
        return _constant(self._sorted), None if weights is None else _constant(weights)

    def sums(self, state: Array) -> list[Array]:
        """Counts to add to each variable: one per threshold, or per threshold and label."""
        buckets = state.reshape(-1, 2, len(self._places) + 1)  # label, target, thresholds exceeded
        up_to = np.cumsum(buckets, axis=-1)[..., :-1]
        above = np.cumsum(buckets[..., ::-1], axis=-1)[..., -2::-1]
        found = {TP: above[:, 1], FP: above[:, 0], TN: up_to[:, 0], FN: up_to[:, 1]}
        sums = [found[condition][:, self._places].T for condition in self._counted]
        return sums if self.multi_label else [each[:, 0] for each in sums]

    def check_shape(self, shape: tuple[int, ...]) -> None:
        owner, width = type(self).__name__, shape[-1] if shape else 1
        if self.class_id is not None and not 0 <= self.class_id < width:
            raise expected(owner, "class_id", f"one of {width} columns", self.class_id)
        if self.top_k is not None and self.top_k > width:
            raise expected(owner, "top_k", f"at most {width}, the number of columns,", self.top_k)

    def update_state(self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: Any = None) -> None:
        if isinstance(y_pred, KerasTensor):
            score(self, y_true, y_pred, sample_weight)
            return
        y, p = self.of_one_shape(y_true, y_pred)
        if p.ndim < 2 and self.class_id is not None:
            raise ValueError(
                f"{type(self).__name__}: y_pred must have rows of columns for class_id, "
                f"got shape {p.shape}"
            )
        weight = None
        if sample_weight is not None:
            aligned = np.asarray(sample_weight, np.float32)
            counted = (*p.shape[:-1], 1) if self.class_id is not None else p.shape
            if aligned.ndim < p.ndim:
                aligned = aligned[..., None]
            weight = self.weights_for(aligned, counted)
            assert weight is not None
            weight = np.broadcast_to(weight, p.shape)
        width = p.shape[-1] if p.ndim > 1 or self.top_k is not None else 1
        rows = (-1, width)
        self.add(y.reshape(rows), p.reshape(rows), None if weight is None else weight.reshape(rows))


def _constant(array: Array) -> Variable:
    """Array as a weight of the core that does not train."""
    return Variable(array.shape, lambda _: array, trainable=False)


def of_thresholds(owner: str, thresholds: Any, default: float) -> list[float]:
    """Thresholds as a list: one number or several, from 0 to 1; the default for None."""
    if thresholds is None:
        return [default]
    given = list(thresholds) if isinstance(thresholds, (list, tuple, np.ndarray)) else [thresholds]
    for each in given:
        is_number = isinstance(each, (int, float, np.integer, np.floating))
        if not is_number or isinstance(each, bool) or not 0 <= each <= 1:
            raise expected(owner, "thresholds", "a number between 0 and 1, or a list of them", each)
    if not given:
        raise expected(owner, "thresholds", "at least one number", thresholds)
    return given


def are_even(thresholds: Sequence[float]) -> bool:
    """Whether thresholds are 0, 1 / (n - 1), ... 1, up to rounding."""
    n = len(thresholds)
    return n >= 3 and np.allclose(thresholds, np.arange(n, dtype=np.float32) / (n - 1), atol=1e-7)


class _Count(Confusion):
    """Base of the four confusion counts: number, or sum of weights, of one kind of prediction.

    Args:
        thresholds: what a prediction must exceed to be positive, from 0 to 1: a number, or a list
            for as many results; None is 0.5.
    """

    condition: str

    def __init__(
        self,
        thresholds: float | Sequence[float] | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(dtype, name)
        self.init_thresholds = thresholds
        self.thresholds = of_thresholds(type(self).__name__, thresholds, 0.5)
        self.use(self.thresholds, are_even(self.thresholds))
        self._counted = (self.condition,)
        self.accumulator = self.add_variable((len(self.thresholds),), "zeros", name="accumulator")

    def result(self) -> Any:
        """The count so far: a number for one threshold, else an array."""
        counts = self.accumulator.numpy()
        return counts[0] if len(counts) == 1 else counts

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "thresholds": self.init_thresholds}


@registry.add()
class TruePositives(_Count):
    """Number, or sum of sample weights, of positive predictions with a nonzero target."""

    condition = TP


@registry.add()
class TrueNegatives(_Count):
    """Number, or sum of sample weights, of negative predictions with a zero target."""

    condition = TN


@registry.add()
class FalsePositives(_Count):
    """Number, or sum of sample weights, of positive predictions with a zero target."""

    condition = FP


@registry.add()
class FalseNegatives(_Count):
    """Number, or sum of sample weights, of negative predictions with a nonzero target."""

    condition = FN


class _Share(Confusion):
    """Base of precision and recall: true positives divided by predicted or actual positives.

    Args:
        thresholds: what a prediction must exceed to be positive, from 0 to 1: a number, or a list
            for as many results. None is 0.5, or no threshold at all with `top_k`.
        top_k: only the k largest predictions of a line may be positive.
        class_id: the column of predictions and targets that counts; None for all.
    """

    _direction = "up"
    missed: str

    def __init__(
        self,
        thresholds: float | Sequence[float] | None = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(dtype, name)
        owner = type(self).__name__
        self.init_thresholds = thresholds
        self.top_k = None if top_k is None else positive_int(owner, "top_k", top_k)
        self.class_id = None if class_id is None else whole(owner, "class_id", class_id)
        default = 0.5 if top_k is None else NO_THRESHOLD
        self.thresholds = of_thresholds(owner, thresholds, default)
        self.use(self.thresholds, are_even(self.thresholds))
        self.true_positives, missed = self.count(TP, self.missed, shape=(len(self.thresholds),))
        setattr(self, self.missed, missed)

    def result(self) -> Any:
        """The ratio so far, 0 for a divisor of 0: a number, or one per threshold."""
        hits, misses = (variable.numpy() for variable in self.variables)
        shares = divided(hits, np.add(hits, misses, dtype=np.float64)).astype(np.float32)
        return shares[0] if len(shares) == 1 else shares

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "thresholds": self.init_thresholds}


@registry.add()
class Precision(_Share):
    """Precision, ``true_positives / (true_positives + false_positives)``."""

    missed = FP
    false_positives: State


@registry.add()
class Recall(_Share):
    """Recall (sensitivity), ``true_positives / (true_positives + false_negatives)``."""

    missed = FN
    false_negatives: State
