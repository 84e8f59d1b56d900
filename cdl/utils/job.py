"""Job: the number of the training that a thread of `train_many` runs."""

import threading


class Job(threading.local):
    """Job of `train_many` that the current thread trains.

    Attributes:
        number: of the job, from 0; None elsewhere.
        halt: event that an interrupt sets.
    """

    number: int | None = None
    halt: threading.Event | None = None

    @property
    def halted(self) -> bool:
        """Whether this thread trains a job of a `train_many` that was interrupted."""
        return self.halt is not None and self.halt.is_set()

    @property
    def front(self) -> str:
        """Prefix of a line that this thread prints: the number of its job, "" elsewhere."""
        return "" if self.number is None else f"[job {self.number}] "


job = Job()
