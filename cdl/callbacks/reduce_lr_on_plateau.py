"""ReduceLROnPlateau: a smaller learning rate once a value stops improving."""

from typing import Any

import numpy as np

from cdl._common.validation import count, number
from cdl.callbacks.callback import Logs
from cdl.callbacks.monitor import MonitorCallback
from cdl.callbacks.rates import rated, rates_of
from cdl.utils.display import say


class ReduceLROnPlateau(MonitorCallback):
    """Multiply the learning rate by `factor` when `monitor` has not improved for `patience` epochs.

    The rate of each epoch, as it was before that, is added to the logs as "learning_rate".

    Args:
        monitor: the value to watch.
        factor: what the rate is multiplied by, less than 1.
        patience: epochs without improvement to wait for.
        verbose: 1 to say so.
        mode: "min", "max", or "auto" to tell by the metric.
        cooldown: epochs after a reduction in which none is counted.
        min_lr: the rate is never reduced below it.
        kwargs: `epsilon`, the older name of `min_delta`.

    Attributes:
        best: the best value so far.
        wait: epochs since it improved.
        cooldown_counter: epochs of cooldown that are left.

    Raises:
        ValueError: a factor of 1 or more, or another number that makes no sense.
        TypeError: an argument that is not known.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
        **kwargs: Any,
    ) -> None:
        min_delta = kwargs.pop("epsilon", min_delta)
        if kwargs:
            raise TypeError(f"ReduceLROnPlateau: arguments not recognized: {kwargs}")
        super().__init__(monitor, mode, min_delta=min_delta)
        if isinstance(factor, (int, float)) and factor >= 1.0:
            raise ValueError(f"ReduceLROnPlateau does not support a factor >= 1.0, got {factor}")
        self.factor = number("ReduceLROnPlateau", "factor", factor, 0.0)
        self.patience = count("ReduceLROnPlateau", "patience", patience)
        self.verbose = verbose
        self.cooldown = count("ReduceLROnPlateau", "cooldown", cooldown)
        self.min_lr = number("ReduceLROnPlateau", "min_lr", min_lr, 0.0)
        self.wait = self.cooldown_counter = 0

    def in_cooldown(self) -> bool:
        """Whether the last reduction is within `cooldown` epochs."""
        return self.cooldown_counter > 0

    def on_train_begin(self, logs: Logs = None) -> None:
        """Reset the state; one ReduceLROnPlateau may serve several fits."""
        self.best = None
        self.wait = self.cooldown_counter = 0

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Compare the value, and reduce the rate when patience is exhausted."""
        logs = {} if logs is None else logs
        value = self.current(logs)
        logs.update(rates_of(self.model.optimizer))
        if value is None:
            return
        if self.in_cooldown():
            self.cooldown_counter -= 1
            self.wait = 0
        if self._is_improvement(value, self.best):
            self.best = value
            self.wait = 0
        elif not self.in_cooldown():
            self.wait += 1
            if self.wait >= self.patience and self._reduce(epoch):
                self.cooldown_counter = self.cooldown
                self.wait = 0

    def _reduce(self, epoch: int) -> bool:
        """Reduce the rates; whether one was above `min_lr`."""
        reduced = False
        for name, optimizer in rated(self.model.optimizer):
            rate = float(optimizer.learning_rate)
            if rate > np.float32(self.min_lr):
                reduced = True
                rate = max(rate * self.factor, self.min_lr)
                optimizer.learning_rate = rate
                if self.verbose > 0:
                    say(f"\nEpoch {epoch + 1}: ReduceLROnPlateau reducing {name} to {rate}.")
        return reduced
