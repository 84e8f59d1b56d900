"""monitor.py - MonitorCallback: for callbacks that ask whether a value got better."""

import operator
import warnings
from typing import Any

from cdl.callbacks.callback import Callback, Logs

# Parts of names of which more is better; all else that a net reports is an error of some kind.
_RISING = ("acc", "auc", "precision", "recall", "f1", "fbeta", "r2", "iou")


class MonitorCallback(Callback):
    """Base of the callbacks that follow one value of the logs.

    Args:
        monitor: its name, such as "val_loss".
        mode: "min", "max", or "auto": the loss falls, and a metric knows its own direction.
        min_delta: the least change that counts as better.
    """

    def __init__(self, monitor: str = "val_loss", mode: str = "auto", min_delta: float = 0) -> None:
        super().__init__()
        if not isinstance(monitor, str):
            raise TypeError(f"{self._who}: monitor must be a name, got {type(monitor).__name__}")
        if not isinstance(min_delta, (int, float)):
            raise TypeError(
                f"{self._who}: min_delta must be a number, got {type(min_delta).__name__}"
            )
        if mode not in ("auto", "min", "max"):
            warnings.warn(
                f"{self._who}: mode {mode!r} is unknown, expected 'auto', 'min' or 'max'; "
                "going on with 'auto'",
                stacklevel=3,
            )
            mode = "auto"
        self.monitor = monitor
        self.mode = mode
        self.min_delta = abs(min_delta)
        self.rising: bool | None = None if mode == "auto" else mode == "max"

    @property
    def _who(self) -> str:
        return type(self).__name__

    def current(self, logs: Logs) -> Any:
        """The watched value, or None, with a warning, if the logs do not have it."""
        logs = logs or {}
        value = logs.get(self.monitor)
        if value is None:
            warnings.warn(
                f"{self._who} watches {self.monitor!r}, which is not there: the run has "
                f"{', '.join(map(repr, logs)) or 'no values'}",
                stacklevel=3,
            )
        return value

    def is_better(self, value: Any, than: Any) -> bool:
        """Whether `value` improves on `than` by more than `min_delta`."""
        if than is None:
            return True
        if self.rising is None:
            self.rising = self._find_direction()
        if self.rising:
            return bool(operator.gt(value - self.min_delta, than))
        return bool(operator.lt(value + self.min_delta, than))

    def _find_direction(self) -> bool:
        """Whether more of the watched value is better; ValueError if nothing tells."""
        name = self.monitor.removeprefix("val_")
        if name == "loss":
            return False
        for metric in getattr(self.model, "metrics", ()):
            if metric.name == name:
                direction = getattr(metric, "_direction", None)
                if direction is not None:
                    return bool(direction == "up")
                return any(part in name.lower() for part in _RISING)
        if any(part in name.lower() for part in _RISING):
            return True
        raise ValueError(
            f"{self._who}: cannot tell whether more of {self.monitor!r} is better; "
            "give mode='max' or mode='min'"
        )
