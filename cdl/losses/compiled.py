"""compiled.py - losses that are rows of the core's table: a class says which row, with what.

In training the core computes them; calling one computes the values of samples there too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cdl import _core
from cdl.losses import lines
from cdl.losses.loss import MEANS, Loss, as_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cdl._program import Instruction, Program, Value


class CompiledLoss(Loss):
    """Base of losses that the core has; a subclass says in `row` which one it is.

    Attributes:
        row: name in the core's table of losses. Attributes of the row's parameters' names are what
            the parameters are.
        axis: the axis of the predictions that the formula runs over.
    """

    row: str
    axis = -1

    @property
    def wants(self) -> str:
        """What the targets are: "values", one for each prediction, or "classes", one a line."""
        return _core.LOSSES[self.row].target

    def parameters(self) -> dict[str, float]:
        """The parameters of the row."""
        return {name: float(getattr(self, name)) for name in _core.LOSSES[self.row].params}

    def parameters_for(self, y: NDArray[Any]) -> dict[str, float]:
        """The parameters of the row, where they depend on the targets of the batch."""
        return self.parameters()

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss of a batch, as in `Loss`."""
        return self.reduce(self.call(y_true, y_pred), sample_weight)

    def call(self, y_true: Any, y_pred: Any) -> NDArray[np.float32]:
        """The loss of each sample: the formula over the last axis, an array of one axis less."""
        owner = type(self).__name__
        y = as_array(owner, "y_true", y_true)
        p = as_array(owner, "y_pred", y_pred)
        if self.wants == "values":
            y, p = lines.last_axis(owner, self.axis, *lines.aligned(owner, "values", y, p))
        else:
            (p,) = lines.last_axis(owner, self.axis, p)
            y, p = lines.aligned(owner, "classes", y, p)
        return lines.values_of("measure", self.row, y, p, self.parameters_for(y))

    def lower(
        self,
        program: Program,
        target: Value,
        prediction: Value,
        weight: Value | None = None,
        scale: float = 1.0,
    ) -> Instruction:
        """The instruction that computes it in training, appended to a program.

        Args:
            program: what it is appended to.
            target: an input of the prediction's shape, or of class numbers; see `wants`.
            prediction: what the model puts out.
            weight: an input of one number a sample, or None.
            scale: a factor of the whole.

        Raises:
            ValueError: a setting that only works on arrays so far.
        """
        owner = type(self).__name__
        if self.axis not in (-1, len(prediction.shape)):
            raise ValueError(f"{owner}: axis must be the last one in training, got {self.axis}")
        if self.reduction == "sum":
            reduction = "sum"
        elif self.reduction in MEANS or (
            self.reduction == "mean_with_sample_weight" and weight is None
        ):
            reduction = "mean"
        else:
            raise ValueError(
                f"{owner}: reduction must be 'sum_over_batch_size', 'mean' or 'sum' in training "
                f"{'with weights ' if weight else ''}, got {self.reduction!r}"
            )
        return program.loss(
            self.row, target, prediction, weight, scale, reduction, **self.parameters()
        )


def is_compiled(loss: Any) -> bool:
    """Whether the core computes a loss: false once a subclass changes what it does in Python."""
    return isinstance(loss, CompiledLoss) and untouched(loss, CompiledLoss, "call", "__call__")


def untouched(thing: Any, base: type, *methods: str) -> bool:
    """Whether no class of a user's own stands between `thing` and `base` with one of `methods`."""
    classes = type(thing).__mro__
    return not any(
        method in vars(cls)
        for cls in classes[: classes.index(base)]
        if not cls.__module__.startswith("cdl.")
        for method in methods
    )
