"""MonitorCallback: for callbacks that ask whether a value got better."""

from typing import Any

import numpy as np

from cdl._common.errors import warn
from cdl._common.validation import one_of
from cdl._tracing.graph import operator_of
from cdl.callbacks.callback import Callback, Logs


class MonitorCallback(Callback):
    """Base of the callbacks that follow one value of the logs.

    Args:
        monitor: its name, such as "val_loss".
        mode: "min", "max", or "auto": the loss falls, and a metric knows its own direction.
        baseline: the value to improve on at first, None for any.
        min_delta: the least change that counts as better.

    Attributes:
        best: the best value so far.
        monitor_op: `cdl.ops.greater` or `cdl.ops.less`, None until the direction is known.
    """

    _of_one_fit = True

    def __init__(
        self,
        monitor: str = "val_loss",
        mode: str = "auto",
        baseline: float | None = None,
        min_delta: float = 0,
    ) -> None:
        super().__init__()
        if not isinstance(monitor, str):
            raise TypeError(f"{self._who}: monitor must be a name, got {type(monitor).__name__}")
        for name, value in (("baseline", baseline or 0), ("min_delta", min_delta)):
            if not isinstance(value, (int, float, np.number)):
                raise TypeError(f"{self._who}: {name} must be a number, got {type(value).__name__}")
        self.monitor = monitor
        self.mode = one_of(self._who, "mode", mode, ("auto", "min", "max"))
        self.best: Any = baseline
        self.min_delta = abs(min_delta)
        self.monitor_op: Any = None

    @property
    def _who(self) -> str:
        return type(self).__name__

    def current(self, logs: Logs) -> Any:
        """The watched value, or None, with a warning, if the logs do not have it."""
        self._set_monitor_op()
        logs = logs or {}
        value = logs.get(self.monitor)
        if value is None:
            warn(
                f"{self._who} watches {self.monitor!r}, which is not there: the run has "
                f"{', '.join(map(repr, logs)) or 'no values'}"
            )
        return value

    def _is_improvement(self, monitor_value: Any, reference_value: Any) -> bool:
        """Whether a value improves on another one, None for any, by more than `min_delta`."""
        if reference_value is None:
            return True
        self._set_monitor_op()
        rises = self.monitor_op in (operator_of("greater"), np.greater)
        delta = self.min_delta if rises else -self.min_delta
        return bool(self.monitor_op(monitor_value - delta, reference_value))

    def _set_monitor_op(self) -> None:
        """Find the direction, once; ValueError if nothing tells it."""
        if self.monitor_op is None:
            rising = self._rises() if self.mode == "auto" else self.mode == "max"
            self.monitor_op = operator_of("greater" if rising else "less")

    def _rises(self) -> bool:
        name = self.monitor.removeprefix("val_")
        if name == "loss":
            return False
        listed = getattr(self.model, "metrics", ())
        for metric in [one for each in listed for one in getattr(each, "metrics", [each])]:
            direction = getattr(metric, "_direction", None)
            if metric.name == name and direction is not None:
                return bool(direction == "up")
        raise ValueError(
            f"{self._who}: cannot tell whether more of {self.monitor!r} is better; "
            "give mode='max' or mode='min'"
        )
