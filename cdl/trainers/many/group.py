"""Groups of alike jobs, which train with one program.

A copy of the first model of a group lowers and builds the program. During training, weights and
optimizer slots of the jobs are rows of stacks (stacked_jobs.py); where they cannot be stacked, the
core copies those of one job after the other. Only data, orders, seeds and rates are the job's own.
A job with an anomaly, such as a label out of range or a loss that is not finite, starts again in
`fit`, so that its errors and results are those of the job alone. With validation or callbacks, a
call runs an epoch of all jobs (watched_run.py), or the copy replaces the model in a whole `fit`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cdl import _core
from cdl._common.errors import StandsInError, standing_in
from cdl.callbacks import Callback, History
from cdl.random import core_seed, permutation, permutations, seeded
from cdl.trainers import not_finite
from cdl.trainers.compile_arguments import leaves
from cdl.trainers.epoch_iterator import DEFAULT_BATCH, for_step
from cdl.trainers.fit_loop import SLICE
from cdl.trainers.many.alike import (
    MOST_ORDERED,
    OPTIONS,
    Description,
    Job,
    Likenesses,
    plan_of,
)
from cdl.trainers.many.ended_run import EndedRun
from cdl.trainers.many.left_to_fit import LeftToFit
from cdl.trainers.many.stacked_jobs import Begin, StackedJobs
from cdl.trainers.many.stacked_run import MOST_TOGETHER, Draws, Epochs, epochs_of
from cdl.trainers.many.stand_in import (
    Run,
    StandIn,
    is_for_members,
    storage_of,
    value_of,
    variables_of,
)
from cdl.trainers.many.watched_run import Watched, WatchedRun, checked_rows
from cdl.utils.job import job

if TYPE_CHECKING:
    import threading


_OF_RUNS = OPTIONS | {"validation_split", "validation_data"}
_MOST_HOSTS = 8  # per thread; each has the memory of a model and its program


class _Context(NamedTuple):
    """Context in which jobs train.

    Attributes:
        core: seed of the core's draws.
        halt: set by an interrupt.
        tell: called with the number and the History of each that has ended.
        is_over: whether no further job is to begin.
    """

    core: int
    halt: threading.Event
    tell: Callable[[int, History], object]
    is_over: Callable[[], bool]


class _Host:
    """Copy of a model, whose program trains all alike jobs.

    Args:
        first: the first job of the group.
        kept: objects of its model that the copy shares.

    Attributes:
        fits: whether members can share the program.
    """

    def __init__(self, first: Job, kept: Sequence[Any]) -> None:
        is_fresh = not first.model._compiled.optimizer.built
        self._stand_in = StandIn(first.model, kept)
        self._model = self._stand_in.model
        found = Likenesses().described(self._model, first.options, first.plan)
        compiled = self._model._compiled
        arrays = self.data(first).rows(0, first.plan.rows)
        self.train = self._model._train_function(compiled, "train", arrays, first.plan.batch)
        assert found is not None
        seeds = [each.seed for each in found.generators]
        # Losses that have been given by name, as those of all alike jobs then are.
        self._names_only = _are_names(compiled) and not self.train.resolved.metrics
        self.fits = is_for_members(self.train, found.variables)
        self.members = _core.Members(self.train.executor, _parameters(found, self._model))
        self.fits = self.fits and set(self.members.seeds) <= set(seeds)
        self._places = [seeds.index(seed) for seed in self.members.seeds] if self.fits else []
        self._seeds = seeds
        self.stacked = StackedJobs(self._stand_in, found, is_fresh)

    def data(self, one: Job) -> Any:
        """Checked arrays of a job."""
        weights = one.options.get("class_weight")
        compiled = self._model._compiled
        most = one.options.get("batch_size") or one.plan.batch
        return for_step(self._model, compiled, "train", _rows(one), weights, "fit", most)

    def member(self, one: Job, found: Description, core: int) -> _core.Member:
        """Member of the core for a job, with all orders of rows drawn."""
        model, plan = one.model, one.plan
        compiled = model._compiled
        optimizer, rows = compiled.optimizer, len(one.options["x"])
        with seeded(one.seed, core):
            arrays = self.data(one)
            parameters = _begun(found, model)
            if plan.shuffle and compiled.resolved is None:
                permutation(rows)  # as a first `fit` does
            orders = np.empty((plan.epochs, rows), np.int64)
            if plan.shuffle:
                permutations(orders)
            else:
                orders[:] = np.arange(rows)
            step, drawn = optimizer.step, core_seed()
        return _core.Member(
            self.members,
            parameters,
            self.train._fed(arrays),
            orders,
            plan.batch,
            optimizer.rate(step),
            step,
            drawn,
            [found.generators[place].seed for place in self._places],
        )

    def ended(self, one: Job, member: _core.Member) -> History:
        """History of a finished job, whose model is left in the state after `fit`."""
        compiled = one.model._compiled
        self.count(one, member)
        if compiled.optimizer.use_ema:
            compiled.optimizer.finalize_variable_values(one.model._trained())
        not_finite.note_sound(one.model, member.parameters)
        return self._told(one, epochs_of(self.train, member.passes(0), range(one.plan.epochs)))

    def stacks(self, one: Job) -> bool:
        """Whether jobs like this one train many per call."""
        plain = one.plan.is_plain and one.plan.rows <= MOST_TOGETHER
        return self.stacked.fits and plain and one.options.get("class_weight") is None

    def all_at_once(self, group: Sequence[tuple[Job, Description]], context: _Context) -> set[int]:
        """Train plain jobs, many per call; returns the numbers of jobs that have not begun."""
        self.give_back()
        jobs = []
        for one, found in group:
            plan, draws = one.plan, self._draws(one, found, context.core)
            begin = Begin(draws, plan.batch, plan.epochs, _rows(one))
            jobs.append((one.model, found, begin))
        waiting: set[int] = set()
        for left, ended in self.stacked.train(jobs, context.halt, context.is_over):
            waiting |= {group[k][0].number for k in left}
            for k, epochs in ended.items():
                one = group[k][0]
                context.tell(one.number, self._told(one, epochs))
        return waiting

    def _told(self, one: Job, epochs: Epochs) -> History:
        """History of a job whose weights are written back; its model is left as after `fit`."""
        history, plan = History(), one.plan
        history.epoch, history.history = [*epochs.epoch], epochs.history
        steps = -(-plan.rows // plan.batch)
        params = {"verbose": 0, "epochs": plan.epochs, "steps": steps, "job": one.number}
        history.set_params(params)
        logs = {name: each[-1] for name, each in history.history.items()}
        states = dict(zip(self.train.plan.reports, epochs.states, strict=True))
        self._leave(one, history, logs, states)
        one.model.stop_training = False
        return history

    def together(
        self, group: Sequence[tuple[Job, Description]], core: int, halt: threading.Event
    ) -> dict[int, History]:
        """Histories by number of jobs that trained together, one epoch per call."""
        jobs, members, values = [], [], []
        for one, found in group:
            with _standing_in(one.number):
                member = self._watched(one, found, core)
                if member is not None:
                    values.append([value_of(each) for each in variables_of(one.model)])
                    members.append(member)
                    jobs.append((one, found))
        if len(jobs) < 2 or not self._stand_in.is_plain:
            return {}
        stacks = [np.stack(each) for each in zip(*values, strict=True)]
        run = WatchedRun(self._stand_in, stacks, members)
        run.train(halt)
        histories = {}
        for place, ((one, found), ended) in enumerate(zip(jobs, run.ended, strict=True)):
            if ended is None and not halt.is_set():
                continue
            self._write(one.model, [stack[place] for stack in stacks])
            if ended is None:
                continue
            not_finite.note_sound(one.model, _parameters(found, one.model))
            for each in (*members[place].run.callbacks, ended.history):
                each.set_model(one.model)
            self._leave(one, ended.history, ended.logs, ended.states)
            one.model.stop_training = ended.stopped
            histories[one.number] = ended.history
        return histories

    def _watched(self, one: Job, found: Description, core: int) -> Watched | None:
        """Member of a run of several jobs; None for options that only `fit` supports."""
        options, plan = one.options, one.plan
        if not _OF_RUNS.issuperset(options) or options.get("class_weight") is not None:
            return None
        data = _rows(one)
        batch = int(options.get("batch_size") or DEFAULT_BATCH)
        held_out, split = options.get("validation_data"), options.get("validation_split", 0.0)
        callbacks = one.callbacks.made()
        run = Run(data, batch, plan.epochs, held_out, split, [*callbacks])
        checked_rows(self._stand_in.model, "train", data)  # before the optimizer is built
        _begun(found, one.model)
        return Watched(run, self._draws(one, found, core), one.number)

    def _draws(self, one: Job, found: Description, core: int) -> Draws:
        """Seeds of a job, whose optimizer may have begun."""
        own = [each.seed for each in found.generators]
        layers = dict(zip(self._seeds, own, strict=True)) if own else {}
        shuffles = one.plan.shuffle
        discards = int(shuffles and one.model._compiled.resolved is None)
        return Draws(one.seed, core, layers, shuffles, discards)

    def _write(self, model: Any, values: Sequence[Any]) -> None:
        """Write the trained values of a member to the model of its job."""
        optimizer, (step, rate) = model._compiled.optimizer, self._stand_in.places
        for variable, value in zip(variables_of(model), values, strict=True):
            if (storage := storage_of(variable)) is not None:
                storage.set(value)
        optimizer.step = int(values[step])
        if float(optimizer.learning_rate) != float(values[rate]):
            optimizer.learning_rate = float(values[rate])

    def fit(self, one: Job, found: Description, core: int) -> History | None:
        """History of a job that the copy trains in its place; None if it must train alone.

        Callbacks and validation between epochs act on the copy.
        """
        host, model, plan = self._model, one.model, one.plan
        theirs, own = host._compiled.optimizer, model._compiled.optimizer
        if all(each is not self.train for each in host._executors._idle.values()):
            return None
        callbacks = one.callbacks.made()
        begin = _Begin(lambda: self._take_in(one, found))
        with seeded(one.seed, core):
            if plan.shuffle and model._compiled.resolved is None:
                permutation(plan.rows)  # as a first `fit` does
            history: History = host.fit(**one.options, callbacks=[begin, *callbacks])
        if not all(np.isfinite(values).all() for values in history.history.values()):
            return None
        self.members.write_back(_parameters(found, model))
        own.step = theirs.step
        if float(own.learning_rate) != float(theirs.learning_rate):
            own.learning_rate = float(theirs.learning_rate)
        last = host._last_train_function
        states = dict(zip(last.plan.reports, last.executor.states(), strict=True))
        for each in (*callbacks, history):
            each.set_model(model)
        not_finite.note_sound(model, _parameters(found, model))
        self._leave(one, history, last.results(), states)
        model.stop_training = host.stop_training
        return history

    def _take_in(self, one: Job, found: Description) -> None:
        """Load weights, seeds, step and learning rate of a job with checked arguments."""
        theirs, own = self._model._compiled.optimizer, one.model._compiled.optimizer
        parameters = _begun(found, one.model)
        self.members.take_in(parameters, [found.generators[place].seed for place in self._places])
        theirs.step, theirs.learning_rate = own.step, float(own.learning_rate)

    def give_back(self) -> None:
        """Let runs of the copy use the train function."""
        self._model._give_back(self.train)

    def _leave(
        self, one: Job, history: History, logs: dict[str, Any], states: dict[Any, Any]
    ) -> None:
        """Bring a model into the state after `fit`."""
        model, compiled = one.model, one.model._compiled
        if compiled.resolved is None and self._names_only:
            compiled.resolved = self.train.resolved  # indistinguishable from its own
        elif compiled.resolved is None:
            graph = model._graph_of_model
            shapes = [(None, *one.options["y"].shape[1:])]
            compiled.resolved = compiled.resolve(graph.output_infos(), shapes, graph.output_nest())
        model._initial_epoch = model._random_state = None
        compiled.told_not_finite = False
        model._last_train_function = EndedRun(logs, states, compiled.resolved)
        model.history = history

    @staticmethod
    def count(one: Job, member: _core.Member) -> None:
        """Set the step counter of a job's optimizer."""
        one.model._compiled.optimizer.counter[0] = member.iteration


