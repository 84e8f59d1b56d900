"""steps.py - Steps: what a model does with one batch, to be called or overridden."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl.models.arrays import training_data
from cdl.models.machines import CompiledState


class Steps(CompiledState):
    """Mixin of models: single batches."""

    def gradients(
        self, x: Any, y: Any = None, sample_weight: Any = None
    ) -> dict[str, NDArray[np.float32]]:
        """The gradient of the loss of a batch by each trainable weight; nothing is changed.

        The loss is that of `compile`, with what regularizers add, as the next training step would
        see it: with dropout, if there is some. ::

            gradients = model.gradients(x, y)
            model.optimizer.apply_gradients(
                zip(gradients.values(), model.trainable_variables)
            )

        Args:
            x: the batch, as in `fit`.
            y: its targets.
            sample_weight: its weights.

        Returns:
            An array of each weight's shape, by the weight's `path`, in the order of
            `trainable_variables`.

        Raises:
            ValueError: before `compile`, or for data that do not fit.
        """
        compiled = self._compiled_for("gradients", trains=True)
        arrays = training_data(self, compiled, x, y, sample_weight, None, "gradients")
        assert self._machines is not None
        step: int = compiled.optimizer.step
        return self._machines.gradients(self, arrays).of(arrays, step)
