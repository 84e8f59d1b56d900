"""ProgbarLogger: progress of a run, as a bar or as one line per epoch."""

from collections.abc import Callable, Mapping
from typing import Any

from cdl._common import clock
from cdl.callbacks.callback import Callback, Logs
from cdl.utils import display
from cdl.utils.job import job


class ProgbarLogger(Callback):
    """Show progress and values of a run: `verbose=1` a bar, `verbose=2` one line per epoch.

    Where stdout is neither a terminal nor a notebook the bar becomes one line an epoch too. It is
    told of the progress by time slices, so it does not bring the run back to Python at each batch.
    """

    writes = True
    _inner: tuple[str, ...] = ("close", "on_progress")

    def __init__(self) -> None:
        super().__init__()
        self._display: display.Display | None = None
        self._as_bar = False
        self._in_fit = False
        self._validating = False
        self._prefix = ""
        self._front = ""  # of all lines, in a job of `train_many`
        self._open()

    def _open(self) -> None:
        self._done = 0
        self._start = self._drawn = clock.now()

    def _choose_display(self) -> display.Display:
        verbose = self.params.get("verbose", "auto")
        self._front = job.front
        self._as_bar = verbose != 2 and display.is_watched() and not self._front
        return display.display() if self._as_bar else display.PlainDisplay()

    @property
    def _target(self) -> int | None:
        steps: int | None = self.params.get("steps")
        return steps

    def on_train_begin(self, logs: Logs = None) -> None:
        """Choose a display for the kind of stdout."""
        self._in_fit = True
        self._display = self._choose_display()

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Print the number of the epoch, if there are several."""
        epochs = self.params.get("epochs") or 1
        name = f"Epoch {epoch + 1}/{epochs}"
        self._prefix = ""
        if epochs > 1 and self._display is not None:
            if self._as_bar:
                self._display.say(name)
            else:
                self._prefix = f"{name} - "
        self._open()

    def on_progress(self, done: int, logs: Callable[[], dict[str, float]]) -> None:
        """Update the line after a time slice; `done` counts batches of this pass."""
        if self._validating:
            return
        self._done = done
        if not self._as_bar or self._display is None:
            return
        now = clock.now()
        if now - self._drawn >= display.INTERVAL:
            self._drawn = now
            self._display.draw(self._line(done, self._target, logs()))

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Print the final line of the epoch."""
        self._finish(logs)

    def on_train_end(self, logs: Logs = None) -> None:
        """Restore the screen at the end."""
        self.close()

    def on_test_begin(self, logs: Logs = None) -> None:
        """Begin a line for `evaluate`; a validation has none."""
        self._validating = self._in_fit
        self._begin_alone()

    def on_test_end(self, logs: Logs = None) -> None:
        """Print the final line of an evaluation."""
        if not self._in_fit:
            self._finish(logs)
            self.close()
        self._validating = False

    def on_predict_begin(self, logs: Logs = None) -> None:
        """Begin a line for `predict`."""
        self._begin_alone()

    def on_predict_end(self, logs: Logs = None) -> None:
        """Print the final line; in a file only if it was asked for."""
        if self._as_bar or self.params.get("verbose", "auto") != "auto":
            self._finish({})
        self.close()

    def close(self) -> None:
        """Restore the screen, whatever happened."""
        self._in_fit = self._validating = False
        if self._display is not None:
            self._display.close()

    def _begin_alone(self) -> None:
        if not self._in_fit:
            self._prefix = ""
            self._display = self._choose_display()
            self._open()

    def _finish(self, logs: dict[str, Any] | None) -> None:
        if self._display is not None:
            target = self._target if self._target is not None else self._done
            pieces = self._line(self._done, target, logs or {})
            front = self._front + self._prefix
            self._display.finish([(front, ""), *pieces] if front else pieces)

    def _line(self, done: int, target: int | None, logs: Mapping[str, Any]) -> display.Pieces:
        """Line of the current state; in a bar the loss is first, as room may be short."""
        if self._as_bar and "loss" in logs:
            logs = {"loss": logs["loss"], **logs}
        return display.line(done, target, self._start, logs, bar=self._as_bar)
