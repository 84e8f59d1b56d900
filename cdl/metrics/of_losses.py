"""of_losses.py - metrics that are the mean of a loss: errors and crossentropies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cdl import losses
from cdl.metrics.compiled import CompiledMetric
from cdl.metrics.metric import family

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@family.add("mse", "MSE")
class MeanSquaredError(CompiledMetric):
    """The mean of ``(y_true - y_pred)^2``."""

    row = "mean_squared_error"
    _direction = "down"

    def __init__(self, name: str | None = "mean_squared_error", dtype: Any = None) -> None:
        super().__init__(name, dtype)


@family.add("mae", "MAE")
class MeanAbsoluteError(CompiledMetric):
    """The mean of ``|y_true - y_pred|``."""

    row = "mean_absolute_error"
    _direction = "down"

    def __init__(self, name: str | None = "mean_absolute_error", dtype: Any = None) -> None:
        super().__init__(name, dtype)


class _Crossentropy(CompiledMetric):
    """A metric whose values are those of a loss, with the loss's own arguments."""

    _direction = "down"
    _loss: losses.Loss

    def __init__(self, name: str | None, dtype: Any, loss: losses.Loss, **shown: Any) -> None:
        super().__init__(name, dtype)
        self._loss = loss
        self._shown = shown
        self.row = loss.row  # type: ignore[attr-defined]

    def call(self, y_true: Any, y_pred: Any) -> NDArray[np.float32]:
        """The loss of each sample."""
        values: NDArray[np.float32] = self._loss.call(y_true, y_pred)
        return values

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), **self._shown}


@family.add("bce", "BCE")
class BinaryCrossentropy(_Crossentropy):
    """The mean of `losses.BinaryCrossentropy`.

    Args:
        name: of the metric.
        dtype: "float32" or None.
        from_logits: whether predictions are raw scores.
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
            name, dtype, loss, from_logits=from_logits, label_smoothing=label_smoothing
        )


@family.add()
class CategoricalCrossentropy(_Crossentropy):
    """The mean of `losses.CategoricalCrossentropy`.

    Args:
        name: of the metric.
        dtype: "float32" or None.
        from_logits: whether predictions are raw scores.
        label_smoothing: from 0 to 1.
        axis: the axis of the classes.
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
            name, dtype, loss, from_logits=from_logits, label_smoothing=label_smoothing, axis=axis
        )


@family.add()
class SparseCategoricalCrossentropy(_Crossentropy):
    """The mean of `losses.SparseCategoricalCrossentropy`.

    Args:
        name: of the metric.
        dtype: "float32" or None.
        from_logits: whether predictions are raw scores.
        ignore_class: a class number whose samples have the value 0.
        axis: the axis of the classes.
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
            name, dtype, loss, from_logits=from_logits, ignore_class=ignore_class, axis=axis
        )
