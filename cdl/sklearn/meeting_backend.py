"""joblib's backend "cdl": tasks on threads, whose alike nets train by one program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from joblib import parallel
from joblib.parallel import ThreadingBackend

from cdl.trainers.many.meeting import Meeting
from cdl.trainers.many.workers import cores

_EACH, _MOST = 16, 256  # tasks for each worker, as the core trains 16 nets at once; and in all


class MeetingBackend(ThreadingBackend):
    """Backend whose tasks wait at `fit` of a small net for those of the others.

    `n_jobs` is how many of them run, or nets train, at a time; sixteen times as many are under way.
    """

    default_n_jobs = -1

    def configure(self, n_jobs: int = 1, parallel: Any = None, **options: Any) -> int:
        """Begin a meeting; the number of threads that the tasks have."""
        self.parallel = parallel
        self._n_jobs = self.effective_n_jobs(n_jobs)
        self._meeting = Meeting(self._n_jobs, self._workers(n_jobs))
        return self._n_jobs

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Number of tasks that are under way at a time."""
        workers = self._workers(n_jobs)
        return min(_EACH * workers, max(_MOST, workers))

    def _workers(self, n_jobs: int | None) -> int:
        return cores() if n_jobs in (None, -1) else int(super().effective_n_jobs(n_jobs))

    def submit(self, func: Callable[[], Any], callback: Any = None) -> Any:
        """Run a function on a thread, as a task of the meeting."""
        return super().submit(self._meeting.task(func), callback)

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """End all training after Ctrl-C or the error of a task."""
        self._meeting.stop()
        super().abort_everything(ensure_ready)


def register() -> None:
    """Register the backend with joblib by its name."""
    parallel.register_parallel_backend("cdl", MeetingBackend)
