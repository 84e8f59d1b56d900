"""Metrics that the core accumulates; each class names a row of the core's tables.

In training and evaluation the core keeps their sums, and `load` puts them in at the end of an
epoch; `update_state` has the same row computed by a small program. `result` makes the number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdl import _core
from cdl._common.locks import new_rlock
from cdl._common.overriding import overrides
from cdl._ir.lowering import Lowering
from cdl._ir.program import Instruction, Value
from cdl._tracing import eager
from cdl._tracing.graph import KerasTensor
from cdl._tracing.variable import Variable
from cdl._variables.state import State
from cdl.losses import rowwise
from cdl.losses.loss import as_array, same_rank
from cdl.metrics.call_metrics import score
from cdl.metrics.metric import Mean, Metric

Array = NDArray[Any]

_TABLES: dict[str, Mapping[str, _core.LossRow]] = {
    "metric": _core.METRICS,
    "measure": _core.LOSSES,
    "tally": _core.TALLIES,
}
_loading = new_rlock()  # models that train at once may have one metric in common
_CHUNK = 1024  # lines of a batch of the small programs


class Compiled(Metric):
    """Base of metrics that the core accumulates; a subclass names its row in `row`.

    Attributes:
        op: which table the row is in: "metric", "measure" (of losses) or "tally".
        row: its name. Attributes of the row's parameters' names are what the parameters are.
        in_core: whether its arguments are such that the core can have it.
    """

    _inner: tuple[str, ...] = (
        "call", "in_core", "load", "loss", "lower", "op", "parameters", "row", "value_of", "wants",
    )  # fmt: skip
    op: str
    row: str
    in_core: bool = True
    _kinds_of_states = (State,)  # Variables in attributes are tables, such as thresholds

    @property
    def wants(self) -> str:
        """Kind of targets: "values", one per prediction; "classes" or "numbers", one per line."""
        return _TABLES[self.op][self.row].target

    def parameters(self) -> dict[str, float]:
        """Numeric parameters of the row."""
        return {name: float(getattr(self, name)) for name in _TABLES[self.op][self.row].params}

    def lower(
        self, program: Lowering, target: Value, prediction: Value, weight: Value | None = None
    ) -> Instruction:
        """Append the instruction that accumulates the metric to a program.

        Args:
            program: what it is appended to.
            target: an input of the prediction's shape, or of one number a line; see `wants`.
            prediction: what the model puts out.
            weight: an input of one number a sample, or None.
        """
        raise NotImplementedError

    def load(self, state: Sequence[float]) -> None:
        """Load the sums that the core has accumulated since the start."""
        raise NotImplementedError

    def value_of(self, state: Sequence[float]) -> Any:
        """The metric's value for a state of the core."""
        with _loading:
            self.load(state)
            return self.result()


