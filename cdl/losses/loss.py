"""Loss: the base of losses, a value per sample and its reduction to one number.

`Loss` is subclassed for custom losses with `call` in NumPy or `cdl.ops`. The losses of the core are
in core_loss.py.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdl import dtype_policies, tree
from cdl._common import dtypes
from cdl._common.naming import unique
from cdl._common.overriding import of_any_names
from cdl._common.shared_arguments import described_by
from cdl._common.validation import expected, one_of
from cdl._configs.arguments import Configured, own_arguments
from cdl._configs.identifiers import Registry
from cdl._tracing import graph
from cdl._tracing.untraced import Untraced
from cdl._tracing.variable import in_traced_code
from cdl._variables.stepping import whole_if_own
from cdl.data import as_numeric
from cdl.losses import symbolic

Array = NDArray[Any]

Function = TypeVar("Function", bound=Callable[..., Any])

registry = Registry(
    "loss",
    "keras.losses",
    "a name, a config, a Loss or a function of (y_true, y_pred)",
    snake=False,
)

_functions: dict[Any, type[Loss]] = {}  # each function of the family, and its class

MEANS = ("sum_over_batch_size", "mean")
REDUCTIONS = (*MEANS, "sum", "mean_with_sample_weight", "none", None)


class Loss(Configured):
    """Base of losses; a subclass overrides `call`.

    Args:
        name: of the loss; None makes one from the class.
        reduction: how values of samples become one number: "sum_over_batch_size" or "mean" divides
            their weighted sum by their count, "mean_with_sample_weight" by the sum of the weights,
            "sum" by nothing; None or "none" leaves them as they are: training then goes down the
            gradient of their sum, and shows their mean.
        dtype: of what a call gives, a float or a policy, whose `compute_dtype` it is; None is
            `config.floatx()`. Losses compute in float32.
    """

    _inner: tuple[str, ...] = (
        "divisor",
        "in_dtype",
        "in_programs",
        "masked",
        "reduce",
        "shares",
        "gradients",
        "untraced",
    )
    untraced: Untraced | None = None  # why it runs in Python, once it has been tried

    def __init__(
        self,
        name: str | None = None,
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        owner = type(self).__name__
        self.name = name or unique(type(self))
        self.reduction = one_of(owner, "reduction", reduction, REDUCTIONS)
        self.dtype = _float_dtype(owner, dtype)

    @of_any_names
    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Loss of each sample, or one number; to be overridden, in NumPy or `cdl.ops`.

        Args:
            y_true: targets, a float array.
            y_pred: predictions, a float array.
        """
        raise NotImplementedError(f"{type(self).__name__} must override call(y_true, y_pred)")

    @whole_if_own
    def __call__(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Any:
        """The loss of a batch: the values of `call`, weighted and reduced.

        Args:
            y_true: targets, an array or a list.
            y_pred: predictions of the same shape, up to a last axis of length 1.
            sample_weight: a factor for each value, None for 1.

        Raises:
            ValueError: shapes that do not fit.
        """
        y_true, y_pred = in_traced_code((y_true, y_pred))
        if graph.tensors_in((y_true, y_pred)):
            return self.reduce(self.call(y_true, y_pred), sample_weight)
        y, p = self._floats("y_true", y_true), self._floats("y_pred", y_pred)
        return self.in_dtype(self.reduce(self.call(y, p), sample_weight))

    def _floats(self, name: str, value: Any) -> Any:
        """Targets or predictions as float arrays; several arrays keep their structure."""
        if isinstance(value, (list, tuple, dict)):
            parts = value.values() if isinstance(value, dict) else value
            if any(isinstance(each, dict) or getattr(each, "shape", ()) for each in parts):
                return tree.map_structure(lambda each: self._floats(name, each), value)
        return np.asarray(as_array(type(self).__name__, name, value), np.float32)

    def in_dtype(self, result: Any) -> Any:
        """Result of a call in the dtype of the loss."""
        if self.dtype == "float32" or not isinstance(result, (np.ndarray, np.generic)):
            return result
        return dtypes.astype(result, self.dtype)[()]

    def reduce(self, values: ArrayLike, sample_weight: Any = None) -> Any:
        """Values weighted and reduced to one number by `reduction`."""
        if isinstance(values, graph.KerasTensor):
            return symbolic.reduced(self.reduction, values, sample_weight)
        values = np.asarray(values)
        dtype = values.dtype if values.dtype.kind == "f" else np.dtype(np.float32)
        weight = None
        if sample_weight is not None:
            weight = as_array(type(self).__name__, "sample_weight", sample_weight).astype(dtype)
            values, weight = weighted(type(self).__name__, values, weight)
        if self.reduction in (None, "none") or values.shape in ((), (0,)):
            return values.astype(dtype)
        total, divisor = values.sum(dtype=np.float64), self.divisor(values, weight)
        return dtype.type(total / divisor if divisor else 0.0)

    @property
    def in_programs(self) -> str:
        """Reduction of the weighted values of a batch in a program."""
        if self.reduction in (None, "none"):
            return "none"
        return "sum" if self.reduction == "sum" else "mean"

    def divisor(self, values: Array, weight: Array | None) -> float:
        """Divisor of the sum of weighted values."""
        if self.reduction == "mean_with_sample_weight" and weight is not None:
            return float(weight.sum(dtype=np.float64))
        return float(values.size) if self.in_programs == "mean" else 1.0

    def masked(self, values: ArrayLike, counted: Array, sample_weight: Any) -> Array:
        """Weights that are 0 for values that do not count; a mean is over the others.

        Args:
            values: the losses of samples.
            counted: of their shape, whether they count.
            sample_weight: a factor for each value, or None.
        """
        owner, counts = type(self).__name__, counted.astype(np.float32)
        if self.reduction in MEANS:
            counts *= counts.size / max(1.0, counts.sum())
        if sample_weight is None:
            return counts
        weight = as_array(owner, "sample_weight", sample_weight).astype(np.float32)
        return weighted(owner, counts, weight)[0]

    def shares(self, values: Array, sample_weight: Any) -> Array | None:
        """Factor of each value in the loss of the batch; None if that is no array.

        Args:
            values: what `call` gave.
            sample_weight: a factor for each value, or None.
        """
        if values.ndim == 0:
            return np.asarray(self.reduce(np.ones(()), sample_weight).sum())
        ones = np.ones(values.shape)
        if sample_weight is None:
            return ones / self.divisor(ones, None)
        product, weight = weighted(self.name, ones, np.asarray(sample_weight, np.float64))
        if product.size != values.size:
            return None
        divisor = self.divisor(product, weight)
        return product.reshape(values.shape) / divisor if divisor else np.zeros(values.shape)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments as a dict, for `from_config`."""
        return {"name": self.name, "reduction": self.reduction, **own_arguments(self, Loss)}


def _float_dtype(owner: str, dtype: Any) -> str:
    """Dtype of the loss's results."""
    if dtype is None:
        return dtypes.floatx()
    name = dtype_policies.get(dtype).compute_dtype
    if name not in dtypes.FLOATS:
        raise expected(owner, "dtype", f"one of {dtypes.FLOATS}", dtype)
    return name


def of_pairs(y_true: Any, y_pred: Any) -> None:
    """Arguments of nearly all loss functions.

    Args:
        y_true: targets, of the predictions' shape.
        y_pred: predictions.
    """


def function_of(
    cls: type[Loss], *names: str, identifies: bool = True
) -> Callable[[Function], Function]:
    """Decorator that registers the function form of a class under its name and `names`.

    With `identifies` false the names stand for nothing (Keras has such functions). Arguments that
    the docstring leaves out are described as in the class.
    """

    def enter(function: Function) -> Function:
        _functions[function] = cls
        described_by(of_pairs, cls)(function)
        return registry.add(*names)(function) if identifies else function

    return enter


def class_of(function: Callable[..., Any]) -> type[Loss] | None:
    """Class of a loss function of cdl; None for anything else."""
    return _functions.get(function) if isinstance(function, FunctionType) else None


def as_array(owner: str, name: str, value: Any) -> Array:
    """Targets, predictions or weights as an array of real numbers; a single number has no axes."""
    if isinstance(value, (int, float)) or getattr(value, "shape", None) == ():  # a variable's too
        return as_numeric(np.asarray(value).reshape(1), f"{owner}: {name}").reshape(())
    return as_numeric(value, f"{owner}: {name}")


def same_rank(a: Array, b: Array) -> tuple[Array, Array]:
    """Two arrays, where one has a last axis of length 1 that the other lacks, with equal ranks.

    A (n,) next to a (n, 1) becomes (n, 1); otherwise the axis is dropped.
    """
    if abs(a.ndim - b.ndim) != 1:
        return a, b
    longer, shorter = (a, b) if a.ndim > b.ndim else (b, a)
    if longer.shape[-1] == 1:
        if shorter.ndim == 1:
            shorter = shorter[..., None]
        else:
            longer = longer[..., 0]
    return (longer, shorter) if a.ndim > b.ndim else (shorter, longer)


def weighted(owner: str, values: Array, weight: Array) -> tuple[Array, Array]:
    """Values times their weights, and the weights in the shape in which they were multiplied."""
    values, weight = same_rank(values, weight)
    try:
        return values * weight, weight
    except ValueError:
        raise ValueError(
            f"{owner}: sample_weight must fit the losses of shape {values.shape}, "
            f"got shape {weight.shape}"
        ) from None
