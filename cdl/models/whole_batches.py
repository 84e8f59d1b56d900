"""whole_batches.py - WholeBatches: losses that compare the samples of a batch with each other.

The core lets samples go their own ways, so the similarity of each sample with each other one, as
contrastive losses have it, is no value of a model's program. But a batch as a whole can be the one
sample of a program of its own, which gives the exact gradient.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl import _graph
from cdl._graph import KerasTensor
from cdl._program import Program, Value
from cdl.losses import Loss
from cdl.models.slopes import Slopes

Array = NDArray[Any]


class WholeBatches:
    """The gradient of a loss of the user's in Python, where `cdl.ops` is all that it uses.

    Args:
        loss: it.
    """

    def __init__(self, loss: Loss) -> None:
        self._loss = loss
        self._made: dict[Any, Slopes | None] = {}  # by the shapes of a batch

    def gradient(self, y: Array, p: Array, weight: Array | None) -> Array | None:
        """The gradient of a batch's loss by its predictions; None if it cannot be followed.

        Args:
            y: targets.
            p: predictions.
            weight: a factor for each value, or None.
        """
        key = y.shape, p.shape
        if key not in self._made:
            self._made[key] = self._follow(y.shape, p.shape)
        slopes = self._made[key]
        if slopes is None:
            return None
        shares = self._loss.shares(np.ones(slopes.shape or ()), weight)
        if shares is None:
            return None
        arrays = [each[None].astype(np.float32) for each in (y, p)]
        gradient: Array = slopes.of(arrays, shares[None])[1][1][0]
        return gradient

    def _follow(self, y_shape: Sequence[int], p_shape: Sequence[int]) -> Slopes | None:
        specs = tuple(KerasTensor(shape, lead=0) for shape in (y_shape, p_shape))
        try:
            graph = _graph.trace(self._loss.call, specs, {}, True)
        except Exception:  # whatever it was: the loss is run on arrays then
            return None
        if not isinstance(graph.outputs, KerasTensor) or graph.losses:
            return None

        def append(program: Program, values: list[Value]) -> Value:
            whole = [program.over_rows(value, "sum") for value in values]  # of the one sample
            return program.spread(graph.lower(program, whole))

        return Slopes(append, [tuple(y_shape), tuple(p_shape)])