def _rows(one: Job) -> tuple[Any, Any, Any]:
    """Samples, targets and weights of a job."""
    return one.options["x"], one.options.get("y"), one.options.get("sample_weight")


class _Begin(Callback):
    """Callback of a stand-in's run: a function at the begin, a stop when its job is halted."""

    def __init__(self, begin: Callable[[], object]) -> None:
        super().__init__()
        self._begin = begin

    def on_train_begin(self, logs: Any = None) -> None:
        self._begin()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if job.halted:
            self.model.stop_training = True


def _are_names(compiled: Any) -> bool:
    """Whether all losses were given by name."""
    return all(isinstance(each, str) for each in leaves(compiled.given["loss"]))


def _begun(found: Description, model: Any) -> list[_core.Parameter]:
    """Result of `_parameters` before a model's first step; StandsInError for NaN in it."""
    model._executors._agree_on_variables(model)
    parameters = _parameters(found, model)
    if not all(each.finite for each in parameters):
        raise StandsInError("weights")
    return parameters


def _parameters(found: Description, model: Any) -> list[_core.Parameter]:
    """Core memory of a model's weights and of their optimizer slots."""
    optimizer, trained = model._compiled.optimizer, model._compiled.variables
    parameters = [each.storage for each in found.variables]
    for each in trained:
        parameters += optimizer._slots.storages(each)
    for kept in (optimizer._slots.averages, optimizer._slots.accumulators):
        parameters += [kept[each].storage for each in trained if each in kept]
    return parameters


