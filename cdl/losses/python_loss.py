"""Custom losses in Python, and numeric gradients of those that cannot be traced.

The core trains with any gradient that it is handed, so a loss that is only a Python function needs
no formula for it: it is measured by central differences.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdl._common.central_differences import by_element, by_sample, keeps_samples_apart, steps
from cdl._common.naming import snake_case
from cdl._configs.identifiers import serialize
from cdl._tracing.graph import KerasTensor
from cdl.data.arrays import REAL_KINDS, brief
from cdl.losses.core_loss import overrides_none
from cdl.losses.loss import Loss, class_of, registry

Array = NDArray[Any]

_SMALL = 1e-3  # the size of a prediction below which the step of differences does not shrink


class LossFunctionWrapper(Loss):
    """Loss made of a function of ``(y_true, y_pred)``.

    Args:
        fn: gives the loss of each sample, or one number.
        name: of the loss; the function's unless given.
        kwargs: further arguments of `fn`.
    """

    _inner: tuple[str, ...] = ("kwargs",)

    def __init__(
        self,
        fn: Callable[..., Any],
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        derived = snake_case(getattr(fn, "__name__", type(fn).__name__))
        super().__init__(name or derived, reduction, dtype)
        self.fn = fn
        self.kwargs = kwargs

    def call(self, y_true: ArrayLike, y_pred: ArrayLike) -> Any:
        """Values of the function; TypeError if they are not numbers."""
        values = self.fn(y_true, y_pred, **self.kwargs)
        if isinstance(values, KerasTensor):
            return values
        if np.asarray(values).dtype.kind not in REAL_KINDS:
            raise TypeError(
                f"loss {self.name!r} must return numbers, one for each sample or one for all, "
                f"got {brief(values)}"
            )
        return values

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "fn": serialize(self.fn), **serialize(self.kwargs)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Create a loss from the dict of `get_config`; the function is one of cdl's."""
        fn = config["fn"]
        return cls(**{**config, "fn": fn if callable(fn) else registry.deserialize(fn)})


class CalledLoss(Loss):
    """Custom Loss that overrides `__call__`, whose result is the loss of the batch.

    Args:
        sample_weight: what `call` hands it, beside targets and predictions; None hands it nothing.
    """

    def __init__(self, loss: Loss, sample_weight: ArrayLike | None = None) -> None:
        super().__init__(loss.name, "sum")
        self.loss = loss
        self.sample_weight = sample_weight

    def __call__(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Any:
        if sample_weight is None:
            return self.loss(y_true, y_pred)
        return self.loss(y_true, y_pred, sample_weight=sample_weight)

    def call(self, y_true: ArrayLike, y_pred: ArrayLike) -> Any:
        """Result of the custom `__call__` with the weights of the constructor."""
        return self(y_true, y_pred, self.sample_weight)


def as_loss(identifier: Any, name: str | None = None) -> Loss:
    """Convert to a Loss: a Loss stays, cdl's functions become their class, others are wrapped."""
    if isinstance(identifier, Loss):
        plain = overrides_none(identifier, Loss, "__call__")
        return identifier if plain or isinstance(identifier, CalledLoss) else CalledLoss(identifier)
    cls = class_of(identifier)
    if cls is not None:
        return cls(name=name or identifier.__name__)
    return LossFunctionWrapper(identifier, name=name)


def numeric_gradient(
    loss: Loss | Callable[..., Any],
    y_true: ArrayLike,
    y_pred: ArrayLike,
    sample_weight: ArrayLike | None = None,
) -> NDArray[np.float32]:
    """The gradient of a batch's loss by each prediction, by central differences in float64.

    If the loss gives one value for each sample, and a sample's value does not depend on the others,
    one prediction of every sample is moved at a time: 2 calls for each column of `y_pred`.
    Otherwise 2 calls for each element. A loss with a method `gradients(y_true, y_pred, shares)`,
    the gradient of the sum of its values times their shares, is asked instead.

    Args:
        loss: a Loss, or a function of ``(y_true, y_pred)``.
        sample_weight: a factor for each value, or None.

    Returns:
        Float32 array of the shape of `y_pred`.
    """
    whole = as_loss(loss)
    if isinstance(whole, CalledLoss) and sample_weight is not None:
        whole, sample_weight = CalledLoss(whole.loss, sample_weight), None
    y, p = np.asarray(y_true, np.float64), np.array(y_pred, np.float64)
    first = np.asarray(whole.call(y, p))
    if hasattr(whole, "gradients") and (shares := whole.shares(first, sample_weight)) is not None:
        return np.asarray(whole.gradients(y, p, shares), np.float32)
    if p.size == 0:
        return np.zeros(p.shape, np.float32)
    h = steps(p, first, _SMALL)
    per_sample = (
        first.ndim > 0
        and len(first) == len(p)
        and keeps_samples_apart(lambda moved: whole.call(y, moved), p, first, h)
    )
    shares = whole.shares(first, sample_weight) if per_sample else None
    if shares is not None:
        gradients = by_sample(lambda moved: whole.call(y, moved), p, h, shares)
    else:
        total = lambda p: np.sum(whole.reduce(whole.call(y, p), sample_weight))  # noqa: E731
        gradients = by_element(total, p, h)
    return gradients.astype(np.float32)
