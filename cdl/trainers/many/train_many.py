"""Training of many small models at once: one thread and one core per model.

A small net gains nothing from a second thread, but two nets on two cores do. The core lets go of
Python's lock for whole epochs, so threads are enough: no process, no copy of the data.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl import _core
from cdl._common import clock
from cdl.random import core_seed, numpys, seeded
from cdl.trainers import arguments
from cdl.trainers.many import own_callbacks
from cdl.trainers.many.by_joblib import by_joblib, raise_first
from cdl.trainers.many.group import Hosts, Job, plan_of, train_alike
from cdl.trainers.many.outcomes import Outcomes
from cdl.trainers.many.own_callbacks import OwnCallbacks
from cdl.trainers.many.progress import Progress
from cdl.trainers.many.shared_parts import check_shared
from cdl.trainers.many.workers import cores, in_context, parts
from cdl.utils.job import job

if TYPE_CHECKING:
    from cdl.callbacks import History
    from cdl.models.model import Model

_SEEDS = 2**32
_TASKS = 4  # per worker; with fewer, some workers idle at the end
_FEW, _MANY = 16, 64  # jobs of a task, if there are as many: the core trains 16 at once
_TURN = 0.05  # seconds of a task, after which other workers may take its remaining jobs


def train_many(
    jobs: Iterable[Any],
    *,
    workers: int | None = None,
    backend: str | None = None,
    on_done: Callable[[int, Any, Any], object] | None = None,
    **fit: Any,
) -> list[History]:
    """Train many compiled models in parallel, one per core.

    Each model trains on one thread. Its shuffling is drawn from a generator of its own, seeded from
    NumPy's global one in the order of the jobs: the results do not depend on which job ran when.
    Jobs that are alike, each a small Sequential and arrays without callbacks other than silent
    EarlyStopping, ReduceLROnPlateau and LearningRateScheduler, train with one program, to the same
    bits: in half of the time.

    A callback that several jobs are given, by `callbacks=` here or in their options, is copied for
    each of them as by `copy.deepcopy`, and stays as it is; what functions it calls is shared. To
    look at a callback afterwards give a job its own. `callbacks` may also be a function that makes
    them, of no argument or of the job's number. `{job}` in the path of a ModelCheckpoint, a
    CSVLogger, a TensorBoard or a BackupAndRestore is that number, which callbacks find in their
    `params["job"]`.

    Args:
        jobs: for each model a tuple ``(model, x, y)``, ``(model, x, y, options)`` with a dict of
            `Model.fit`'s arguments, or a dict ``{"model": ..., "x": ..., "y": ..., ...}``. A model
            may come once, and no two may share what training changes: layers that learn,
            optimizers, metrics that count in Python, generators.
        workers: how many models train at a time; None for one a core of those that the process may
            use, by its affinity and cgroup, whatever OMP_NUM_THREADS says.
        backend: a backend of joblib's, such as "loky", "dask" or "ray", whose workers train; None
            for threads of this process. Models and data are sent there, and weights, optimizers and
            Histories come back; so callbacks act on copies there. Results are those of threads.
        on_done: called as ``on_done(number, model, history)`` for each job that has ended without
            an error, in the order in which they end, in the thread that has called `train_many`;
            alike jobs end together. An error of it ends the jobs as Ctrl-C does.
        fit: arguments of `Model.fit` for all jobs that do not state them. Of these `verbose` is 0
            unless given: 1 or "auto" shows one bar over all jobs with the best `val_loss`, or
            `loss`; 2 also a line for each epoch of each job, with its number.

    Returns:
        The History of each job, in their order.

    Raises:
        ValueError: a job of another form, a model that comes twice, or something else that two jobs
            would change; `workers` below 1; a file into which two jobs would write.
        TypeError: a callback that several jobs are given and that cannot be copied, or `on_done`
            that cannot be called. What `fit` raises is raised again once all other jobs have ended,
            with the number of its job.
    """
    verbose = arguments.verbosity(fit.pop("verbose", 0), "train_many: verbose")
    if on_done is not None and not callable(on_done):
        raise TypeError(f"train_many: on_done must be a function, got {on_done!r}")
    if not isinstance(jobs, Iterable):
        raise TypeError(f"train_many: jobs must be a list of jobs, got {type(jobs).__name__}")
    common = {"verbose": 2 if verbose == 2 else 0, **fit}
    calls = [_call(number, given, common) for number, given in enumerate(jobs)]
    check_shared(calls)
    if workers is None:
        most = cores()
    elif isinstance(workers, bool) or not isinstance(workers, (int, np.integer)) or workers < 1:
        raise ValueError(f"train_many: workers must be a positive int or None, got {workers!r}")
    else:
        most = int(workers)
    callbacks = own_callbacks.of_jobs(calls, fit)
    seeds = [int(seed) for seed in numpys().randint(0, _SEEDS, len(calls), np.uint64)]
    progress = Progress(len(calls), verbose != 0)
    try:
        if backend is not None:
            return by_joblib(calls, callbacks, seeds, backend, workers, progress, on_done)
        found = by_threads(calls, callbacks, seeds, most, progress, on_done)
    finally:
        progress.close()
    raise_first([each if isinstance(each, BaseException) else None for each in found])
    return found


def _call(number: int, given: Any, common: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Model of a job and the arguments of its fit."""
    if isinstance(given, Mapping):
        options = dict(given)
    elif isinstance(given, (tuple, list)) and len(given) in (3, 4):
        named = dict(zip(("model", "x", "y"), given[:3], strict=True))
        more = given[3] if len(given) == 4 else {}
        if not isinstance(more, Mapping):
            raise ValueError(
                f"train_many: job {number}: options must be a dict, got {type(more).__name__}"
            )
        options = {**named, **more}
    else:
        raise ValueError(
            f"train_many: job {number} must be (model, x, y), (model, x, y, options) or a dict, "
            f"got {type(given).__name__}"
        )
    model = options.pop("model", None)
    if not hasattr(model, "fit"):
        raise ValueError(
            f"train_many: job {number} must have a model with a method fit, got {model!r}"
        )
    return model, {**common, **options}


