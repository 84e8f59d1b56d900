"""familiar.py - private names of Keras's optimizers that its tests and other libraries call.

Nothing in cdl does: the core clips, averages and adds up by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cdl._variable import Variable
from cdl.optimizers.written import Written


class Familiar(Written):
    """The part of an optimizer that has these names."""

    @property
    def _trainable_variables(self) -> list[Variable]:
        return self._learning

    @property
    def _model_variables_moving_average(self) -> list[Variable]:
        return list(self._averages.values())

    @property
    def _accumulated_gradients(self) -> list[Variable]:
        return list(self._accumulators.values())

    def _clip_gradients(self, grads: Sequence[Any]) -> list[Any]:
        """Gradients as `clipnorm`, `global_clipnorm` or `clipvalue` leaves them; None stays."""
        arrays = [None if each is None else np.asarray(each, np.float32) for each in grads]
        given = [each for each in arrays if each is not None]
        total = np.sqrt(np.float32(sum(float(np.square(each).sum()) for each in given)))

        def clipped(array: Any) -> Any:
            if self.clipnorm:
                norm = np.sqrt(np.square(array).sum())
                return array * np.float32(self.clipnorm) / max(norm, np.float32(self.clipnorm))
            if self.global_clipnorm:
                limit = np.float32(self.global_clipnorm)
                return array * (limit / max(total, limit))
            return np.clip(array, -self.clipvalue, self.clipvalue) if self.clipvalue else array

        return [None if array is None else clipped(array) for array in arrays]
