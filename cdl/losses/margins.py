"""Margin losses (hinge) of labels -1 and 1, or of one-hot classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdl._common.shared_arguments import with_defaults
from cdl._ir import emit
from cdl._ir.elementwise import apply, argument
from cdl._ir.lowering import Lowering
from cdl._ir.program import Value
from cdl._ir.reverse.parts import alike
from cdl.losses.core_loss import CompiledLoss
from cdl.losses.loss import function_of, registry


class _Signed(CompiledLoss):
    """Base of losses of labels -1 and 1; a batch of only 0 and 1 is converted."""

    def targets(self, y: NDArray[Any]) -> NDArray[Any]:
        """Labels as -1 and 1."""
        return 2.0 * y - 1.0 if np.isin(y, (0, 1)).all() else y

    def lower_target(self, program: Lowering, target: Value) -> Value:
        """Labels as -1 and 1, converted batch by batch."""
        return program.emit("signs", (target,), target.shape)

    def lower_computed(self, program: Lowering, target: Value) -> Value:
        """Labels as -1 and 1, with the gradient of that conversion, which the op has not."""
        y, all_binary = argument(0), argument(1)
        is_binary = program.map(apply("equal", apply("square", y), y), [target])
        lines = emit.reduce(program, "min", is_binary, range(len(target.shape)))
        lines = lines if lines.shared else program.batch_reduce(lines, "min")
        chosen = apply("where", all_binary, 2.0 * y - 1.0, y)
        return program.map(chosen, [target, alike(program, lines, target)])


@registry.add()
@with_defaults(name="hinge")
class Hinge(_Signed):
    """Hinge loss, ``mean(max(1 - y_true y_pred, 0))`` over the last axis."""

    row = "hinge"


@function_of(Hinge)
def hinge(y_true: ArrayLike, y_pred: ArrayLike) -> NDArray[np.float32]:
    """Hinge loss, ``mean(max(1 - y_true y_pred, 0))`` over the last axis."""
    return Hinge().call(y_true, y_pred)


@registry.add()
@with_defaults(name="squared_hinge")
class SquaredHinge(_Signed):
    """Squared hinge loss, ``mean(max(1 - y_true y_pred, 0)^2)`` over the last axis."""

    row = "squared_hinge"


@function_of(SquaredHinge)
def squared_hinge(y_true: ArrayLike, y_pred: ArrayLike) -> NDArray[np.float32]:
    """Squared hinge loss, ``mean(max(1 - y_true y_pred, 0)^2)`` over the last axis."""
    return SquaredHinge().call(y_true, y_pred)


@registry.add()
@with_defaults(name="categorical_hinge")
class CategoricalHinge(CompiledLoss):
    """Multiclass hinge loss, ``max(1 + max((1 - y_true) y_pred) - sum(y_true y_pred), 0)``."""

    row = "categorical_hinge"


@function_of(CategoricalHinge)
def categorical_hinge(y_true: ArrayLike, y_pred: ArrayLike) -> NDArray[np.float32]:
    """Multiclass hinge loss, ``max(1 + max((1 - y_true) y_pred) - sum(y_true y_pred), 0)``."""
    return CategoricalHinge().call(y_true, y_pred)
