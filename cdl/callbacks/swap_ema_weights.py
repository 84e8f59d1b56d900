"""SwapEMAWeights: evaluate with averaged weights, train with the others."""

from typing import Any

from cdl._common.validation import flag
from cdl.callbacks.callback import Callback, Logs


class SwapEMAWeights(Callback):
    """Exchange the weights with their moving averages while the model is evaluated or predicts.

    For optimizers with `use_ema=True`; to be given to `fit`, `evaluate` or `predict`.

    Args:
        swap_on_epoch: whether to have the averages in the model from the end of an epoch to the
            start of the next too, for others that look at it then, such as a ModelCheckpoint that
            comes after this callback.

    Raises:
        ValueError: in the run, if the optimizer keeps no averages.
    """

    def __init__(self, swap_on_epoch: bool = False) -> None:
        super().__init__()
        self.swap_on_epoch = flag("SwapEMAWeights", "swap_on_epoch", swap_on_epoch)
        self._ema_weights_in_model = False

    def _averages(self) -> dict[Any, Any]:
        """The average of each weight."""
        optimizer = self.model.optimizer
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        several = getattr(optimizer, "optimizers", [optimizer])
        uses = any(getattr(each, "use_ema", False) for each in several)
        if not uses or not optimizer.built:
            raise ValueError(
                "SwapEMAWeights must be used when `use_ema=True` is set on the optimizer, and it "
                f"has learned: got use_ema={uses}, "
                f"built={optimizer.built}"
            )
        averages: dict[Any, Any] = optimizer.averages
        return averages

    def _swap_to(self, averages_in_model: bool) -> None:
        if averages_in_model == self._ema_weights_in_model:
            return
        for weight, average in self._averages().items():
            kept = weight.numpy()
            weight.assign(average.numpy())
            average.assign(kept)
        self._ema_weights_in_model = averages_in_model

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Train with the weights."""
        if self.swap_on_epoch:
            self._swap_to(False)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Have the averages in the model, if asked for."""
        if not self.swap_on_epoch:
            return
        self._swap_to(True)
        if epoch == self.params["epochs"] - 1:
            # The end of `fit` puts the averages into the model once more.
            for weight, average in self._averages().items():
                average.assign(weight.numpy())

    def on_test_begin(self, logs: Logs = None) -> None:
        """Evaluate with the averages."""
        self._swap_to(True)

    def on_test_end(self, logs: Logs = None) -> None:
        """Have the weights in the model again."""
        self._swap_to(False)

    def on_predict_begin(self, logs: Logs = None) -> None:
        """Predict with the averages."""
        self._swap_to(True)

    def on_predict_end(self, logs: Logs = None) -> None:
        """Have the weights in the model again."""
        self._swap_to(False)
