"""MonitorCallback: the base of callbacks that watch a value for improvement."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from cdl._common.errors import warn
from cdl._common.near_names import nearest
from cdl._common.validation import one_of
from cdl._tracing.graph import operator_of
from cdl.callbacks.callback import Callback, Logs


class MonitorCallback(Callback):
    """Base of callbacks that monitor one value of the logs.

    Args:
        monitor: its name, such as "val_loss".
        mode: "min", "max", or "auto": "min" for the loss, the metric's own direction for a metric.
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
        self._asked: tuple[str, str] | None = None  # mode and name that `monitor_op` is for

    @property
    def _who(self) -> str:
        return type(self).__name__

    def current(self, logs: Logs) -> Any:
        """Monitored value; None, with a warning, if the logs lack it.

        Raises:
            ValueError: a misspelt name, similar to one in the logs; or a name for which "auto"
                finds no direction.
        """
        logs = logs or {}
        self._check_there(logs)
        value = logs.get(self.monitor)
        if value is None:
            warn(f"{self._who} watches {self.monitor!r}, which is not there: {self._there(logs)}")
        return value

    def _check_there(self, logs: Mapping[str, Any]) -> None:
        """Determine the direction; ValueError if it is unknown, or if the logs have a name near."""
        if self.monitor in logs:
            self._set_monitor_op()
            return
        front = "val_" if self.monitor.lower().startswith("val_") else ""
        known = [each for each in logs if each.startswith("val_") is bool(front)]
        bare = self.monitor[len(front) :]
        near = nearest(bare, [each.removeprefix(front) for each in known])
        if near is not None:
            raise ValueError(
                f"{self._who}: monitor {self.monitor!r} is not there; did you mean "
                f"{front + near!r}? {self._there(logs)}"
            )
        try:
            self._set_monitor_op()
        except ValueError as error:
            text = f"{self._who}: monitor {self.monitor!r} is not there: {self._there(logs)}"
            raise ValueError(f"{text}. If it comes later: {error}") from None

    def _there(self, logs: Mapping[str, Any]) -> str:
        """Names of a run's logs; those of validation need validation data."""
        names = ", ".join(map(repr, logs)) or "no values"
        of_validation = self.monitor.lower().startswith("val_")
        wants = of_validation and not any(name.startswith("val_") for name in logs)
        return f"the run has {names}" + (
            "; val_ names need validation_data or validation_split" if wants else ""
        )

    def _is_improvement(self, monitor_value: Any, reference_value: Any) -> bool:
        """Whether a value improves on another, None for none, by more than `min_delta`."""
        if reference_value is None:
            return True
        self._set_monitor_op()
        rises = self.monitor_op in (operator_of("greater"), np.greater)
        delta = self.min_delta if rises else -self.min_delta
        value = monitor_value - delta
        if type(value) is type(reference_value) is float and (
            rises or self.monitor_op is operator_of("less")
        ):  # the result of `monitor_op`, in a hundredth of its time
            return value > reference_value if rises else value < reference_value
        return bool(self.monitor_op(value, reference_value))

    def _set_monitor_op(self) -> None:
        """Determine the direction once per mode and name; ValueError if it is unknown."""
        asked = self.mode, self.monitor
        if self.monitor_op is None or self._asked not in (None, asked):
            self._asked = asked
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
