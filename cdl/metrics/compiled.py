"""compiled.py - metrics that are rows of the core's table: a class says which row, with what.

In training and evaluation the core adds them up; `update_state` has the values computed there too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cdl import _core
from cdl.losses import lines
from cdl.losses.compiled import untouched
from cdl.losses.loss import as_array
from cdl.metrics.metric import Mean

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cdl._program import Instruction, Program, Value


class CompiledMetric(Mean):
    """Base of metrics that the core has; a subclass says in `row` which one it is.

    Attributes:
        row: name in the core's table of metrics. Attributes of the row's parameters' names are
            what the parameters are.
    """

    row: str

    @property
    def wants(self) -> str:
        """What the targets are: "values", one for each prediction, or "classes", one a line."""
        return _core.METRICS[self.row].target

    def parameters(self) -> dict[str, float]:
        """The parameters of the row."""
        return {name: float(getattr(self, name)) for name in _core.METRICS[self.row].params}

    def call(self, y_true: Any, y_pred: Any) -> NDArray[np.float32]:
        """The value of each sample: the row's formula over the last axis."""
        owner = type(self).__name__
        y, p = as_array(owner, "y_true", y_true), as_array(owner, "y_pred", y_pred)
        y, p = lines.aligned(owner, self.wants, y, p)
        return lines.values_of("metric", self.row, y, p, self.parameters())

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Add a batch.

        Args:
            y_true: targets.
            y_pred: predictions.
            sample_weight: an array that fits the values, or None.

        Raises:
            ValueError: shapes that do not fit.
        """
        super().update_state(self.call(y_true, y_pred), sample_weight)

    def lower(
        self, program: Program, target: Value, prediction: Value, weight: Value | None = None
    ) -> Instruction:
        """The instruction that adds it up, appended to a program.

        Args:
            program: what it is appended to.
            target: an input of the prediction's shape, or of class numbers; see `wants`.
            prediction: what the model puts out.
            weight: an input of one number a sample, or None.
        """
        return program.metric(self.row, target, prediction, weight, **self.parameters())


def is_compiled(metric: Any) -> bool:
    """Whether the core adds a metric up: false once a subclass changes what it does in Python."""
    methods = ("update_state", "result", "reset_state", "call", "__call__")
    return (
        isinstance(metric, CompiledMetric)
        and metric.row in _core.METRICS
        and untouched(metric, CompiledMetric, *methods)
    )
