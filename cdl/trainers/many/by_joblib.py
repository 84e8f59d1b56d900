"""Jobs of `train_many` on joblib's backends, such as Dask.

A task has several jobs, since it costs more than an epoch of a tiny net. Weights, optimizer slots
and Histories come back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cdl import _core
from cdl._common.optional_imports import needed
from cdl.data import as_numeric
from cdl.random import core_seed, seeded
from cdl.trainers.many.own_callbacks import OwnCallbacks
from cdl.trainers.many.progress import Progress
from cdl.utils.job import job

if TYPE_CHECKING:
    from cdl.callbacks import History
    from cdl.models.model import Model

_TASKS = 4  # per worker; with fewer, some workers idle at the end


def raise_first(errors: Sequence[BaseException | None]) -> None:
    """Raise the first error of jobs, with the number of its job."""
    for number, error in enumerate(errors):
        if error is not None:
            error.add_note(f"train_many: in job {number} of {len(errors)}")
            raise error


class _Job(NamedTuple):
    """Job in the form that workers receive.

    Attributes:
        number: index of the job.
        options: arguments of `fit` other than arrays.
        arrays: the names of arrays among the options, and their keys.
        callbacks: callbacks of the job.
        seed: seed of its generator.
    """

    number: int
    model: Any
    options: dict[str, Any]
    arrays: dict[str, int]
    callbacks: OwnCallbacks
    seed: int


class _Trained(NamedTuple):
    """Result of a job in the form that workers return.

    Attributes:
        history: `History.history`, `.epoch` and `.params`.
        weights: values of the model's weights.
        kept: values of the optimizer's variables.
        error: exception that `fit` raised, or None.
    """

    history: tuple[dict[str, Any], list[int], dict[str, Any]] | None = None
    weights: Sequence[Any] = ()
    kept: Sequence[Any] = ()
    error: BaseException | None = None


def by_joblib(
    calls: Sequence[tuple[Any, dict[str, Any]]],
    callbacks: Sequence[OwnCallbacks],
    seeds: Sequence[int],
    backend: str,
    workers: int | None,
    progress: Progress,
    on_done: Callable[[int, Any, Any], object] | None,
) -> list[History]:
    """Run jobs in tasks of several; large arrays are arguments, which backends send once."""
    joblib = needed("joblib", "sklearn", "train_many: backend")
    if backend == "ray":  # not registered in joblib
        from ray.util.joblib import register_ray

        register_ray()
    arrays: dict[int, Any] = {}
    jobs = []
    for number, (model, options) in enumerate(calls):
        named = {key: id(value) for key, value in options.items() if isinstance(value, np.ndarray)}
        arrays |= {id(value): value for value in options.values() if id(value) in named.values()}
        rest = {key: value for key, value in options.items() if key not in named}
        jobs.append(_Job(number, model, rest, named, callbacks[number], seeds[number]))
    errors: list[BaseException | None] = []
    histories: list[Any] = []
    with joblib.parallel_config(backend=backend, n_jobs=workers or -1):
        size = max(1, -(-len(jobs) // (_TASKS * joblib.effective_n_jobs())))
        chunks = [jobs[at : at + size] for at in range(0, len(jobs), size)]
        tasks = []
        for chunk in chunks:
            used = {key: arrays[key] for each in chunk for key in each.arrays.values()}
            tasks.append(joblib.delayed(_train)(chunk, core_seed(), tuple(used), *used.values()))
        for number, trained in enumerate(_as_they_come(joblib, tasks)):
            errors.append(trained.error)
            history = _take_over(*calls[number], trained) if trained.error is None else None
            histories.append(history)
            progress.ended(history)
            if on_done is not None and history is not None:
                on_done(number, calls[number][0], history)
    raise_first(errors)
    return histories


def _as_they_come(joblib: Any, tasks: list[Any]) -> Iterator[_Trained]:
    """Results of jobs in their order, early if the backend supports generators."""
    active, _ = joblib.parallel.get_active_backend()
    if getattr(active, "supports_return_generator", False):
        chunks = joblib.Parallel(return_as="generator")(tasks)
    else:
        chunks = joblib.Parallel()(tasks)
    for chunk in chunks:
        yield from chunk


def _train(
    jobs: Sequence[_Job],
    core: int,
    keys: tuple[int, ...],
    *arrays: Any,
) -> list[_Trained]:
    """Train some jobs on a worker, one after the other, on one thread."""
    data = dict(zip(keys, arrays, strict=True))
    found = []
    before = _core.limit_threads(1), job.number
    try:
        for each in jobs:
            model, job.number = each.model, each.number
            try:
                given = {**each.options, **{name: data[key] for name, key in each.arrays.items()}}
                with seeded(each.seed, core):
                    history = model.fit(**given, callbacks=each.callbacks.made())
                found.append(
                    _Trained(
                        (history.history, history.epoch, history.params),
                        model.get_weights(),
                        [np.array(value) for value in getattr(model.optimizer, "variables", ())],
                    )
                )
            except Exception as error:
                found.append(_Trained(error=error))
    finally:
        _core.limit_threads(before[0])
        job.number = before[1]
    return found


def _take_over(model: Model, options: dict[str, Any], trained: _Trained) -> History:
    """Copy the state of the worker's model to the caller's."""
    from cdl.callbacks import History

    if not model.built:
        with seeded(0):  # weights are drawn, and then set
            x = options["x"]
            model.build(as_numeric(x, "train_many: x").shape)
    model.set_weights(trained.weights)
    if model.optimizer is not None:
        model.optimizer.build(model.trainable_variables)
        for variable, value in zip(model.optimizer.variables, trained.kept, strict=True):
            variable.assign(value)
    history = History()
    history.set_model(model)
    assert trained.history is not None
    history.history, history.epoch, history.params = trained.history
    model.history = history
    return history
