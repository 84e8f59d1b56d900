"""Callback: the base of callbacks, with a hook for each event."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from cdl._common.errors import Hinting

if TYPE_CHECKING:
    from cdl.models.model import Model
    from cdl.trainers.signature import TrainableModel

_JOB = re.compile(r"\{job(?::([^{}]*))?\}")  # in a path, with a format or without
Logs = dict[str, Any] | None


class Callback(Hinting):
    """Base of callbacks: hooks that are called during a run, all empty here.

    `epoch` and `batch` count from 0. `logs` holds the values so far, by name: running means over
    the epoch at the end of a batch, and all of the epoch's values (with `val_...`) at its end. What
    a callback adds to the `logs` of `on_epoch_end` gets into the History.

    A net trains fastest when no batch hook is overridden: the compiled core then runs the whole
    epoch by itself, and a class that overrides one brings it back to Python for each batch.

    Attributes:
        writes: a class attribute: whether it writes files or lines, so that of several ranks
            (`cdl.distribution`) the first alone is to call it.
        model: the model that is running.
        params: `{"verbose", "epochs", "steps"}` of the run, and of a job of `train_many` its
            number, "job".
    """

    writes = False
    _inner: tuple[str, ...] = ("idle_hooks", "writes")
    _writes_to: str = ""  # the attribute with the path of the file or folder that it writes

    _of_one_fit = False  # whether two fits at once would overwrite what it keeps
    _thread: int | None = None  # that runs a fit with it

    def __init__(self) -> None:
        self.params: dict[str, Any] = {}
        self._model: TrainableModel | None = None

    @property
    def model(self) -> Model:
        """Model of this callback's run; None before the first."""
        return cast("Model", getattr(self, "_model", None))

    def set_params(self, params: dict[str, Any]) -> None:
        """Called at the start of a run with its `params`."""
        self.params = params

    def set_model(self, model: TrainableModel) -> None:
        """Called at the start of a run with the model."""
        self._model = model

    def _placed(self, path: str) -> str:
        """A path with `{job}` replaced by the number of the job of `train_many`."""
        number = getattr(self, "params", {}).get("job")
        if number is None:
            return path
        return _JOB.sub(lambda found: format(number, found[1] or ""), path)

    def _let_go(self, trained: bool) -> None:
        """Release files and the like: called when a run is over, even by an error.

        Args:
            trained: whether it was a `fit`, and not one of the runs that may be within it.
        """

    def idle_hooks(self) -> set[Callable[..., Any]]:
        """Functions of the class that are batch hooks but do nothing in this object.

        They do not bring the run back to Python at each batch.
        """
        return set()

    def on_train_begin(self, logs: Logs = None) -> None:
        """Called at the start of `fit`."""

    def on_train_end(self, logs: Logs = None) -> None:
        """Called at the end of `fit` with the logs of the last epoch."""

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Called at the start of an epoch."""

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Called at the end of an epoch, after its validation."""

    def on_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Called before a training batch, unless `on_train_batch_begin` is overridden."""

    def on_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Called after a training batch, unless `on_train_batch_end` is overridden."""

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Called before a training batch."""
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Called after a training batch."""
        self.on_batch_end(batch, logs)

    def on_test_begin(self, logs: Logs = None) -> None:
        """Called at the start of `evaluate`, and of each validation in `fit`."""

    def on_test_end(self, logs: Logs = None) -> None:
        """Called at the end of `evaluate`, and of each validation in `fit`."""

    def on_test_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Called before a batch of `evaluate` or of a validation."""

    def on_test_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Called after a batch of `evaluate` or of a validation."""

    def on_predict_begin(self, logs: Logs = None) -> None:
        """Called at the start of `predict`."""

    def on_predict_end(self, logs: Logs = None) -> None:
        """Called at the end of `predict`."""

    def on_predict_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Called before a batch of `predict`."""

    def on_predict_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Called after a batch of `predict`; `logs["outputs"]` holds its predictions."""
