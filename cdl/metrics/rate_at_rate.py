"""Metrics of one rate at a given other one, such as recall at a precision."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from cdl._common.validation import number, positive_int, whole
from cdl._configs import allocation_limit
from cdl.metrics.confusion import FN, FP, TN, TP, Confusion
from cdl.metrics.core_metric import divided
from cdl.metrics.metric import registry

Array = NDArray[Any]


class _TradeOff(Confusion):
    """Base: the largest `wanted` rate over thresholds whose `held` rate is at least a value.

    Args:
        num_thresholds: how many thresholds to try, evenly from 0 to 1; 1 is 0.5.
        class_id: the column of predictions and targets that counts; None for all.
    """

    _inner: tuple[str, ...] = (
        "argument",
        "held_and_wanted",
        "precisions",
        "recalls",
        "specificities",
    )
    _direction = "up"
    argument: str  # what the least rate is called
    _not_in_config = ("value",)

    def __init__(
        self,
        value: float,
        num_thresholds: int,
        class_id: int | None,
        name: str | None,
        dtype: DTypeLike,
    ) -> None:
        super().__init__(dtype, name)
        owner = type(self).__name__
        self.value = number(owner, self.argument, value, 0.0, 1.0)
        setattr(self, self.argument, value)
        n = self.num_thresholds = positive_int(owner, "num_thresholds", num_thresholds)
        self.class_id = None if class_id is None else whole(owner, "class_id", class_id)
        allocation_limit.spend(f"{owner}: thresholds", (n,))
        self.thresholds = [0.5] if n == 1 else [i / (n - 1) for i in range(n)]
        self.use(self.thresholds, n > 1)
        counts = self.count(TP, FP, TN, FN, shape=(n,))
        self.true_positives, self.false_positives = counts[:2]
        self.true_negatives, self.false_negatives = counts[2:]

    def recalls(self) -> Array:
        """True positives by positive targets, also called sensitivity."""
        return _share(self.true_positives, self.false_negatives)

    def precisions(self) -> Array:
        """True positives by positive predictions."""
        return _share(self.true_positives, self.false_positives)

    def specificities(self) -> Array:
        """True negatives by negative targets."""
        return _share(self.true_negatives, self.false_positives)

    def held_and_wanted(self) -> tuple[Array, Array]:
        """The held and the wanted rate, one number per threshold each."""
        raise NotImplementedError

    def result(self) -> np.float32:
        """The largest rate so far; 0 if no threshold is good enough."""
        held, wanted = self.held_and_wanted()
        return np.float32(np.max(wanted, where=held >= np.float32(self.value), initial=0.0))


def _share(part: Any, rest: Any) -> Array:
    a, b = part.numpy(), rest.numpy()
    return divided(a, np.add(a, b, dtype=np.float64)).astype(np.float32)


@registry.add()
class SensitivityAtSpecificity(_TradeOff):
    """Best sensitivity (recall) at a specificity of at least the given value.

    Args:
        specificity: the least share of negative targets that are predicted so, from 0 to 1.
    """

    argument = "specificity"

    def __init__(
        self,
        specificity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(specificity, num_thresholds, class_id, name, dtype)

    def held_and_wanted(self) -> tuple[Array, Array]:
        return self.specificities(), self.recalls()


@registry.add()
class SpecificityAtSensitivity(_TradeOff):
    """Best specificity at a sensitivity (recall) of at least the given value.

    Args:
        sensitivity: the least share of positive targets that are predicted so, from 0 to 1.
    """

    argument = "sensitivity"

    def __init__(
        self,
        sensitivity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(sensitivity, num_thresholds, class_id, name, dtype)

    def held_and_wanted(self) -> tuple[Array, Array]:
        return self.recalls(), self.specificities()


@registry.add()
class PrecisionAtRecall(_TradeOff):
    """Best precision at a recall of at least the given value.

    Args:
        recall: the least share of positive targets that are predicted so, from 0 to 1.
    """

    argument = "recall"

    def __init__(
        self,
        recall: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(recall, num_thresholds, class_id, name, dtype)

    def held_and_wanted(self) -> tuple[Array, Array]:
        return self.recalls(), self.precisions()


@registry.add()
class RecallAtPrecision(_TradeOff):
    """Best recall at a precision of at least the given value.

    Args:
        precision: the least share of positive predictions that are right, from 0 to 1.
    """

    argument = "precision"

    def __init__(
        self,
        precision: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(precision, num_thresholds, class_id, name, dtype)

    def held_and_wanted(self) -> tuple[Array, Array]:
        return self.precisions(), self.recalls()
