"""CTC loss of label sequences that are not aligned with the predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdl import _core
from cdl._common.shared_arguments import with_defaults
from cdl._ir.instruction import REDUCTIONS
from cdl._ir.lowering import Lowering
from cdl._ir.program import Instruction, Value
from cdl._tracing import eager
from cdl._tracing.keras_tensor import KerasTensor
from cdl._tracing.symbolic import operator_of
from cdl.losses.core_loss import CompiledLoss
from cdl.losses.loss import as_array, function_of, registry


@registry.add()
@with_defaults(name="ctc")
class CTC(CompiledLoss):
    """Connectionist temporal classification, ``-log P(labels)`` (Graves et al., 2006).

    P is the sum of the probabilities of all ways to say the labels in their order within the
    steps, each for one step or more, with blanks anywhere between them and at least one between
    equal ones. Class 0 is the blank. Labels that cannot be said in so few steps have a loss of
    some 1e5.

    Targets have the shape (n, labels) and are class numbers, padded by 0 at the end; predictions
    are raw scores (n, steps, classes).

    Raises:
        ValueError: when called, for shapes or classes that do not fit.
    """

    @property
    def wants(self) -> str:
        """Kind of targets: "labels", a sequence of class numbers per sample."""
        return "labels"

    def call(self, y_true: ArrayLike, y_pred: ArrayLike) -> NDArray[np.float32]:
        """The loss of each sample."""
        if isinstance(y_true, KerasTensor) or isinstance(y_pred, KerasTensor):
            traced: NDArray[np.float32] = _symbolic(y_true, y_pred)
            return traced
        y, p = as_array("CTC", "y_true", y_true), as_array("CTC", "y_pred", y_pred)
        if y.ndim != 2:
            raise ValueError(
                f"CTC: y_true must have shape (n, labels), class numbers padded by 0, got {y.shape}"
            )
        if p.ndim != 3:
            raise ValueError(f"CTC: y_pred must have shape (n, steps, classes), got {p.shape}")
        if len(y) != len(p):
            raise ValueError(f"CTC: y_true must have as many rows as y_pred, got {len(y)}")
        if not p.size or not y.size:
            raise ValueError(f"CTC: y_true and y_pred must not be empty, got {y.shape}, {p.shape}")
        wrong = _core.check_classes(y, p.shape[-1])
        if wrong >= 0:
            raise ValueError(
                f"CTC: y_true must be class numbers from 0 to {p.shape[-1] - 1}, "
                f"got {y.reshape(-1)[wrong]} at position {wrong}"
            )
        program = Lowering()
        target = program.input(y.shape[1:], "int32", role="y")
        scores = program.input(p.shape[1:])
        values = (scores, target)
        program.output(program.emit("ctc", values, (), scale=1.0, reduction=0))
        losses: NDArray[np.float32] = eager.run(program, [y, p])
        return losses

    def lower(
        self,
        program: Lowering,
        target: Value,
        prediction: Value,
        weight: Value | None = None,
        scale: float = 1.0,
        mask: Value | None = None,
    ) -> Instruction:
        """The instruction that computes it in training; see `CompiledLoss.lower`.

        Raises:
            ValueError: predictions that are no sequence, or that have a mask.
        """
        if len(prediction.shape) != 2:
            raise ValueError(
                "CTC: the model's output must have shape (n, steps, classes), got "
                f"(n, {', '.join(map(str, prediction.shape))})"
            )
        if mask is not None:
            raise ValueError("CTC: the model's output must have no mask: all its steps count")
        if self.reduction == "mean_with_sample_weight" and weight is not None:
            weight = program.emit("mask_weights", (weight,), (1,), reads=1, ignored=0, mean=2)
        inputs = (prediction, target) if weight is None else (prediction, target, weight)
        reduction = REDUCTIONS.index(self.in_programs)
        return program.score("ctc", inputs, scale=float(scale), reduction=reduction)

    def lines(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Shape of a sample's losses: one number."""
        del shape
        return ()


def _symbolic(y_true: Any, y_pred: Any) -> Any:
    """The loss of each sample in code that is traced, by `cdl.ops.ctc_loss`."""
    counts = operator_of("sum")(operator_of("not_equal")(y_true, 0), axis=-1)
    steps = operator_of("full_like")(counts, y_pred.shape[1])
    return operator_of("ctc_loss")(y_true, y_pred, counts, steps)


@function_of(CTC)
def ctc(y_true: ArrayLike, y_pred: ArrayLike) -> NDArray[np.float32]:
    """Connectionist temporal classification loss of each sample, ``-log P(labels)``.

    Args:
        y_true: labels (n, labels), class numbers padded by 0.
        y_pred: raw scores (n, steps, classes).
    """
    return CTC().call(y_true, y_pred)
