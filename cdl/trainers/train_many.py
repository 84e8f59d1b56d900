"""Training many small models at once: one thread and one core a model.

A small net gains nothing from a second thread, but two nets on two cores do. The core lets go of
Python's lock for whole epochs, so threads are enough: no process, no copy of the data. Where one
machine does not do, joblib's backends bring the jobs to the workers of an engine, such as Dask:
some jobs a task, since a task costs more than a tiny net's epoch. Weights and what the optimizer
keeps come back.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from cdl import _core
from cdl._common.optional_imports import needed
from cdl.data import as_numeric
from cdl.random import core_seed, draw_from, seeded

if TYPE_CHECKING:
    from cdl.callbacks import History
    from cdl.models.model import Model

_SEEDS = 2**32


class _Job(threading.local):
    """What a worker trains."""

    halt: threading.Event | None = None  # told when its `train_many` is interrupted


_job = _Job()


def train_many(
    jobs: Iterable[Any], *, workers: int | None = None, backend: str | None = None, **fit: Any
) -> list[History]:
    """Fit many compiled models, as many at a time as there are cores.

    Each model trains on one thread. Its shuffling is drawn from a generator of its own, seeded from
    NumPy's global one in the order of the jobs: the results do not depend on which job ran when.

    Args:
        jobs: for each model a tuple ``(model, x, y)``, ``(model, x, y, options)`` with a dict of
            `Model.fit`'s arguments, or a dict ``{"model": ..., "x": ..., "y": ..., ...}``. A model
            may come once.
        workers: how many models train at a time; None for one a core.
        backend: a backend of joblib's, such as "loky", "dask" or "ray", whose workers train; None
            for threads of this process. Models and data are sent there, and weights, optimizers and
            Histories come back; so callbacks act on copies there. Results are those of threads.
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
    if backend is not None:
        return _by_joblib(calls, seeds, backend, workers)
    from concurrent.futures import ThreadPoolExecutor, wait

    begin, halt = threading.Event(), threading.Event()
    with ThreadPoolExecutor(most, "cdl-train-many", _core.limit_threads, (1,)) as pool:
        try:
            futures = [
                pool.submit(_run, *call, seed, begin, halt)
                for call, seed in zip(calls, seeds, strict=True)
            ]
            begin.set()  # all are there: the pool does not join a thread whose start is cut off
            wait(futures)  # this thread would take turns with the others if it woke for each
            errors = [(i, future.exception()) for i, future in enumerate(futures)]
        except BaseException:  # Ctrl-C: what has not begun does not begin
            halt.set()  # before the flags, which a fit that begins takes back
            begin.set()
            pool.shutdown(wait=False, cancel_futures=True)
            for model, _ in calls:
                model.stop_training = True
            raise
    _raise_first(errors)
    return cast("list[History]", [future.result() for future in futures])


def _raise_first(errors: list[tuple[int, BaseException | None]]) -> None:
    for number, error in errors:
        if error is not None:
            error.add_note(f"train_many: in job {number} of {len(errors)}")
            raise error


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


def _run(
    model: Model,
    options: dict[str, Any],
    seed: int,
    begin: threading.Event,
    halt: threading.Event,
) -> History | None:
    begin.wait()
    if halt.is_set():
        return None
    draw_from(seed)
    _job.halt = halt
    history: History = model.fit(**options)
    return history


# --- by the workers of an engine ---

_TASKS = 4  # for each worker: fewer, and some would be idle in the end


class _Trained(NamedTuple):
    """What comes back of a job.

    Attributes:
        history: `History.history`, `.epoch` and `.params`.
        weights: the values of the model's.
        kept: those of what the optimizer keeps.
        error: what `fit` has raised.
    """

    history: tuple[dict[str, Any], list[int], dict[str, Any]] | None = None
    weights: Sequence[Any] = ()
    kept: Sequence[Any] = ()
    error: BaseException | None = None


def _by_joblib(
    calls: list[tuple[Any, dict[str, Any]]], seeds: list[int], backend: str, workers: int | None
) -> list[History]:
    """The jobs in tasks of several; large arrays are arguments, which engines send but once."""
    joblib = needed("joblib", "sklearn", "train_many: backend")
    if backend == "ray":  # which joblib does not know by itself
        from ray.util.joblib import register_ray

        register_ray()
    arrays: dict[int, Any] = {}
    jobs = []
    for (model, options), seed in zip(calls, seeds, strict=True):
        named = {key: id(value) for key, value in options.items() if isinstance(value, np.ndarray)}
        arrays |= {id(value): value for value in options.values() if id(value) in named.values()}
        rest = {key: value for key, value in options.items() if key not in named}
        jobs.append((model, rest, named, seed))
    with joblib.parallel_config(backend=backend, n_jobs=workers or -1):
        size = max(1, -(-len(jobs) // (_TASKS * joblib.effective_n_jobs())))
        chunks = [jobs[at : at + size] for at in range(0, len(jobs), size)]
        tasks = []
        for chunk in chunks:
            used = {key: arrays[key] for job in chunk for key in job[2].values()}
            tasks.append(joblib.delayed(_train)(chunk, core_seed(), tuple(used), *used.values()))
        found = [each for chunk in joblib.Parallel()(tasks) for each in chunk]
    _raise_first([(number, each.error) for number, each in enumerate(found)])
    return [_take_over(*call, each) for call, each in zip(calls, found, strict=True)]


def _train(
    jobs: list[tuple[Any, dict[str, Any], dict[str, int], int]],
    core: int,
    keys: tuple[int, ...],
    *arrays: Any,
) -> list[_Trained]:
    """In a worker: some jobs, one after the other, on one thread."""
    data = dict(zip(keys, arrays, strict=True))
    found = []
    before = _core.limit_threads(1)
    try:
        for model, options, named, seed in jobs:
            try:
                given = {**options, **{name: data[key] for name, key in named.items()}}
                with seeded(seed, core):
                    history = model.fit(**given)
                found.append(
                    _Trained(
                        (history.history, history.epoch, history.params),
                        model.get_weights(),
                        [np.array(each) for each in model.optimizer.variables],
                    )
                )
            except Exception as error:
                found.append(_Trained(error=error))
    finally:
        _core.limit_threads(before)
    return found


def _take_over(model: Model, options: dict[str, Any], trained: _Trained) -> History:
    """Let the caller's model be as the worker's copy has become."""
    from cdl.callbacks import History

    if not model.built:
        with seeded(0):  # weights are drawn, and then set
            x = options["x"]
            model.build(as_numeric(x, "train_many: x").shape)
    model.set_weights(trained.weights)
    model.optimizer.build(model.trainable_variables)
    for variable, value in zip(model.optimizer.variables, trained.kept, strict=True):
        variable.assign(value)
    history = History()
    history.set_model(model)
    assert trained.history is not None
    history.history, history.epoch, history.params = trained.history
    model.history = history
    return history
