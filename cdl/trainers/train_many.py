"""Training many small models at once: one thread and one core a model.

A small net gains nothing from a second thread, but two nets on two cores do. The core lets go of
Python's lock for whole epochs, so threads are enough: no process, no copy of the data.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl import _core
from cdl.random import draw_from

if TYPE_CHECKING:
    from cdl.callbacks import History
    from cdl.models.model import Model

_SEEDS = 2**32


class _Job(threading.local):
    """What a worker trains."""

    halt: threading.Event | None = None  # told when its `train_many` is interrupted


_job = _Job()


def train_many(jobs: Iterable[Any], *, workers: int | None = None, **fit: Any) -> list[History]:
    """Fit many compiled models, as many at a time as there are cores.

    Each model trains on one thread. Its shuffling is drawn from a generator of its own, seeded from
    NumPy's global one in the order of the jobs: the results do not depend on which job ran when.

    Args:
        jobs: for each model a tuple ``(model, x, y)``, ``(model, x, y, options)`` with a dict of
            `Model.fit`'s arguments, or a dict ``{"model": ..., "x": ..., "y": ..., ...}``. A model
            may come once.
        workers: how many models train at a time; None for one a core.
        fit: arguments of `Model.fit` for all jobs that do not state them; `verbose` is 0 unless
            given.

    Returns:
        The History of each job, in their order.

    Raises:
        ValueError: a job of another form, a model that comes twice, `workers` below 1. What `fit`
            raises is raised again once all other jobs have ended, with the number of its job.
    """
    calls = [_call(number, job, {"verbose": 0, **fit}) for number, job in enumerate(jobs)]
    if len({id(model) for model, _ in calls}) < len(calls):
        raise ValueError("train_many: jobs must have each a model of its own, got one twice")
    most: int = _core.info()["threads"] if workers is None else workers
    if isinstance(most, bool) or not isinstance(most, (int, np.integer)) or most < 1:
        raise ValueError(f"train_many: workers must be a positive int or None, got {workers!r}")
    seeds = [int(seed) for seed in np.random.randint(0, _SEEDS, len(calls), np.uint64)]
    from concurrent.futures import ThreadPoolExecutor, wait

    halt = threading.Event()
    with ThreadPoolExecutor(most, "cdl-train-many", _core.limit_threads, (1,)) as pool:
        futures = [
            pool.submit(_run, *call, seed, halt) for call, seed in zip(calls, seeds, strict=True)
        ]
        try:
            wait(futures)  # this thread would take turns with the others if it woke for each
            errors = [(i, future.exception()) for i, future in enumerate(futures)]
        except BaseException:  # Ctrl-C: what has not begun does not begin
            halt.set()  # before the flags, which a fit that begins takes back
            pool.shutdown(wait=False, cancel_futures=True)
            for model, _ in calls:
                model.stop_training = True
            raise
    for number, error in errors:
        if error is not None:
            error.add_note(f"train_many: in job {number} of {len(calls)}")
            raise error
    return [future.result() for future in futures]


def _call(number: int, job: Any, common: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The model of a job and the arguments of its fit."""
    if isinstance(job, Mapping):
        options = dict(job)
    elif isinstance(job, (tuple, list)) and len(job) in (3, 4):
        named = dict(zip(("model", "x", "y"), job[:3], strict=True))
        options = {**named, **(job[3] if len(job) == 4 else {})}
    else:
        raise ValueError(
            f"train_many: job {number} must be (model, x, y), (model, x, y, options) or a dict, "
            f"got {type(job).__name__}"
        )
    model = options.pop("model", None)
    if not hasattr(model, "fit"):
        raise ValueError(
            f"train_many: job {number} must have a model with a method fit, got {model!r}"
        )
    return model, {**common, **options}


def halted() -> bool:
    """Whether this thread trains a job of a `train_many` that was interrupted."""
    return _job.halt is not None and _job.halt.is_set()


def _run(model: Model, options: dict[str, Any], seed: int, halt: threading.Event) -> History:
    draw_from(seed)
    _job.halt = halt
    history: History = model.fit(**options)
    return history
