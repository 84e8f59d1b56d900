"""BatchCounter: a trigger after a number of batches, again and again."""

from typing import Any

import numpy as np

from cdl._common.validation import expected


def frequency(owner: str, name: str, value: Any) -> str | int:
    """Check a frequency: 'epoch' or a number of batches; ValueError for anything else."""
    if isinstance(value, str) and value == "epoch":
        return value
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise expected(owner, name, "'epoch' or a positive number of batches", value)
    return int(value)


class BatchCounter:
    """Counter of batches over epochs, reported one by one or in strides.

    Args:
        every: after how many batches it is time, or "epoch" for never.
    """

    def __init__(self, every: str | int) -> None:
        self._every = every
        self._seen = 0  # since it was time
        self._last = -1  # the last batch that was reported

    def is_due(self, batch: int) -> bool:
        """Whether the action is due after the batch of that number in its epoch."""
        if isinstance(self._every, str):
            return False
        self._seen += batch + 1 if batch <= self._last else batch - self._last
        self._last = batch
        if self._seen < self._every:
            return False
        self._seen = 0
        return True
