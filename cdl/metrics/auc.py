"""AUC: area under the ROC or precision-recall curve, from counts at many thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdl._common.validation import expected, flag, positive_int, several
from cdl._configs import allocation_limit
from cdl.config import epsilon
from cdl.metrics.confusion import FN, FP, TN, TP, Confusion, are_even
from cdl.metrics.core_metric import divided
from cdl.metrics.metric import registry

Array = NDArray[Any]

_CURVES = ("ROC", "PR", "PRGAIN")
_SUMMATIONS = ("interpolation", "majoring", "minoring")


@registry.add()
class AUC(Confusion):
    """Area under the ROC or precision-recall curve, a Riemann sum over thresholds.

    Args:
        num_thresholds: how many thresholds to go through, evenly from 0 to 1; at least 2.
        curve: "ROC" (recall over the false positives' rate), "PR" (precision over recall) or
            "PRGAIN" (both as gains over a constant prediction).
        summation_method: the height of a step: "interpolation" (the middle; for PR the integral of
            precision where true positives are linear in positives), "minoring" (the lower side) or
            "majoring" (the higher one).
        thresholds: the inner thresholds themselves instead of even ones.
        multi_label: whether each column is a label with a curve of its own; the result is the mean
            of their areas. Otherwise all predictions are on one curve.
        num_labels: the number of columns, with `multi_label`; None to see it in the data.
        label_weights: a factor for each column: of its area with `multi_label`, else of its counts.
        from_logits: whether predictions are raw scores, of which the sigmoid is taken.

    Raises:
        ValueError: an invalid argument.

    Examples:
        >>> metric = cdl.metrics.AUC()
        >>> metric.update_state([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
        >>> print(f"{metric.result():.2f}")
        0.75
    """

    _direction = "up"
    _not_in_config = ("thresholds",)

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        dtype: Any = None,
        thresholds: Sequence[float] | None = None,
        multi_label: bool = False,
        num_labels: int | None = None,
        label_weights: Any = None,
        from_logits: bool = False,
    ) -> None:
        super().__init__(dtype, name)
        self.curve = _choice("curve", curve, _CURVES)
        self.summation_method = _choice("summation_method", summation_method, _SUMMATIONS)
        self.multi_label = flag("AUC", "multi_label", multi_label)
        self.from_logits = flag("AUC", "from_logits", from_logits)
        self._init_from_thresholds = thresholds is not None
        if thresholds is not None:
            given = several("AUC", "thresholds", thresholds, "a list of numbers or None")
            inner = sorted(float(each) for each in given)
            even = are_even([0.0, *inner, 1.0])
            self.num_thresholds = len(inner) + 2
        else:
            n = self.num_thresholds = positive_int("AUC", "num_thresholds", num_thresholds)
            if n == 1:
                raise expected("AUC", "num_thresholds", "an int >= 2", num_thresholds)
            allocation_limit.spend("AUC: thresholds", (n,))
            inner, even = [i / (n - 1) for i in range(1, n - 1)], True
        self.thresholds = [-epsilon(), *inner, 1.0 + epsilon()]
        self.label_weights = None
        if label_weights is not None:
            self.label_weights = np.array(label_weights, np.float32)
        self.use(self.thresholds, even, None if self.multi_label else self.label_weights)
        self.num_labels = num_labels
        self._width: int | None = None
        if not self.multi_label:
            if num_labels:
                raise ValueError(
                    f"AUC: num_labels must be None unless multi_label is True, got {num_labels!r}"
                )
            self._build((self.num_thresholds,))
        elif num_labels is not None:
            self._width = positive_int("AUC", "num_labels", num_labels)
            self._build((self.num_thresholds, self._width))

    def _build(self, shape: tuple[int, ...]) -> None:
        counts = self.count(TP, FP, TN, FN, shape=shape)
        self.true_positives, self.false_positives = counts[:2]
        self.true_negatives, self.false_negatives = counts[2:]

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Check the shape of predictions; with `multi_label` the first one makes the variables."""
        width = shape[-1] if shape else 1
        if self.multi_label and len(shape) != 1:
            raise ValueError(
                f"AUC: y_pred must have 2 axes for multi_label, got shape {(None, *shape)}"
            )
        if self.multi_label and self._width is None:
            self._width = width
            self._build((self.num_thresholds, width))
        labels = self._width
        if labels is None and self.label_weights is not None:
            labels = len(self.label_weights)
        if labels is not None and labels != width:
            raise ValueError(f"AUC: y_pred must have {labels} columns, got {width}")

    def update_state(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        if self.multi_label:
            self.check_shape(np.shape(y_pred)[1:])
        super().update_state(y_true, y_pred, sample_weight)

    def result(self) -> np.float32:
        """The area so far."""
        if self._width is None and self.multi_label:
            return np.float32(0.0)
        tp, fp, tn, fn = (variable.numpy().astype(np.float64) for variable in self.variables)
        if self.curve == "PR" and self.summation_method == "interpolation":
            areas = _interpolated(tp, fp, fn)
        else:
            x, y = _rates(self.curve, tp, fp, tn, fn)
            areas = (x[:-1] - x[1:]) * self._heights(y[:-1], y[1:])
        by_label = areas.sum(axis=0)
        if not self.multi_label:
            return np.float32(by_label)
        if self.label_weights is None:
            return np.float32(by_label.mean())
        weights = self.label_weights.astype(np.float64)
        return np.float32(divided((by_label * weights).sum(), weights.sum()))

    def _heights(self, left: Array, right: Array) -> Array:
        if self.summation_method == "interpolation":
            return (left + right) / 2
        choose = np.minimum if self.summation_method == "minoring" else np.maximum
        heights: Array = choose(left, right)
        return heights

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        if self.label_weights is not None:
            config["label_weights"] = self.label_weights.tolist()
        if self._init_from_thresholds:
            config["thresholds"] = self.thresholds[1:-1]
        return config


def _choice(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    """Check an option of the constructor; lower case, upper case and a capital are allowed."""
    for word in allowed:
        if value in (word, word.lower(), word.capitalize() if word.islower() else word):
            return word
    raise expected("AUC", name, f"one of {', '.join(map(repr, allowed))}", value)


def _rates(curve: str, tp: Array, fp: Array, tn: Array, fn: Array) -> tuple[Array, Array]:
    """The curve's x and y at each threshold."""
    recall = divided(tp, tp + fn)
    if curve == "ROC":
        return divided(fp, fp + tn), recall
    if curve == "PR":
        return recall, divided(tp, tp + fp)
    odds = divided(tp + fn, tn + fp)
    gain = np.where(tp == 0, 0.0, 1.0 - odds * divided(fn, tp))
    return np.maximum(gain, 0.0), np.where(tp == 0, 1.0, 1.0 - odds * divided(fp, tp))


def _interpolated(tp: Array, fp: Array, fn: Array) -> Array:
    """Areas below precision over recall (Davis and Goadrich, 2006).

    Between two thresholds true positives are linear in positives p, tp = a + b p; so the area is
    the integral of (a + b p) / p, which is b (tp step) + a b log(p ratio), by all positives.
    """
    p = tp + fp
    step, p_step = tp[:-1] - tp[1:], p[:-1] - p[1:]
    b = divided(step, np.maximum(p_step, 0.0))
    a = tp[1:] - b * p[1:]
    both = (p[:-1] > 0) & (p[1:] > 0)
    ratio = np.where(both, divided(p[:-1], np.maximum(p[1:], 0.0)), 1.0)
    return divided(b * (step + a * np.log(ratio)), np.maximum(tp[1:] + fn[1:], 0.0))
