"""LearningRateScheduler: the learning rate of each epoch by a function."""

from collections.abc import Callable
from typing import Any

from cdl._common.validation import is_real
from cdl.callbacks.callback import Callback, Logs
from cdl.callbacks.rates import rated, rates_of
from cdl.utils.display import say


class LearningRateScheduler(Callback):
    """Set the learning rate of each epoch by a function; logged as "learning_rate".

    Args:
        schedule: a function `(epoch, rate)`, or of the epoch only, that gives a number of at
            least 0.
        verbose: 1 to say so.

    Raises:
        TypeError: `schedule` cannot be called.
        ValueError: in `fit`, if it gives no number, or a negative one.
    """

    _of_one_fit = True

    def __init__(self, schedule: Callable[..., float], verbose: int = 0) -> None:
        super().__init__()
        if not callable(schedule):
            raise TypeError(
                "LearningRateScheduler: schedule must be a function of (epoch, rate), "
                f"got {schedule!r}"
            )
        self.schedule = schedule
        self.verbose = verbose

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Call the function, and set the rate."""
        for name, optimizer in rated(self.model.optimizer):
            self._set(epoch, optimizer, name)

    def _set(self, epoch: int, optimizer: Any, name: str) -> None:
        rate: Any
        try:
            rate = self.schedule(epoch, float(optimizer.learning_rate))
        except TypeError as error:
            try:
                rate = self.schedule(epoch)
            except TypeError:
                raise error from None  # of a function of both, which has failed by itself
        if not is_real(rate):
            raise ValueError(
                "LearningRateScheduler: the output of the schedule function should be a number, "
                f"got {rate!r} of type {type(rate).__name__}"
            )
        optimizer.learning_rate = float(rate)
        if self.verbose > 0:
            say(
                f"\nEpoch {epoch + 1}: LearningRateScheduler setting {name} to {rate}.",
            )

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Add the rate to the logs."""
        if logs is not None:
            logs.update(rates_of(self.model.optimizer))
