"""steps.py - Steps: what a model does with one batch, to be called or overridden."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl.models.arrays import training_data
from cdl.models.loops import in_order
from cdl.models.own_steps import flat_logs, overrides
from cdl.models.state import CompiledState
from cdl.utils.tuples import unpack_x_y_sample_weight


class Steps(CompiledState):
    """Mixin of models: what is done with one batch.

    A class that overrides `train_step`, `test_step` or `predict_step` is called batch by batch,
    with NumPy arrays in the structure in which the data were given; so is one that overrides
    `compute_metrics`. All others run their epochs within the core.
    """

    def train_step(self, data: Any) -> dict[str, Any]:
        """Train with one batch, adding to loss and metrics; to be overridden.

        Args:
            data: `(x, y)` or `(x, y, sample_weight)`, or x alone.

        Returns:
            Loss and metrics so far, by name.
        """
        return self._default_step("train", data)

    def test_step(self, data: Any) -> dict[str, Any]:
        """Evaluate one batch, adding to loss and metrics; to be overridden, like `train_step`."""
        return self._default_step("test", data)

    def predict_step(self, data: Any) -> Any:
        """The outputs for one batch; to be overridden."""
        return self(unpack_x_y_sample_weight(data)[0], training=False)  # type: ignore[operator]

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The whole loss of a batch, of arrays: that of `compile`, and what layers add.

        Args:
            x: the inputs, which the loss of `compile` does not look at.
            y: the targets.
            y_pred: what the model has put out.
            sample_weight: weights of samples.
            training: whether it is to be trained by it.

        Raises:
            ValueError: before `compile`, without any loss, or for data that do not fit.
        """
        compiled = self._compiled_for("compute_loss")
        losses = [self._by_hand(compiled).compute_loss(y, y_pred, sample_weight)]
        losses = [each for each in (*losses, *self.losses) if each is not None]
        if not losses:
            raise ValueError("compute_loss: the model must be compiled with a loss, got loss=None")
        total = losses[0]
        for each in losses[1:]:
            total = total + each
        return total

    @property
    def losses(self) -> list[Any]:
        """What layers add to the loss: numbers, of their last calls on arrays and their weights.

        Within a `compute_loss` that is traced they are symbolic.
        """
        if self._added_to_loss is not None:
            return self._added_to_loss.losses
        found: list[Any] = super().losses  # type: ignore[misc]
        return found

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        """Add a batch, of arrays, to the metrics of `compile`; the values of all metrics by name.

        Args:
            x: the inputs.
            y: the targets.
            y_pred: what the model has put out.
            sample_weight: weights of samples.
        """
        by_hand = self._by_hand(self._compiled_for("compute_metrics"))
        if by_hand.has_metrics:
            by_hand.metrics.update_state(y, y_pred, sample_weight)
        return flat_logs({each.name: each.result() for each in self._metrics_by_hand()})

    def _default_step(self, kind: str, data: Any) -> dict[str, Any]:
        """One batch through the core, as `train_on_batch` does it, without forgetting the last."""
        call = f"{kind}_step"
        x, y, weight = unpack_x_y_sample_weight(data)
        compiled = self._compiled_for(call, trains=kind == "train")
        arrays = training_data(self, compiled, x, y, weight, None, call)
        counts = overrides(type(self), "compute_metrics")
        assert self._machines is not None
        engine = self._machines.stepping(self, kind, arrays, with_metrics=not counts)
        try:
            engine.begin(arrays, arrays.samples)
            engine.run(1, 0.0)
            logs = engine.results()
            if counts:
                self._by_hand(compiled).load(logs)
                y_pred = self._packed_outputs(engine.outputs())
                logs = flat_logs(self.compute_metrics(x, y, y_pred, weight))
        finally:
            engine.release()
        return in_order(logs)

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
