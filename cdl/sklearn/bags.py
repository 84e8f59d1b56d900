"""Training of bags: each on cores of its own, or one after the other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from cdl import _core
from cdl.sklearn.thread_share import is_one_of_many
from cdl.trainers.many.workers import cores, on_threads
from cdl.utils.job import job


def trained_bags(
    train: Callable[[int], Any], n: int, n_jobs: int | None, nets: Iterable[Any]
) -> list[Any]:
    """Results of a function for each bag.

    Args:
        train: of a bag's number; an error of it is raised, with the number, once the others have
            ended.
        n: bags.
        n_jobs: how many are trained at a time, as of joblib; None without a setting of joblib's for
            one a core.
        nets: those whose training has begun, which an interrupt ends.
    """
    workers = min(n, _workers(n_jobs))
    if workers == 1:
        return [_named(train, number, n) for number in range(n)]
    from sklearn import config_context, get_config

    config, halt = get_config(), threading.Event()
    found: list[Any] = [None] * n

    def run(numbers: Sequence[int]) -> None:
        job.halt = halt
        with config_context(**config):
            for number in numbers:
                found[number] = _named(train, number, n)

    def stop() -> None:
        halt.set()  # before the flags, which a fit that begins takes back
        for net in nets:
            net.stop_training = True

    on_threads(run, [[number] for number in range(n)], workers, stop, _threads() // workers or 1)
    return found


def _named(train: Callable[[int], Any], number: int, n: int) -> Any:
    try:
        return train(number)
    except Exception as error:
        if n > 1:
            error.add_note(f"n_bags: in bag {number} of {n}")
        raise


def _workers(n_jobs: int | None) -> int:
    """Bags that are trained at a time."""
    from joblib import effective_n_jobs
    from joblib.parallel import get_active_backend

    backend, configured = get_active_backend()
    is_free = (
        configured is None and not getattr(backend, "nesting_level", 0) and not is_one_of_many()
    )
    if n_jobs is None and is_free:
        return _threads()
    return int(effective_n_jobs(n_jobs))


def _threads() -> int:
    """Threads that one training may use."""
    return min(cores(), int(_core.info()["threads"]))
