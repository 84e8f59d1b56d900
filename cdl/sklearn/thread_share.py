"""Share of the machine's cores that an estimator may use beside others.

joblib starts workers in three ways. Processes of loky, its default, are told their share by
OMP_NUM_THREADS before they start, and the core reads that when it is loaded. Threads, and forked
processes, are told nothing: there are as many of them as cores, so each trains on one. So do the
threads of a worker of Dask, whoever has sent the task; Ray tells its workers by OMP_NUM_THREADS.
What threadpoolctl limits, the core heeds by itself at the start of each call.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from cdl import _core


@contextmanager
def shared_threads() -> Iterator[None]:
    """Context in which the calling thread keeps to its share of the cores."""
    before = _core.limit_threads(1) if is_one_of_many() else None
    try:
        yield
    finally:
        if before is not None:
            _core.limit_threads(before)


def is_one_of_many() -> bool:
    """Whether this is a task of joblib's on a thread, or one without a limit of its threads."""
    if _is_of_dask():
        return True
    joblib = sys.modules.get("joblib.parallel")
    if joblib is None:
        return False
    backend, _ = joblib.get_active_backend()
    if not getattr(backend, "nesting_level", 0):
        return False
    told = "OMP_NUM_THREADS" in os.environ
    return not told or threading.current_thread() is not threading.main_thread()


def _is_of_dask() -> bool:
    """Whether a worker of Dask runs this."""
    dask = sys.modules.get("distributed.worker")
    if dask is None:
        return False
    try:
        dask.get_worker()
    except ValueError:
        return False
    return True