class Hosts(dict[Any, Any]):
    """Cache of a thread: hosts of groups by the likeness of their jobs."""

    def __init__(self) -> None:
        super().__init__()
        self.likenesses = Likenesses()


def train_alike(
    jobs: Sequence[Job],
    hosts: Hosts,
    core: int,
    halt: threading.Event,
    tell: Callable[[int, History], object],
    is_over: Callable[[], bool] = lambda: False,
) -> set[int]:
    """Train those of the jobs that are alike, and leave the others.

    Args:
        jobs: the jobs.
        hosts: the cache of this thread.
        core: seed of the core's draws.
        halt: set by an interrupt.
        tell: called with the number and the History of each that has ended.
        is_over: whether no further job is to begin.

    Returns:
        The numbers of those that have not begun.
    """
    context = _Context(core, halt, tell, is_over)
    waiting: set[int] = set()
    groups: dict[Any, list[tuple[Job, Description]]] = {}
    for one in jobs:
        with LeftToFit():  # an unknown object in a model, which trains alone
            found = hosts.likenesses.described(one.model, one.options, one.plan)
            if found is not None:
                groups.setdefault(found.key, []).append((one, found))
    for key, group in groups.items():
        if is_over():
            waiting |= {one.number for one, _ in group}
            continue
        if key not in hosts and len(group) > 1:
            while len(hosts) >= _MOST_HOSTS:
                del hosts[next(iter(hosts))]
            hosts[key] = _host(group[0][0], group[0][1].kept)
        host = hosts.get(key)
        if host is not None and host.stacks(group[0][0]):
            waiting |= host.all_at_once(group, context)
        elif host is not None and group[0][0].plan.is_plain:
            for some in _members(host, group, core):
                waiting |= _run(host, some, context)
        elif host is not None:
            waiting |= _stand_in(host, group, context)
    return waiting


