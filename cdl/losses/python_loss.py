"""Losses that users write in Python, and their gradient by central differences.

The core trains with any gradient that it is handed, so a loss that is only a Python function needs
no formula for its gradient: the gradient is measured, in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl._common.naming import snake_case
from cdl._configs.identifiers import serialize
from cdl._tracing.graph import KerasTensor
from cdl.data.arrays import REAL_KINDS, brief
from cdl.losses.core_loss import untouched
from cdl.losses.loss import Loss, class_of, registry

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

    Array = NDArray[Any]

# The step that balances the error of the difference, h^2, with that of rounding, eps / h.
_STEP = {"float64": float(np.cbrt(np.finfo(np.float64).eps)), "float32": 0.005}
# Below this size of a prediction the step does not shrink any more.
_SMALL = 1e-3


class LossFunctionWrapper(Loss):
    """A plain function of ``(y_true, y_pred)`` as a Loss.

    Args:
        fn: gives the loss of each sample, or one number.
        reduction: see `Loss`.
        name: of the loss; the function's unless given.
        dtype: "float32" or None.
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
        own = snake_case(getattr(fn, "__name__", type(fn).__name__))
        super().__init__(name or own, reduction, dtype)
        self.fn = fn
        self.kwargs = kwargs

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """What the function gives; TypeError if that is not numbers."""
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
        """The constructor's arguments."""
        return {**super().get_config(), "fn": serialize(self.fn), **serialize(self.kwargs)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A new one from what `get_config` gave; the function is one of cdl's own."""
        fn = config["fn"]
        return cls(**{**config, "fn": fn if callable(fn) else registry.deserialize(fn)})


class CalledLoss(Loss):
    """A Loss of the user's that overrides `__call__`: what that gives is the loss of a batch.

    Args:
        loss: the user's.
        sample_weight: what `call` hands it, beside targets and predictions; None hands it nothing.
    """

    def __init__(self, loss: Loss, sample_weight: Any = None) -> None:
        super().__init__(loss.name, "sum")
        self.loss = loss
        self.sample_weight = sample_weight

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """What the user's gives."""
        if sample_weight is None:
            return self.loss(y_true, y_pred)
        return self.loss(y_true, y_pred, sample_weight=sample_weight)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """What the user's gives, with the weights of the constructor."""
        return self(y_true, y_pred, self.sample_weight)


def as_loss(identifier: Any, name: str | None = None) -> Loss:
    """A Loss itself, one of cdl's functions as its class, any other function wrapped."""
    if isinstance(identifier, Loss):
        own = untouched(identifier, Loss, "__call__")
        return identifier if own or isinstance(identifier, CalledLoss) else CalledLoss(identifier)
    cls = class_of(identifier)
    if cls is not None:
        return cls(name=name or identifier.__name__)
    return LossFunctionWrapper(identifier, name=name)


def numeric_gradient(
    loss: Loss | Callable[..., Any], y_true: Any, y_pred: Any, sample_weight: Any = None
) -> NDArray[np.float32]:
    """The gradient of a batch's loss by each prediction, by central differences in float64.

    If the loss gives one value for each sample, and a sample's value does not depend on the others,
    one prediction of every sample is moved at a time: 2 calls for each column of `y_pred`.
    Otherwise 2 calls for each element. A loss with a method `gradients(y_true, y_pred, shares)`,
    the gradient of the sum of its values times their shares, is asked instead.

    Args:
        loss: a Loss, or a function of ``(y_true, y_pred)``.
        y_true: targets.
        y_pred: predictions.
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
    h = _STEP.get(first.dtype.name, _STEP["float64"]) * np.maximum(np.abs(p), _SMALL)
    if p.size == 0:
        return np.zeros(p.shape, np.float32)
    shares = whole.shares(first, sample_weight) if _by_sample(whole, y, p, first, h) else None
    if shares is not None:
        gradients = _columns(whole, y, p, h, shares)
    else:
        gradients = _elements(whole, y, p, h, sample_weight)
    return gradients.astype(np.float32)


def _by_sample(loss: Loss, y: Array, p: Array, values: Array, h: Array) -> bool:
    """Whether there is a value for each sample that only its own predictions change."""
    if values.ndim == 0 or len(values) != len(p) or loss.reduction in ("none", None):
        return False
    if len(p) == 1:
        return True
    moved = p.copy()
    moved[::2] += h[::2] * np.linspace(0.5, 1.0, p[::2].size).reshape(p[::2].shape)
    return np.array_equal(np.asarray(loss.call(y, moved))[1::2], values[1::2], equal_nan=True)


def _columns(loss: Loss, y: Array, p: Array, h: Array, shares: Array) -> Array:
    rows, steps = p.reshape(len(p), -1), h.reshape(len(p), -1)
    gradients = np.empty_like(rows)
    for j in range(rows.shape[1]):
        kept = rows[:, j].copy()
        rows[:, j] = kept + steps[:, j]
        above = np.asarray(loss.call(y, p), np.float64)
        rows[:, j] = kept - steps[:, j]
        below = np.asarray(loss.call(y, p), np.float64)
        rows[:, j] = kept
        change = ((above - below) * shares).reshape(len(p), -1).sum(1)
        gradients[:, j] = change / (2 * steps[:, j])
    return gradients.reshape(p.shape)


def _elements(loss: Loss, y: Array, p: Array, h: Array, sample_weight: Any) -> Array:
    flat, steps = p.reshape(-1), h.reshape(-1)
    gradients = np.empty_like(flat)
    for i in range(flat.size):
        kept = flat[i]
        flat[i] = kept + steps[i]
        above = float(loss.reduce(loss.call(y, p), sample_weight))
        flat[i] = kept - steps[i]
        below = float(loss.reduce(loss.call(y, p), sample_weight))
        flat[i] = kept
        gradients[i] = (above - below) / (2 * steps[i])
    return gradients.reshape(p.shape)
