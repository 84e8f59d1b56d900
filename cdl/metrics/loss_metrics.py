"""Metrics that are the mean of a loss, computed by the loss's own row of the core."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdl import losses
from cdl._ir.lowering import Lowering
from cdl._ir.program import Instruction, Value
from cdl.losses.core_loss import CompiledLoss
from cdl.losses.loss import as_array, weighted
from cdl.metrics.core_metric import CompiledMetric
from cdl.metrics.metric import Mean, registry


class MeanOfLoss(CompiledMetric):
    """Base of metrics that are the mean of a loss of the core.

    Args:
        loss: the loss; its reduction does not matter.
        shown: the loss's arguments that `get_config` shows.
        from_logits: whether predictions are raw scores.
        axis: the axis of the classes.
    """

    op = "measure"
    _direction = "down"
    _not_in_config = ("loss", "from_logits", "label_smoothing", "ignore_class", "axis")

    def __init__(
        self, loss: CompiledLoss, name: str | None, dtype: Any = None, **shown: Any
    ) -> None:
        super().__init__(name, dtype)
        self.loss = loss
        self.row = loss.row
        self.in_core = loss.wants == "values" or loss.axis == -1
        self._shown = shown

    @property
    def wants(self) -> str:
        return self.loss.wants

    def parameters(self) -> dict[str, float]:
        return self.loss.parameters()

    def lower(
        self, program: Lowering, target: Value, prediction: Value, weight: Value | None = None
    ) -> Instruction:
        target, prediction = self.loss.operands(program, target, prediction)
        return program.measure(self.row, target, prediction, weight, **self.parameters())

    def call(self, y_true: ArrayLike, y_pred: ArrayLike) -> NDArray[np.float32]:
        """The loss of each sample."""
        values: NDArray[np.float32] = self.loss.call(y_true, y_pred)
        return values

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._shown}


@registry.add("bce", "BCE")
class BinaryCrossentropy(MeanOfLoss):
    """Mean binary crossentropy, as `losses.BinaryCrossentropy` computes it.

    Args:
        label_smoothing: from 0 to 1.
    """

    def __init__(
        self,
        name: str | None = "binary_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
    ) -> None:
        loss = losses.BinaryCrossentropy(from_logits, label_smoothing)
        super().__init__(
            loss, name, dtype, from_logits=from_logits, label_smoothing=label_smoothing
        )


@registry.add()
class CategoricalCrossentropy(MeanOfLoss):
    """Mean crossentropy with one-hot targets, as `losses.CategoricalCrossentropy` computes it.

    Args:
        label_smoothing: from 0 to 1.
    """

    def __init__(
        self,
        name: str | None = "categorical_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
        axis: int = -1,
    ) -> None:
        loss = losses.CategoricalCrossentropy(from_logits, label_smoothing, axis)
        super().__init__(
            loss, name, dtype, from_logits=from_logits, label_smoothing=label_smoothing, axis=axis
        )


@registry.add()
class SparseCategoricalCrossentropy(MeanOfLoss):
    """Mean crossentropy with integer labels, by `losses.SparseCategoricalCrossentropy`.

    Args:
        ignore_class: a class number whose samples have the value 0; with sample weights they do
            not count at all.
    """

    def __init__(
        self,
        name: str | None = "sparse_categorical_crossentropy",
        dtype: Any = None,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
    ) -> None:
        loss = losses.SparseCategoricalCrossentropy(from_logits, ignore_class, axis=axis)
        super().__init__(
            loss, name, dtype, from_logits=from_logits, ignore_class=ignore_class, axis=axis
        )
        self.in_core = self.in_core and ignore_class is None

    def update_state(  # type: ignore[override]
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        """Add a batch; sample weights of `ignore_class` count as 0."""
        ignored = self._shown["ignore_class"]
        if ignored is None or sample_weight is None:
            super().update_state(y_true, y_pred, sample_weight)
            return
        values = self.call(y_true, y_pred)
        counted = np.reshape(np.not_equal(y_true, ignored), values.shape)
        given = as_array(type(self).__name__, "sample_weight", sample_weight)
        _, weight = weighted(type(self).__name__, counted.astype(np.float32), given)
        Mean.update_state(self, values, counted * weight)


@registry.add("mape", "MAPE")
class MeanAbsolutePercentageError(MeanOfLoss):
    """Mean absolute percentage error, ``100 |y_true - y_pred| / max(|y_true|, 1e-7)``."""

    def __init__(
        self, name: str | None = "mean_absolute_percentage_error", dtype: Any = None
    ) -> None:
        super().__init__(losses.MeanAbsolutePercentageError(), name, dtype)


@registry.add("msle", "MSLE")
class MeanSquaredLogarithmicError(MeanOfLoss):
    """Mean of ``(log(1 + y_true) - log(1 + y_pred))^2``, both at least 1e-7."""

    def __init__(
        self, name: str | None = "mean_squared_logarithmic_error", dtype: Any = None
    ) -> None:
        super().__init__(losses.MeanSquaredLogarithmicError(), name, dtype)


@registry.add()
class LogCoshError(MeanOfLoss):
    """Mean logarithm of the hyperbolic cosine of the error, ``log(cosh(y_pred - y_true))``."""

    def __init__(self, name: str | None = "logcosh", dtype: Any = None) -> None:
        super().__init__(losses.LogCosh(), name, dtype)


@registry.add()
class KLDivergence(MeanOfLoss):
    """Mean Kullback-Leibler divergence, ``sum(y_true log(y_true / y_pred))``, within [1e-7, 1]."""

    def __init__(self, name: str | None = "kl_divergence", dtype: Any = None) -> None:
        super().__init__(losses.KLDivergence(), name, dtype)


@registry.add()
class Poisson(MeanOfLoss):
    """Mean Poisson loss, ``y_pred - y_true log(y_pred + 1e-7)``."""

    def __init__(self, name: str | None = "poisson", dtype: Any = None) -> None:
        super().__init__(losses.Poisson(), name, dtype)


@registry.add()
class Hinge(MeanOfLoss):
    """Mean hinge loss, ``max(1 - y_true y_pred, 0)``; labels 0 count as -1."""

    def __init__(self, name: str | None = "hinge", dtype: Any = None) -> None:
        super().__init__(losses.Hinge(), name, dtype)


@registry.add()
class SquaredHinge(MeanOfLoss):
    """Mean squared hinge loss, ``max(1 - y_true y_pred, 0)^2``; labels 0 count as -1."""

    def __init__(self, name: str | None = "squared_hinge", dtype: Any = None) -> None:
        super().__init__(losses.SquaredHinge(), name, dtype)


@registry.add()
class CategoricalHinge(MeanOfLoss):
    """Mean multiclass hinge, ``max(1 + max((1 - y_true) y_pred) - sum(y_true y_pred), 0)``."""

    def __init__(self, name: str | None = "categorical_hinge", dtype: Any = None) -> None:
        super().__init__(losses.CategoricalHinge(), name, dtype)
