"""Threads that run tasks of many trainings, and their end by Ctrl-C."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextvars import copy_context
from typing import Any

from cdl import _core

_TASKS = 8  # per worker; with fewer, some workers idle at the end
_FEW, _MANY = 16, 256  # numbers of a task, if there are as many: the core trains 16 at once
WAKES = 0.5
"""Seconds after which a waiting main thread wakes, to hear a Ctrl-C that did not wake it."""


def cores() -> int:
    """Number of cores for the calling thread: all of the process, or its given share."""
    share = _core.limit_threads(0)
    _core.limit_threads(share)
    found: int = _core.info()["cores"]
    return min(found, share) if share else found


def parts(numbers: list[int], count: int) -> list[list[int]]:
    """Numbers divided into `count` parts; fewer if some would be empty."""
    ends = [i * len(numbers) // count for i in range(count + 1)]
    return [numbers[a:b] for a, b in itertools.pairwise(ends) if a < b]


def in_context(function: Callable[..., Any]) -> Callable[..., Any]:
    """Function that other threads run with the scopes of this one, as of custom objects."""
    context = copy_context()
    return lambda *given: context.copy().run(function, *given)


def wait_for(futures: Sequence[Future[Any]]) -> None:
    """Wait for all futures in one sleep, since each wake-up interrupts a worker.

    Python runs the handler of Ctrl-C in the main thread once that wakes, and a signal that came
    just before the sleep, or to another thread, does not wake it: hence `WAKES`.
    """
    from concurrent.futures import wait

    while wait(futures, WAKES).not_done:
        pass


def tasks_of(numbers: list[int], workers: int) -> list[list[int]]:
    """Numbers divided into tasks, several for each worker; none without any."""
    n = len(numbers)
    workers = max(1, min(workers, n))
    count = min(workers * _TASKS, max(workers, n // _FEW))
    return parts(numbers, max(count, -(-n // _MANY)))


def on_threads(
    run: Callable[[Sequence[int]], None],
    tasks: Sequence[Sequence[int]],
    workers: int,
    stop: Callable[[], None],
    threads: int = 1,
) -> None:
    """Run tasks, each with a share of the cores.

    Args:
        run: function of the numbers of a task.
        tasks: numbers of each task.
        workers: how many run at a time; one runs in the calling thread.
        stop: called after an interrupt, so that tasks which have begun end; no other begins.
        threads: threads of the core for each task.
    """
    workers = min(workers, len(tasks))
    if workers < 2:
        before = _core.limit_threads(threads)
        try:
            for numbers in tasks:
                run(numbers)
        finally:
            _core.limit_threads(before)
        return
    from concurrent.futures import ThreadPoolExecutor

    begin = threading.Event()

    @in_context
    def begun(numbers: Sequence[int]) -> None:
        begin.wait()
        run(numbers)

    with ThreadPoolExecutor(workers, "cdl-worker", _core.limit_threads, (threads,)) as pool:
        try:
            futures = [pool.submit(begun, numbers) for numbers in tasks]
            begin.set()  # all run: the pool does not join a thread whose start is interrupted
            wait_for(futures)
        except BaseException:  # Ctrl-C
            stop()
            begin.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    for future in futures:
        future.result()
