"""Rendezvous of `fit` calls from several threads, such as those of a search's folds.

Each `fit` waits until no running task can call another one. Then all train as by one `train_many`,
with their own seeds, and alike ones with one program. The bits are those of each `fit` alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl._common.locks import new_lock
from cdl.random import SeedGenerator, core_seed, numpys, seeded
from cdl.trainers.many import own_callbacks
from cdl.trainers.many.group import plan_of
from cdl.trainers.many.progress import Progress
from cdl.trainers.many.shared_parts import sharing
from cdl.trainers.many.train_many import by_threads
from cdl.trainers.many.workers import in_context
from cdl.utils.job import job

if TYPE_CHECKING:
    from cdl.callbacks import History

_PATIENCE = 2.0  # seconds without an arrival; a running task may be blocked by a waiting one
_HALTED = "fit: the search that it is part of was interrupted"


class _Fit:
    """Waiting call of `fit`, and its outcome: a History, or an error."""

    def __init__(self, model: Any, options: dict[str, Any], seed: int | None) -> None:
        self.call = model, options
        self.seed = seed
        self.core = core_seed() if _draws(model) else 0
        self.callbacks = own_callbacks.of_jobs([self.call], {})[0]
        self.outcome: Any = None

    @property
    def is_simple(self) -> bool:
        """Whether the fit may train in a group; only then does waiting for others pay."""
        return plan_of(*self.call, self.callbacks.given) is not None


def _draws(model: Any) -> bool:
    """Whether a layer draws as it trains, in the core by the seed of this thread."""
    layers = model._flatten_layers(include_self=False)
    return any(isinstance(part, SeedGenerator) for each in layers for part in vars(each).values())


def _drawn() -> int:
    return int(numpys().randint(2**32, dtype=np.uint64))


class Meeting:
    """Meeting of the tasks of a pool.

    Args:
        threads: number of threads of the pool.
        workers: how many tasks run, or models train, at a time.
    """

    def __init__(self, threads: int, workers: int) -> None:
        self._threads, self._workers = threads, workers
        self._lock = new_lock()
        self._free, self._met = (threading.Condition(self._lock) for _ in range(2))
        self._tasks = self._running = 0  # tasks that have not ended; those that do not wait
        self._waiting: list[_Fit] = []
        self._training: list[Any] = []  # models
        self._halt = threading.Event()
        self._called = in_context(lambda function: function())

    def task(self, function: Callable[[], Any]) -> Callable[[], Any]:
        """Function wrapped as a task of the meeting, which counts it from now on."""
        with self._lock:
            self._tasks += 1

        def run() -> Any:
            with self._lock:
                self._enter(None)
            before, place.meeting = place.meeting, self
            try:
                return self._called(function)
            finally:
                place.meeting = before
                with self._lock:
                    self._tasks -= 1
                    self._leave()

        return run

    def stop(self) -> None:
        """Stop running trainings at whole batches, and all waiting ones."""
        with self._lock:
            self._halt.set()  # before the flags, which a fit that begins takes back
            for model in self._training:
                model.stop_training = True
            self._free.notify_all()
            self._met.notify_all()

    def fit(self, one: _Fit) -> History:
        """Train with the others, once all have arrived.

        Raises:
            Exception: what `fit` raises.
        """
        with self._lock:
            self._waiting.append(one)
            self._leave()
            while one.outcome is None:
                self._check()
                arrived = len(self._waiting)
                if not self._is_complete and self._met.wait(_PATIENCE):
                    continue
                if self._waiting and (self._is_complete or len(self._waiting) == arrived):
                    some, self._waiting = self._waiting, []
                    with self._apart(), self.training([each.call[0] for each in some]):
                        self._train(some)
            self._check()
            self._enter(_PATIENCE)
        if isinstance(one.outcome, BaseException):
            raise one.outcome
        history: History = one.outcome
        return history

    @contextmanager
    def training(self, models: list[Any]) -> Iterator[None]:
        """Context of the training of models, which `stop` ends."""
        self._training += models
        before, job.halt = job.halt, self._halt
        try:
            yield
        finally:
            job.halt = before
            for model in models:
                self._training.remove(model)

    @property
    def _is_complete(self) -> bool:
        """Whether all calls that can arrive have arrived."""
        return 0 < len(self._waiting) >= min(self._tasks, self._threads)

    def _check(self) -> None:
        if self._halt.is_set():
            raise RuntimeError(_HALTED)

    def _enter(self, patience: float | None) -> None:
        """Wait until one more fit may run, or for `patience` seconds."""
        while self._running >= self._workers and not self._halt.is_set():
            if not self._free.wait(patience):
                break
        self._running += 1

    def _leave(self) -> None:
        self._running -= 1
        self._free.notify()
        if self._is_complete:
            self._met.notify()  # one trains all

    @contextmanager
    def _apart(self) -> Iterator[None]:
        """Context that releases the lock, and wakes all waiting threads at its end."""
        self._lock.release()
        try:
            yield
        finally:
            self._lock.acquire()
            self._met.notify_all()

    def _train(self, some: list[_Fit]) -> None:
        """Train all, those with the same seed of the core together."""
        for core in dict.fromkeys(each.core for each in some):
            group = [each for each in some if each.core == core]
            try:
                faults = {
                    number: ValueError(f"fit: tasks that train at once must have each {text}")
                    for number, (text, _) in sharing([each.call for each in group]).items()
                }
                sound = [each for number, each in enumerate(group) if number not in faults]
                seeds = [_drawn() if each.seed is None else each.seed for each in sound]
                given = [each.call for each in sound], [each.callbacks for each in sound], seeds
                with seeded(0, core):
                    shown = Progress(len(sound), False)
                    trained = iter(by_threads(*given, self._workers, shown, None, self._halt))
                found = [faults.get(number) or next(trained) for number in range(len(group))]
            except BaseException as error:
                found = [error] * len(group)
            for each, outcome in zip(group, found, strict=True):
                each.outcome = RuntimeError(_HALTED) if outcome is None else outcome


class _Place(threading.local):
    """Meeting of the task that this thread runs."""

    meeting: Meeting | None = None


place = _Place()


def fit(model: Any, x: Any, y: Any, seed: int | None, options: dict[str, Any]) -> History:
    """`Model.fit`, with that of other tasks if this thread runs one of a meeting.

    Args:
        x: samples.
        y: targets.
        seed: seed just set for this thread's generator; None for NumPy's generator.
        options: further arguments of `fit`.
    """
    meeting = place.meeting
    if meeting is None:
        return _alone(model, x, y, options)
    if model.built and _is_at_start(seed):
        one = _Fit(model, {"verbose": 0, **options, "x": x, "y": y}, seed)
        if one.is_simple:
            return meeting.fit(one)
    with meeting.training([model]):
        return _alone(model, x, y, options)


def _alone(model: Any, x: Any, y: Any, options: dict[str, Any]) -> History:
    history: History = model.fit(x, y, **options)
    return history


def _is_at_start(seed: int | None) -> bool:
    """Whether nothing was drawn from NumPy's generator since it was seeded."""
    if seed is None:
        return True
    now, fresh = (tuple(each.get_state()) for each in (numpys(), np.random.RandomState(seed)))
    return all(np.array_equal(*each) for each in zip(now, fresh, strict=True))
