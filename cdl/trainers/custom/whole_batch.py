"""Train functions of optimizers that search along a line, on all samples at once.

An iteration evaluates loss and gradient at several points. Other effects of a batch (moving
averages of layers, sums of metrics, the step counter) are those of the last evaluation alone.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl.distribution.ranks import check_no_own_data
from cdl.optimizers.lbfgs import Point
from cdl.trainers.custom.coupled import CoupledFunction
from cdl.trainers.data_adapter import Arrays
from cdl.trainers.train_function import TrainFunction

Vector = NDArray[np.float64]


class _Searching(TrainFunction):
    """Runner of whole batches, each of which is an iteration of its optimizer's `iterate`.

    With several processes, each computes all samples.
    """

    def __init__(self, *given: Any) -> None:
        check_no_own_data("the line search of the optimizer")
        alone: Any = (*given[:-1], None)
        super().__init__(*alone)
        owner, learns = type(self.optimizer).__name__, set(map(id, self._variables))
        if self._weight_rules.in_python:
            raise ValueError(
                f"{owner}: regularizers must be traced, since it searches along a line"
            )
        if not self._custom_loss and any(
            each.loss.in_programs == "none" for each in self.resolved.losses
        ):
            raise ValueError(
                f"{owner}: losses must have a reduction, since it searches along a line"
            )
        if learns != set(map(id, self.optimizer._python.gathered)):
            raise ValueError(f"{owner}: the weights must be those that it was built with")
        program = self.plan.program
        self._others = [each for each in program.variables if id(each) not in learns]
        # Whether the same weights have the same loss in the next iteration.
        draws = any("seed" in each.attributes for each in program.flat(True).instructions)
        self._repeats = not (draws or program.hosted or self._before_step)
        # Data, where the last iteration ended, and the values of all variables for that.
        self._last: tuple[Arrays, Point, list[NDArray[Any]]] | None = None

    def begin(self, arrays: Arrays, batch: int, order: NDArray[np.int64] | None = None) -> None:
        rows = arrays.samples if order is None else len(order)
        if batch < rows:
            raise ValueError(
                f"fit: batch_size must be left out, or hold all {rows} samples, since "
                f"{type(self.optimizer).__name__} searches along a line; got {batch}"
            )
        if self._last is not None and self._last[0] is not arrays:
            self._last = None
        super().begin(arrays, batch, order)
        self._arrays = arrays

    def release(self) -> None:
        self._last = None
        super().release()

    def once(self, arrays: Arrays) -> dict[str, Any]:
        self.reset()
        try:
            self.begin(arrays, arrays.samples)
            self.run(1, 0.0)
            return self.results()
        finally:
            self.release()

    @property
    def runs_fused(self) -> bool:
        return False

    def _train(self, steps: int, seconds: float) -> int:
        del steps, seconds
        compute = super()._train
        return self._iterate(lambda: compute(1, 0.0))

    def _step_in_halves(self) -> None:
        self._iterate(super()._step_in_halves)

    def _iterate(self, compute: Callable[[], object]) -> int:
        """Make one iteration, by what runs a batch; after an error all is as before."""
        optimizer, first = self.optimizer, self.optimizer.step
        kept = [(each, each.numpy()) for each in self._others]
        weights = self._weights()

        def evaluate(at: Vector) -> Point:
            self._assign(at)
            for variable, value in kept:
                variable.assign(value)
            self.reset()
            self.executor.begin(*self._pass)
            optimizer.step = first
            compute()
            return Point(self._weights(), self._loss(), self._gradient())

        try:
            last, others = self._last, [value for _, value in kept]
            if last is None or not all(map(np.array_equal, last[2], [weights, *others])):
                start = evaluate(weights)
            else:
                start = last[1]
            end = optimizer.iterate(evaluate, start)
        except BaseException:
            self._assign(weights)
            for variable, value in kept:
                variable.assign(value)
            self._gradient()
            optimizer.step = first
            raise
        self._last = (self._arrays, end, [end.weights, *others]) if self._repeats else None
        return 1

    def _weights(self) -> Vector:
        """Weights as a vector."""
        return _joined([each.numpy() for each in self._variables])

    def _assign(self, weights: Vector) -> None:
        start = 0
        for variable in self._variables:
            end = start + math.prod(variable.shape)
            variable.assign(weights[start:end].reshape(variable.shape))
            start = end

    def _gradient(self) -> Vector:
        """Gradient of the last batch as a vector; the core's sums are zeros then."""
        gradients = self.optimizer._python.taken()
        return _joined([gradients[each] for each in self._variables])

    def _loss(self) -> float:
        only, self._only = self._only, None
        try:
            return float(self.results()["loss"])
        finally:
            self._only = only


def _joined(arrays: list[NDArray[np.float32]]) -> Vector:
    return np.concatenate([np.zeros(0), *(each.ravel() for each in arrays)])


class WholeBatchFunction(_Searching):
    """Runner of whole batches of any model but those whose samples are coupled."""


class CoupledWholeBatchFunction(_Searching, CoupledFunction):
    """Runner of whole batches whose samples are coupled."""