def _host(first: Job, kept: Sequence[Any]) -> _Host | None:
    """Host of a group; None if its program cannot be shared, or the first job has an error."""
    host = None
    with _standing_in(first.number):
        host = _Host(first, kept)
    return host if host is not None and host.fits else None


@contextmanager
def _standing_in(number: int) -> Iterator[None]:
    """Context of training in place of a job: warnings and errors are left to its own `fit`."""
    job.number = number
    try:
        with LeftToFit(), standing_in():
            yield
    finally:
        job.number = None


def _stand_in(host: _Host, group: Sequence[tuple[Job, Description]], context: _Context) -> set[int]:
    """Train jobs with callbacks or validation; the numbers of those that have not begun."""
    core, halt, tell, is_over = context
    before, job.halt = job.halt, halt
    host.give_back()
    waiting: set[int] = set()
    ended = {} if is_over() else host.together(group, core, halt)
    for number, history in ended.items():
        tell(number, history)
    for one, found in group:
        if one.number in ended:
            continue
        if is_over():
            waiting.add(one.number)
            continue
        own = None
        with _standing_in(one.number):
            own = None if halt.is_set() else host.fit(one, found, core)
        if own is not None:
            tell(one.number, own)
    job.halt = before
    return waiting


def _members(
    host: _Host, group: Sequence[tuple[Job, Description]], core: int
) -> Iterator[list[tuple[Job, _core.Member]]]:
    """Members of a group in chunks, so that their orders of rows take little memory."""
    some: list[tuple[Job, _core.Member]] = []
    ordered = 0
    for one, found in group:
        with _standing_in(one.number):
            some.append((one, host.member(one, found, core)))
            ordered += one.plan.epochs * one.plan.rows
        if ordered >= MOST_ORDERED:
            yield some
            some, ordered = [], 0
    yield some


def _run(host: _Host, some: list[tuple[Job, _core.Member]], context: _Context) -> set[int]:
    """Run members in slices of time, to hear interrupts; numbers of those that have not begun."""
    waiting: set[int] = set()
    try:
        while some and not context.halt.is_set():
            if context.is_over():
                waiting |= {one.number for one, member in some if member.state == "waits"}
                some = [(one, member) for one, member in some if member.state == "is in"]
            host.members.train([member for _, member in some], SLICE)
            for one, member in some:
                if member.state == "ended":
                    context.tell(one.number, host.ended(one, member))
            some = [(one, member) for one, member in some if member.state in ("waits", "is in")]
    finally:  # the core must not hold members that are freed
        for one, member in some:
            if member.state == "is in":
                host.members.leave([member])
                host.count(one, member)
    return waiting


__all__ = ["Hosts", "Job", "plan_of", "train_alike"]