class CompiledMetric(Mean, Compiled):
    """Base of metrics that are the mean of a row's value over lines."""

    heeds_masks = True

    op = "metric"

    def call(self, y_true: ArrayLike, y_pred: ArrayLike) -> NDArray[np.float32]:
        """The value of each sample: the row's formula over the last axis."""
        owner = type(self).__name__
        y, p = as_array(owner, "y_true", y_true), as_array(owner, "y_pred", y_pred)
        y, p = rowwise.aligned(owner, self.wants, y, p)
        return rowwise.values_of(self.op, self.row, y, p, self.parameters())

    def update_state(self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Add a batch.

        Args:
            y_true: targets.
            y_pred: predictions.
            sample_weight: an array that fits the values, or None.

        Raises:
            ValueError: shapes that do not fit.
        """
        if isinstance(y_pred, KerasTensor):
            score(self, y_true, y_pred, sample_weight)
            return
        super().update_state(self.call(y_true, y_pred), sample_weight)

    def lower(
        self, program: Lowering, target: Value, prediction: Value, weight: Value | None = None
    ) -> Instruction:
        emit = program.metric if self.op == "metric" else program.measure
        return emit(self.row, target, prediction, weight, **self.parameters())


class ElementMetric(CompiledMetric):
    """Base of metrics that are the mean of a row's value over predictions.

    On arrays each prediction is a line of its own, so that each may have its own weight.
    """

    def call(self, y_true: ArrayLike, y_pred: ArrayLike) -> NDArray[np.float32]:
        """The value of each prediction."""
        owner = type(self).__name__
        y, p = same_rank(as_array(owner, "y_true", y_true), as_array(owner, "y_pred", y_pred))
        return super().call(y[..., None], p[..., None])


class Tally(Compiled):
    """Base of metrics that are a function of sums over the whole epoch, such as AUC.

    A subclass says how the sums become those of its variables (`sums`).
    """

    _inner: tuple[str, ...] = (
        "add",
        "check_shape",
        "of_one_shape",
        "sums",
        "tables",
        "weights_for",
    )
    op = "tally"

    def tables(self) -> tuple[Variable | None, ...]:
        """The arrays that the row reads: thresholds, weights of labels."""
        return ()

    def sums(self, state: Array) -> Sequence[Array]:
        """Sums that a state of the row adds to each of the variables, in their order."""
        raise NotImplementedError

    def lower(
        self, program: Lowering, target: Value, prediction: Value, weight: Value | None = None
    ) -> Instruction:
        self.check_shape(prediction.shape)
        return program.tally(
            self.row, target, prediction, weight, self.tables(), **self.parameters()
        )

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Check the shape of one sample's predictions; ValueError if it does not fit."""

    def load(self, state: Sequence[float]) -> None:
        sums = self.sums(np.array(state))
        for variable, value in zip(self.variables, sums, strict=True):
            variable.assign(value)

    def add(self, y: Array, p: Array, weight: Array | None) -> None:
        """Add lines to the variables: targets, predictions (n, width), weights (n,) or (n, width).

        Targets are as `wants` says, or (n,) where that is one number a line.
        """
        self.check_shape(p.shape[1:])
        program = Lowering()
        target = program.input(p.shape[1:] if self.wants == "values" else (1,), role="y")
        prediction = program.input(p.shape[1:])
        arrays = [y, p]
        value = None
        if weight is not None:
            value = program.input(weight.shape[1:], role="weight")
            arrays.append(weight)
        program.tally(self.row, target, prediction, value, self.tables(), **self.parameters())
        state = np.array(eager.states(program, arrays, _CHUNK)[0])
        for variable, more in zip(self.variables, self.sums(state), strict=True):
            variable.assign_add(more)

    def of_one_shape(self, y_true: ArrayLike, y_pred: ArrayLike) -> tuple[Array, Array]:
        """Targets and predictions as float32 arrays of one shape; ValueError if they are not."""
        owner = type(self).__name__
        y, p = same_rank(as_array(owner, "y_true", y_true), as_array(owner, "y_pred", y_pred))
        if y.shape != p.shape:
            raise ValueError(
                f"{owner}: y_true must have shape {p.shape} to fit the predictions, got {y.shape}"
            )
        return y.astype(np.float32), p.astype(np.float32)

    def weights_for(self, sample_weight: Any, shape: tuple[int, ...]) -> Array | None:
        """Sample weights as an array of a shape; ValueError if they do not fit."""
        if sample_weight is None:
            return None
        owner = type(self).__name__
        weight = as_array(owner, "sample_weight", sample_weight).astype(np.float32)
        try:
            return np.broadcast_to(weight, shape)
        except ValueError:
            raise ValueError(
                f"{owner}: sample_weight must fit predictions of shape {shape}, "
                f"got shape {np.shape(sample_weight)}"
            ) from None


def is_compiled(metric: Any) -> bool:
    """Whether the core accumulates a metric; false for a subclass that overrides its methods."""
    if getattr(metric, "wants", "") == "traced":
        return True
    methods = ("update_state", "result", "reset_state", "call", "__call__")
    return (
        isinstance(metric, Compiled)
        and metric.in_core
        and metric.row in _TABLES[metric.op]
        and not overrides(type(metric), *methods)
    )


def divided(a: Any, b: Any) -> Array:
    """a / b in float64, and 0 where b is 0."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    shares = np.zeros(np.broadcast_shapes(a.shape, b.shape))
    np.divide(a, b, out=shares, where=b != 0)
    return shares
