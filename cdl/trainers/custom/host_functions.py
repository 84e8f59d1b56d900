"""HostFunctions: losses and metrics of a model that are Python code.

The core computes everything else; these see the predictions, targets and weights of each batch as
the core gathered them, in the shapes in which the user gave them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl import losses, metrics
from cdl._core import Executor
from cdl._tracing.untraced import Untraced
from cdl.trainers.compile_utils import Resolved
from cdl.trainers.custom.losses import BatchLoss
from cdl.trainers.lowering import Plan, PythonInputs

Array = NDArray[Any]


class HostFunctions:
    """Losses and metrics that are Python code, and the sums of the losses.

    Args:
        resolved: all losses and metrics.
        plan: plan of the program, with their places.

    Attributes:
        losses: numbers of the losses in Python.
        metrics: the metrics in Python.
        untraced: losses and metrics that could not be traced.
        untold: untraced ones that have run, whose warning is due.
    """

    def __init__(self, resolved: Resolved, plan: Plan) -> None:
        self._losses = resolved.losses
        self._n_outputs = len(resolved.targets)
        self._python_inputs = plan.python_inputs
        self.losses = [
            i
            for i, entry in enumerate(resolved.losses)
            if entry.names is None and not losses.is_compiled(entry.loss)
        ]
        self.metrics = [each for each in resolved.metrics if not metrics.is_compiled(each.runs)]
        self._batch_losses = {i: BatchLoss(resolved.losses[i].loss) for i in self.losses}
        user_code = [resolved.losses[i].loss for i in self._batch_losses] + self.metrics
        self.untraced: list[Untraced] = [
            each.untraced for each in user_code if each.untraced is not None
        ]
        self._tried: set[int] = set()  # losses that have seen a batch
        self.untold = [each.untraced for each in self.metrics if each.untraced is not None]
        self._dtypes: Sequence[Any] = ()
        self.totals = {i: (0.0, 0.0) for i in self.losses}

    def forget(self) -> None:
        """Reset the sums of the losses."""
        self.totals = {i: (0.0, 0.0) for i in self.losses}
        for each in self.metrics:
            each.metric.reset_state()

    def learn_dtypes(self, targets: Sequence[Array | None]) -> None:
        """Record the dtypes of targets: metrics see class numbers as the user's integers."""
        self._dtypes = [None if y is None else y.dtype for y in targets]

    def losses_of(self, executor: Executor, rows: int, derivatives: bool) -> list[Array]:
        """Add up the losses of the current batch; their gradients, with `derivatives`.

        Gradients are in the order of the program's `external_grads`.
        """
        gradients: dict[int, Any] = {}  # by output
        for i in self.losses:
            entry = self._losses[i]
            y, weight = self._targets(executor, entry.output, rows)
            prediction = executor.output(entry.output, rows)
            mean = entry.loss.reduction in ("mean", "sum_over_batch_size")
            weight = _masked(weight, self._mask(executor, entry.output, rows), mean)
            # Scaled, as the core reports losses; but where the scale is 0, the loss itself.
            value = (entry.scale or 1.0) * float(np.mean(entry.loss(y, prediction, weight)))
            total, count = self.totals[i]
            self.totals[i] = total + rows * value, count + rows
            if i not in self._tried:
                self._tried.add(i)
                if entry.loss.untraced and not self._batch_losses[i].is_traced(y, prediction):
                    self.untold.append(entry.loss.untraced)
            if derivatives:
                gradient = self._batch_losses[i].gradient(y, prediction, weight)
                if gradient is None:
                    gradient = losses.numeric_gradient(entry.loss, y, prediction, weight)
                gradient = (entry.scale * gradient).astype(np.float32)
                gradients[entry.output] = gradients.get(entry.output, 0) + gradient
        return list(gradients.values())

    def update_metrics(self, executor: Executor) -> None:
        """Update the metrics by the finished batch."""
        for each in self.metrics:
            y, weight = self._targets(executor, each.output, None)
            dtype = self._dtypes[each.output]
            if dtype is not None and dtype.kind in "iub":
                y = y.astype(dtype)  # class numbers are still good to index with
            prediction = executor.output(each.output)
            counted = weight if each.weighted else None
            if each.metric.heeds_masks:
                counted = _masked(counted, self._mask(executor, each.output, None))
            if each.weighted or counted is not None:
                each.metric.update_state(y, prediction, sample_weight=counted)
            else:
                each.metric.update_state(y, prediction)

    def _of(self, output: int) -> PythonInputs:
        seen = self._python_inputs[output]
        assert seen is not None
        return seen

    def _targets(
        self, executor: Executor, output: int, rows: int | None
    ) -> tuple[Array, Array | None]:
        """y and the weights of the last batch, as the core gathered them."""
        seen = self._of(output)
        weight = None if seen.weight is None else executor.batch(seen.weight, rows)
        return executor.batch(seen.y, rows), weight

    def _mask(self, executor: Executor, output: int, rows: int | None) -> Array | None:
        """Mask of the last batch's lines of predictions, 1 or 0; None for all."""
        at = self._of(output).mask
        return None if at is None else executor.output(at, rows)[..., 0]


def _masked(weight: Array | None, mask: Array | None, mean: bool = False) -> Array | None:
    """Weights times a mask; for a `mean` the mask is scaled to average 1."""
    if mask is None:
        return weight
    if mean:
        mask = mask * (mask.size / max(float(mask.sum()), 1.0))
    if weight is None:
        return mask
    wide = weight.reshape(weight.shape + (1,) * (mask.ndim - weight.ndim))
    product: Array = wide * mask
    return product
