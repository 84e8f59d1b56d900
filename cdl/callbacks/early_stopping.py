"""EarlyStopping: end `fit` when a monitored value no longer improves."""

from typing import Any

from cdl._common.validation import count
from cdl.callbacks.callback import Logs
from cdl.callbacks.monitor import MonitorCallback
from cdl.utils.display import say


class EarlyStopping(MonitorCallback):
    """Stop training when `monitor` has not improved for `patience` epochs.

    Args:
        monitor: the value to watch.
        patience: epochs without improvement to wait for.
        verbose: 1 to say so when it stops.
        mode: "min", "max", or "auto" to tell by the name.
        baseline: a value that must be beaten; epochs that do not are counted as no improvement.
        restore_best_weights: whether to go back, at the end of `fit`, to the weights of the best
            epoch, whether or not training was stopped early.
        start_from_epoch: epochs at the start that are not looked at.

    Attributes:
        best: the best value so far.
        best_epoch: its epoch.
        wait: epochs since it improved.
        stopped_epoch: the epoch at which training was stopped, 0 if it was not.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, baseline, min_delta)
        self.patience = count("EarlyStopping", "patience", patience)
        self.verbose = verbose
        self.baseline = baseline
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = count("EarlyStopping", "start_from_epoch", start_from_epoch)
        self._forget()

    def _forget(self) -> None:
        self.wait = 0
        self.stopped_epoch = 0
        self.best: Any = None
        self.best_epoch = 0
        self.best_weights: list[Any] | None = None

    def on_train_begin(self, logs: Logs = None) -> None:
        """Reset the state; one EarlyStopping may serve several fits."""
        self._forget()

    def get_monitor_value(self, logs: Logs) -> Any:
        """Value to compare: `monitor` of the logs, None with a warning if they lack it.

        A subclass may return another number, such as a sum of two metrics.
        """
        return self.current(logs)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Compare the value, and stop the model when patience is exhausted."""
        value = self.get_monitor_value(logs)
        if value is None or epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self.best_weights is None:
            self._remember(epoch)

        self.wait += 1
        if self._is_improvement(value, self.best):
            self.best = value
            self._remember(epoch)
            if self.baseline is None or self._is_improvement(value, self.baseline):
                self.wait = 0
            return
        if self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def _remember(self, epoch: int) -> None:
        self.best_epoch = epoch
        if self.restore_best_weights:
            self.best_weights = self.model.get_weights()

    def on_train_end(self, logs: Logs = None) -> None:
        """Restore the best weights, with `restore_best_weights`."""
        if self.stopped_epoch > 0 and self.verbose > 0:
            say(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.restore_best_weights and self.best_weights is not None:
            if self.verbose > 0:
                say(f"Restoring the weights of the best epoch: {self.best_epoch + 1}.")
            self.model.set_weights(self.best_weights)
