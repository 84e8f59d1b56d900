"""history.py - History: what `fit` returns, the values of each epoch by name."""

from typing import Any

from cdl.callbacks.callback import Callback, Logs


class History(Callback):
    """Values of each epoch; every `fit` makes one, returns it, and leaves it in `model.history`.

    Attributes:
        history: name -> one float for each epoch; a validation that was skipped leaves no entry.
        epoch: the numbers of the epochs, from 0.
        params: `{"verbose", "epochs", "steps"}` of the run.
    """

    def __init__(self) -> None:
        super().__init__()
        self.history: dict[str, list[Any]] = {}
        self.epoch: list[int] = []

    def on_train_begin(self, logs: Logs = None) -> None:
        """Forget earlier epochs."""
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Append the epoch's values."""
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)
