"""Calls of cdl's losses on symbolic values, as in a custom loss."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from cdl import _core
from cdl._common.naming import unique
from cdl._ir.reverse.loss_lines import by_formula
from cdl._tracing import graph
from cdl._tracing.between_inputs import between_inputs, is_tried, record_coupled
from cdl._tracing.graph import KerasTensor, operator_of, symbolic_error
from cdl._tracing.joining import aligned

if TYPE_CHECKING:
    from cdl._ir.lowering import Lowering
    from cdl._ir.program import Value
    from cdl.losses.core_loss import CompiledLoss

# Rows whose targets are class numbers, and those that say the same of one-hot targets.
_DENSE = {
    "sparse_categorical_crossentropy": "categorical_crossentropy",
    "softmax_sparse_categorical_crossentropy": "softmax_categorical_crossentropy",
}

# Rows that are means of the elements of a line.
_MEANS = (
    "binary_crossentropy", "sigmoid_binary_crossentropy", "binary_focal_crossentropy",
    "sigmoid_binary_focal_crossentropy", "hinge", "huber", "log_cosh", "mean_absolute_error",
    "mean_absolute_percentage_error", "mean_squared_error", "mean_squared_logarithmic_error",
    "poisson", "squared_hinge",
)  # fmt: skip


class LinesOf:
    """Node operation: the losses of lines.

    Args:
        loss: says which row, with what.
    """

    def __init__(self, loss: CompiledLoss) -> None:
        self.loss = loss
        self.name = unique(loss.name)
        self._inbound_nodes: list[graph.Node] = []

    def __call__(self, y_true: Any, y_pred: Any) -> Any:
        """Record the losses of other lines; see `lines_of`."""
        loss, given = self.loss, (y_true, y_pred)
        if between_inputs() and is_tried(given, {}):
            return record_coupled(self, self, given, {})
        row = loss.row
        if loss.wants != "values" and row not in _DENSE:
            raise ValueError(f"{type(loss).__name__} cannot be called on symbolic values")
        y, p = y_true, y_pred
        classes = row in _DENSE
        shape = p.shape[:-1] if classes and len(y.shape) < len(p.shape) else p.shape
        if classes and len(y.shape) == len(p.shape):
            shape = (*p.shape[:-1], 1)
        if not classes and len(y.shape) == len(p.shape) - 1 and p.shape[-1] == 1:
            y = operator_of("expand_dims")(y, -1)
        if len(y.shape) != len(shape) or any(
            None not in pair and pair[0] != pair[1] for pair in zip(y.shape, shape, strict=True)
        ):
            raise ValueError(
                f"{type(loss).__name__}: y_true must have shape {shape} to fit the predictions, "
                f"got {y.shape}"
            )
        y, p = aligned(y, p)
        if p.rows_per_sample and p.batch_axis:
            raise symbolic_error(
                f"{type(loss).__name__} of a symbolic value", "the samples must be along axis 0"
            )
        if isinstance(y, np.ndarray) and len(y) > 1 and p.rows_per_sample:
            raise ValueError(
                f"{type(loss).__name__}: y_true has {len(y)} rows, where predictions are traced "
                "sample by sample: hand it in as predictions' inputs are, as an argument"
            )
        result = KerasTensor(p.shape[:-1], rows_per_sample=p.rows_per_sample)
        return graph.record(self, (y, p), {}, result)

    def append_to(self, program: Lowering, target: Any, prediction: Any) -> Value:
        """Append the instruction that computes them; either may be an array."""
        target, prediction = (
            program.constant(x) if isinstance(x, np.ndarray) else x for x in (target, prediction)
        )
        if not (target.shared and prediction.shared):
            target = program.broadcast_batch(target)
            prediction = program.broadcast_batch(prediction)
        loss, row, width = self.loss, self.loss.row, prediction.shape[-1]
        if row in _DENSE:
            row = _DENSE[row]
            lines = prediction.shape[:-1]
            if target.shape != lines:
                target = program.emit("reshape", (target,), lines)
            target = program.emit("encode", (target,), (*lines, width), one_hot=1, counts=0)
        elif target.shape != prediction.shape:
            target = program.emit("reshape", (target,), prediction.shape)
        learns = _has_gradient(program, target)
        if learns:
            target = loss.lower_computed(program, target)
        else:
            target, prediction = loss.operands(program, target, prediction)
        lines = prediction.shape[:-1]
        shape = (*lines, 1) if lines else ()
        parameters: Any = loss.parameters()
        if row != loss.row:
            parameters = dict.fromkeys(_core.LOSSES[row].params, 0.0)  # label_smoothing

        if learns:  # the op differentiates by predictions alone
            return by_formula(program, row, prediction, target, parameters)
        found = program.emit("line_loss", (prediction, target), shape, kind=row, **parameters)
        return program.emit("reshape", (found,), lines) if lines else found


def _has_gradient(program: Lowering, value: Value) -> bool:
    """Whether a value has a gradient by a weight that learns, or by an input of a derivative."""
    learning = program.recorder.learning
    makers = {id(y): each for each in program.instructions for y in each.outputs}
    waiting, seen = [value], set()
    while waiting:
        each = makers.get(id(waiting.pop()))
        if each is None or each.op == "stop" or id(each) in seen:
            continue
        seen.add(id(each))
        if each.op == "probe" or any(
            weight is not None
            and (weight.trainable if learning is None else id(weight) in learning)
            for weight in each.params
        ):
            return True
        waiting += [v for k, v in enumerate(each.inputs) if each.op == "loop" or each.gives(k)]
    return False


def lines_of(loss: CompiledLoss, y_true: Any, y_pred: Any) -> KerasTensor:
    """The symbolic losses of lines, of the shape of `y_pred` without its last axis.

    Raises:
        ValueError: shapes that do not fit, or a loss that cannot be a part of another.
    """
    if isinstance(y_true, (list, tuple)):
        y_true = np.asarray(y_true)
    if loss.wants == "values":
        y_true, y_pred = _spread(y_true, y_pred), _spread(y_pred, y_true)
    if isinstance(y_pred, np.ndarray) and _are_of_size(y_true.shape, y_pred.shape):
        # The samples are those of y_true.
        y_pred = operator_of("add")(operator_of("zeros_like")(y_true), y_pred)
    axis = loss.axis % len(y_pred.shape)
    if loss.axis != -1 and loss.wants == "values":
        loss = copy.copy(loss)
        loss.axis = -1
    if axis != len(y_pred.shape) - 1 and loss.wants == "values":
        move = operator_of("moveaxis")
        y_true, y_pred = move(y_true, axis, -1), move(y_pred, axis, -1)
    found: KerasTensor
    samples = any(getattr(each, "rows_per_sample", 0) for each in (y_true, y_pred))
    if samples and len(y_pred.shape) == 1:  # one prediction a sample: all samples are one line
        if loss.row not in _MEANS:
            raise ValueError(
                f"{type(loss).__name__}: y_pred must have an axis beside that of the samples, got "
                f"shape {tuple(np.shape(y_pred))}"
            )
        widen = operator_of("expand_dims")
        found = operator_of("mean")(LinesOf(loss)(widen(y_true, -1), widen(y_pred, -1)))
        return found
    found = LinesOf(loss)(y_true, y_pred)
    return found


def _spread(one: Any, like: Any) -> Any:
    """One number as an array of as many as another has; anything else as it is."""
    of, to = (e.shape if isinstance(e, KerasTensor) else np.shape(e) for e in (one, like))
    if of not in ((), (1,)) or not to:
        return one
    return operator_of("add")(operator_of("zeros_like")(like), one)


def _are_of_size(shape: Sequence[int | None], known: Sequence[int]) -> bool:
    """Whether a shape with one open size at most may be a known one."""
    sizes = [*shape]
    fits = all(a in (None, b) for a, b in zip(sizes, known, strict=False))
    return fits and len(sizes) == len(known) and sizes.count(None) < 2


def reduced(reduction: str | None, values: ArrayLike, sample_weight: Any) -> Any:
    """Symbolic losses, weighted and made one number as `Loss.reduce` does it with arrays."""
    mean, total = operator_of("mean"), operator_of("sum")
    if sample_weight is not None:
        values, sample_weight = _of_one_rank(values, sample_weight)
        values = values * sample_weight
    if reduction in (None, "none"):
        return values
    if reduction == "sum":
        return total(values)
    if reduction == "mean_with_sample_weight" and sample_weight is not None:
        return total(values) / total(sample_weight)
    return mean(values)


def _of_one_rank(values: Any, weight: Any) -> tuple[Any, Any]:
    """Losses and weights with as many axes, where one of them has a last axis of size 1 more.

    As in Keras that axis goes, or the other gets one if it has but the axis of the samples.
    """
    expand, squeeze = operator_of("expand_dims"), operator_of("squeeze")
    axes, more = len(np.shape(weight)), len(np.shape(weight)) - len(np.shape(values))
    if more == 1 and np.shape(weight)[-1] == 1:
        return (expand(values, -1), weight) if axes == 2 else (values, squeeze(weight, -1))
    if more == -1 and np.shape(values)[-1] == 1:
        return (values, expand(weight, -1)) if axes == 1 else (squeeze(values, -1), weight)
    return values, weight
