"""Losses of the core's table; each class names its row.

In training the core computes them; calling one computes the values of samples there too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdl import _core
from cdl._common.overriding import is_users, overrides
from cdl._ir.emit import permute
from cdl._ir.lowering import Lowering
from cdl._ir.program import Instruction, Value
from cdl._tracing import graph
from cdl._tracing.variable import in_traced_code
from cdl._variables.stepping import whole_if_own
from cdl.losses import rowwise, symbolic
from cdl.losses.loss import MEANS, Loss, as_array


class CompiledLoss(Loss):
    """Base of losses that the core computes; a subclass names its row in `row`.

    Attributes:
        row: name in the core's table of losses. Attributes of the row's parameters' names are what
            the parameters are.
        axis: the axis of the predictions that the formula runs over.
        ignore_class: a class number whose lines have loss 0 and do not count, or None.
        by_formula: whether `call` computes it in functions of `cdl.ops`, since with these arguments
            no row does; then it is compiled as a loss of a user's own.
    """

    _inner: tuple[str, ...] = (
        "by_formula", "lines", "lower", "lower_computed", "lower_target", "operands",
        "parameters", "row", "targets", "wants",
    )  # fmt: skip
    row: str
    axis = -1
    ignore_class: int | None = None
    by_formula = False

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name, reduction, dtype)

    @property
    def wants(self) -> str:
        """Kind of targets: "values", one per prediction, or "classes", one per line."""
        return _core.LOSSES[self.row].target

    def parameters(self) -> dict[str, float]:
        """Numeric parameters of the row."""
        return {name: float(getattr(self, name)) for name in _core.LOSSES[self.row].params}

    def targets(self, y: NDArray[Any]) -> NDArray[Any]:
        """The targets of a batch as the row takes them; `lower_target` is the same in a program."""
        return y

    @whole_if_own
    def __call__(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Any:
        """Loss of a batch: `call`, weighted and reduced."""
        return self.in_dtype(self.reduce(self.call(y_true, y_pred), sample_weight))

    @whole_if_own
    def call(self, y_true: ArrayLike, y_pred: ArrayLike) -> NDArray[np.float32] | Any:
        """The loss of each sample: the formula over the last axis, an array of one axis less."""
        y_true, y_pred = in_traced_code((y_true, y_pred))
        if graph.tensors_in((y_true, y_pred)):
            return symbolic.lines_of(self, y_true, y_pred)
        owner = type(self).__name__
        y = as_array(owner, "y_true", y_true)
        p = as_array(owner, "y_pred", y_pred)
        if self.wants == "values":
            y, p = rowwise.last_axis(owner, self.axis, *rowwise.aligned(owner, "values", y, p))
        else:
            (p,) = rowwise.last_axis(owner, self.axis, p)
            y, p = rowwise.aligned(owner, "classes", y, p)
        return rowwise.values_of("measure", self.row, self.targets(y), p, self.parameters())

    def lower(
        self,
        program: Lowering,
        target: Value,
        prediction: Value,
        weight: Value | None = None,
        scale: float = 1.0,
        mask: Value | None = None,
    ) -> Instruction:
        """The instruction that computes it in training, appended to a program.

        A loss that is not reduced shows its mean, and has the gradient of its sum.

        Args:
            program: what it is appended to.
            target: an input of the prediction's shape, or of class numbers; see `wants`.
            prediction: what the model puts out.
            weight: an input of one number a sample, or one a line, or None.
            scale: a factor of the whole.
            mask: a value of one number a line, 0 where the line is not to count, or None.

        Raises:
            ValueError: an axis that predictions do not have, or that of the batch.
        """
        if self.wants == "classes" and self._place(prediction) != len(prediction.shape):
            raise ValueError(
                f"{type(self).__name__}: axis must be the last one in training, got {self.axis}"
            )
        weight = self._mask_weights(program, target, prediction, weight, mask)
        target, prediction = self.operands(program, target, prediction)
        return program.loss(
            self.row, target, prediction, weight, scale, self.in_programs, **self.parameters()
        )

    def operands(self, program: Lowering, target: Value, prediction: Value) -> tuple[Value, Value]:
        """Targets and predictions as the row takes them: `axis` last, targets as in `targets`."""
        place, rank = self._place(prediction), len(prediction.shape)
        if place != rank:
            order = [*_without(range(rank), place), place - 1]
            target, prediction = (permute(program, v, order) for v in (target, prediction))
        return self.lower_target(program, target), prediction

    def lower_target(self, program: Lowering, target: Value) -> Value:
        """The targets of a batch as the row takes them; `targets` is the same on arrays."""
        return target

    def lower_computed(self, program: Lowering, target: Value) -> Value:
        """The targets as `lower_target` gives them, of a value that a gradient reaches."""
        return self.lower_target(program, target)

    def lines(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The shape of a sample's losses, given that of its predictions."""
        return _without(shape, self._place_in(len(shape))) if shape else ()

    def _place(self, prediction: Value) -> int:
        """The axis, counted from 1 for the first one of a sample."""
        return self._place_in(len(prediction.shape))

    def _place_in(self, rank: int) -> int:
        place = self.axis + rank + 1 if self.axis < 0 else self.axis
        if not 1 <= place <= rank:
            raise ValueError(
                f"{type(self).__name__}: axis must be one of a sample's {rank} axes, from 1 to "
                f"{rank} or from -{rank} to -1, got {self.axis}"
            )
        return place

    def _mask_weights(
        self,
        program: Lowering,
        target: Value,
        prediction: Value,
        weight: Value | None,
        mask: Value | None,
    ) -> Value | None:
        """Weights of lines for the mean of `reduction`; None for weights of 1."""
        classes = target if self.ignore_class is not None else None
        read = {1: weight, 2: mask, 4: classes}
        given = {bit: value for bit, value in read.items() if value is not None}
        by_weight = self.reduction == "mean_with_sample_weight"
        if not given or (list(given) == [1] and not by_weight):
            return weight
        mean = 2 if by_weight else int(self.reduction in MEANS)
        ignored = int(self.ignore_class or 0)
        shape = (*self.lines(prediction.shape), 1)
        reads = sum(given)
        return program.emit(
            "mask_weights", tuple(given.values()), shape, reads=reads, ignored=ignored, mean=mean
        )


def _without(axes: Sequence[int], place: int) -> tuple[int, ...]:
    """All axes, or their sizes, but number `place`, counted from 1."""
    return (*axes[: place - 1], *axes[place:])


def is_compiled(loss: Any) -> bool:
    """Whether the core computes a loss; false for a subclass that overrides its methods."""
    if getattr(loss, "wants", "") == "traced":
        return True
    if not isinstance(loss, CompiledLoss) or loss.by_formula:
        return False
    return not overrides(type(loss), "call", "__call__")


def is_over_samples(loss: Any, rank: int) -> bool:
    """Whether a loss of the core's table runs over the samples of predictions.

    Args:
        rank: the number of axes of the predictions, that of the samples included.
    """
    if not is_compiled(loss) or not isinstance(loss, CompiledLoss) or loss.wants != "values":
        return False
    return loss.axis in (0, -rank) and rank > 1


def overrides_none(thing: Any, base: type, *methods: str) -> bool:
    """Whether no custom class between `thing` and `base` overrides one of `methods`."""
    classes = type(thing).__mro__
    return not any(
        method in vars(cls)
        for cls in classes[: classes.index(base)]
        if is_users(cls)
        for method in methods
    )
