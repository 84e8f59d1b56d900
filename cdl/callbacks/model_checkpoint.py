"""ModelCheckpoint: save the model during training."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl._common.errors import warn
from cdl.callbacks.callback import Logs
from cdl.callbacks.counting import BatchCounter, frequency
from cdl.callbacks.monitor import MonitorCallback
from cdl.utils.display import say

if TYPE_CHECKING:
    from cdl.trainers.signature import TrainableModel


class ModelCheckpoint(MonitorCallback):
    """Save the model or its weights, after each epoch or a number of batches.

    Each file is there whole or not at all, whenever training is stopped. A missing folder is made.

    Args:
        filepath: where to: `{epoch:02d}` in it is the number of the epoch, counted from 1,
            `{batch}` likewise, and `{val_loss:.2f}` a value of the logs. It ends in `.keras` (or in
            `.h5`, `.hdf5`, Keras's older format), or in `.weights.h5` if only the weights are
            saved.
        monitor: the value to watch, if only the best is saved.
        verbose: 1 to say so.
        save_best_only: whether to save only if `monitor` has improved.
        save_weights_only: whether to save the weights and the state of the optimizer only.
        mode: "min", "max", or "auto" to tell by the metric.
        save_freq: "epoch", or after how many batches.
        initial_value_threshold: what `monitor` must improve on at first.

    Attributes:
        best: the best value so far.

    Raises:
        ValueError: another suffix or another `save_freq`.
        KeyError: in `fit`, if the path names a value that the logs do not have.
        OSError: in `fit`, if the file cannot be written.
    """

    writes = True
    _writes_to = "filepath"

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: str | int = "epoch",
        initial_value_threshold: float | None = None,
    ) -> None:
        super().__init__(monitor, mode, initial_value_threshold)
        if not isinstance(filepath, (str, os.PathLike)):
            raise TypeError(f"ModelCheckpoint: filepath must be a path, got {filepath!r}")
        self.filepath = os.fspath(filepath)
        self.verbose = verbose
        self.save_best_only = save_best_only
        self.save_weights_only = save_weights_only
        self.save_freq = frequency("ModelCheckpoint", "save_freq", save_freq)
        suffix = ".weights.h5" if save_weights_only else ".keras"
        older = () if save_weights_only else (".h5", ".hdf5")
        if not self.filepath.endswith((suffix, *older)):
            which = " when using `save_weights_only=True`" if save_weights_only else ""
            raise ValueError(
                f"ModelCheckpoint: the filepath provided must end in `{suffix}`{which}, "
                f"got {self.filepath!r}"
            )
        self._counter = BatchCounter(self.save_freq)
        self._current_epoch = 0
        self._threshold = initial_value_threshold

    def idle_hooks(self) -> set[Callable[..., Any]]:
        """Batch hooks, which are idle if epochs are saved."""
        return {ModelCheckpoint.on_train_batch_end} if self.save_freq == "epoch" else set()

    def on_train_begin(self, logs: Logs = None) -> None:
        """Reset the count of batches; the best value stays for further fits."""
        self._counter = BatchCounter(self.save_freq)

    def set_model(self, model: TrainableModel) -> None:
        """Set the model of a run; another one than before resets the best value."""
        if self._model is not None and self._model is not model:
            self.best = self._threshold
        super().set_model(model)

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Store the number of the epoch."""
        self._current_epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Save after every `save_freq` batches."""
        if self._should_save_on_batch(batch):
            self._save_model(self._current_epoch, batch, logs or {})

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Save, if epochs are saved."""
        if self.save_best_only:
            self._check_there(logs or {})
        if self.save_freq == "epoch":
            self._save_model(epoch, None, logs or {})

    # Subclasses of others, such as those of wandb, call these by Keras's names.

    def _should_save_on_batch(self, batch: int) -> bool:
        """Whether `save_freq` batches have passed since the last file."""
        return self._counter.is_due(batch)

    def _save_model(self, epoch: int, batch: int | None, logs: Logs) -> None:
        logs = logs or {}
        path = self._get_file_path(epoch, batch, logs)
        if not self._is_wanted(epoch, logs, path):
            return
        if os.path.isdir(path):
            raise OSError(f"ModelCheckpoint: filepath must not be a directory, got {path!r}")
        os.makedirs(os.path.dirname(path) or os.curdir, exist_ok=True)
        if self.save_weights_only:
            self.model.save_weights(path, overwrite=True)
        else:
            self.model.save(path, overwrite=True)
        self._say(epoch, f"finished saving model to {path}")

    def _get_file_path(self, epoch: int, batch: int | None, logs: dict[str, Any]) -> str:
        values = {**logs, "epoch": epoch + 1}
        if batch is not None:
            values.setdefault("batch", batch + 1)
        try:
            return self._placed(self.filepath).format(**values)
        except KeyError as error:
            raise KeyError(
                f"ModelCheckpoint: filepath {self.filepath!r} names {error}, but there are only "
                f"{', '.join(map(repr, values))}"
            ) from None

    def _is_wanted(self, epoch: int, logs: dict[str, Any], path: str) -> bool:
        if not self.save_best_only:
            self._say(epoch, f"saving model to {path}")
            return True
        value = logs.get(self.monitor)
        if value is None:
            warn(
                f"Can save best model only with {self.monitor} available: saving this one; "
                f"{self._there(logs)}"
            )
            return True
        if np.ndim(value) > 0:
            warn(
                "Can save best model only when `monitor` is a scalar value: saving this one. "
                f"Got {value}"
            )
            return True
        before = "None" if self.best is None else f"{self.best:.5f}"
        if not self._is_improvement(value, self.best):
            self._say(epoch, f"{self.monitor} did not improve from {before}")
            return False
        self._say(
            epoch, f"{self.monitor} improved from {before} to {value:.5f}, saving model to {path}"
        )
        self.best = value
        return True

    def _say(self, epoch: int, text: str) -> None:
        if self.verbose > 0:
            say(f"\nEpoch {epoch + 1}: {text}")