def by_threads(
    calls: Sequence[tuple[Any, dict[str, Any]]],
    callbacks: Sequence[OwnCallbacks],
    seeds: Sequence[int],
    most: int,
    progress: Progress,
    on_done: Callable[[int, Any, Any], object] | None = None,
    halt: threading.Event | None = None,
) -> list[Any]:
    """Histories of jobs that run on threads of this process, or their errors.

    Args:
        calls: model and options of each job.
        callbacks: callbacks of each job.
        seeds: seeds of their generators.
        most: number of jobs at a time.
        progress: bar that counts each ended job.
        on_done: see `train_many`.
        halt: set to end all at whole batches; the result of a job that has not begun is None.
    """
    from concurrent.futures import ThreadPoolExecutor

    begin, halt, core = threading.Event(), halt or threading.Event(), core_seed()
    outcomes = Outcomes(len(calls))
    simple = _simple(calls, callbacks, seeds)
    hosts = _Hosts()

    @in_context
    def run(numbers: Sequence[int]) -> None:
        begin.wait()
        end, later = clock.now() + _TURN, set[int]()

        def is_over() -> bool:  # False before one has ended, so that tasks end
            return clock.now() >= end and any(map(outcomes.is_settled, numbers))

        try:
            group = [simple[number] for number in numbers if number in simple]
            if len(group) > 1 or (group and hosts.kept):
                later = train_alike(group, hosts.kept, core, halt, outcomes.settle, is_over)
            for number in sorted({*numbers} - later):
                if not outcomes.is_settled(number):
                    simple.pop(number, None)  # it has been tried
                    if is_over():
                        later.add(number)
                    else:
                        own = callbacks[number], seeds[number]
                        try:
                            outcome: Any = _run(number, *calls[number], *own, core, halt)
                        except BaseException as error:
                            outcome = error
                        outcomes.settle(number, outcome)
            for part in parts(sorted(later), most):
                pool.submit(run, part)
        finally:
            for number in {*numbers} - later:  # so that no wait is endless
                if not outcomes.is_settled(number):
                    outcomes.settle(number, RuntimeError("train_many: a worker has failed"))

    with ThreadPoolExecutor(most, "cdl-train-many", _core.limit_threads, (1,)) as pool:
        try:
            for numbers in _tasks(len(calls), simple, most):
                pool.submit(run, numbers)
            if progress.shown or on_done is not None:
                ended = outcomes.as_they_come()
                begin.set()  # all run: the pool does not join a thread whose start is interrupted
                for number in ended:
                    found = outcomes.found[number]
                    history = None if isinstance(found, BaseException) else found
                    progress.ended(history)
                    if on_done is not None and history is not None:
                        on_done(number, calls[number][0], history)
            begin.set()
            outcomes.wait()
        except BaseException:  # Ctrl-C: what has not begun does not begin
            halt.set()  # before the flags, which a fit that begins takes back
            begin.set()
            pool.shutdown(wait=False, cancel_futures=True)
            for model, _ in calls:
                model.stop_training = True
            raise
    return outcomes.found


class _Hosts(threading.local):
    """Hosts of each worker."""

    def __init__(self) -> None:
        self.kept = Hosts()


def _simple(
    calls: Sequence[tuple[Any, dict[str, Any]]],
    callbacks: Sequence[OwnCallbacks],
    seeds: Sequence[int],
) -> dict[int, Job]:
    """Jobs that may train in a group, by number."""
    found = {}
    for number, (model, options) in enumerate(calls):
        plan = plan_of(model, options, callbacks[number].given)
        if plan is not None:
            found[number] = Job(number, model, options, plan, callbacks[number], seeds[number])
    return found


def _tasks(count: int, simple: Collection[int], workers: int) -> list[list[int]]:
    """Numbers of the jobs of each task: several simple ones, or one other."""
    several = list(simple)
    each = min(-(-len(several) // workers), max(_FEW, -(-len(several) // (_TASKS * workers))))
    tasks = parts(several, max(1, -(-len(several) // max(1, min(each, _MANY)))))
    tasks += [[number] for number in range(count) if number not in simple]
    return sorted(tasks)


def _run(
    number: int,
    model: Model,
    options: dict[str, Any],
    callbacks: OwnCallbacks,
    seed: int,
    core: int,
    halt: threading.Event,
) -> History | None:
    if halt.is_set():
        return None
    job.number, job.halt = number, halt
    with seeded(seed, core):
        history: History = model.fit(**options, callbacks=callbacks.made())
    return history
