"""MembersFit: training of the members of a `Replicas`."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from inspect import signature
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cdl import _core, config
from cdl._common.errors import hint
from cdl._common.interrupts import held_interrupts
from cdl._common.locks import new_lock
from cdl._common.overriding import is_users
from cdl.callbacks import Callback, CallbackList, History
from cdl.random import Kept, SeedGenerator, permutation, seeded
from cdl.random import state as random_state
from cdl.trainers import arguments
from cdl.trainers.epoch_iterator import DEFAULT_BATCH
from cdl.trainers.many import own_callbacks
from cdl.trainers.many.alike import is_simple
from cdl.trainers.many.member_data import ByMember, MemberData, Shared
from cdl.trainers.many.own_state import of_member, standing_in_for
from cdl.trainers.many.progress import Progress
from cdl.trainers.many.stacked_run import LANES, Draws, Epochs, StackedRun
from cdl.trainers.many.stand_in import Idle, Run, Stacks, StandIn, has_begun, taken
from cdl.trainers.many.watched_run import Watched, WatchedRun
from cdl.trainers.many.workers import cores, on_threads, tasks_of
from cdl.utils.job import job

if TYPE_CHECKING:
    from collections.abc import Callable


_OF_REPLICAS = "learning_rate", "seeds", "workers"
_PLAIN = frozenset(("batch_size", "epochs", "validation_split"))
_OF_STACKED = frozenset(("batch_size", "epochs", "initial_epoch"))


class Past(NamedTuple):
    """Beginning of a fit, with which a later one may go on.

    Attributes:
        seeds: of the orders of each member.
        was_fresh: whether it was the first one.
    """

    seeds: list[int]
    was_fresh: bool


class MembersFit:
    """One `fit` of all members.

    Attributes:
        has_begun: whether it was not refused.

    Args:
        model: the model that they replicate.
        stacks: weights and states of the members, to which trained ones are written.
        begin: initial weights and states, in stacks too.
        idle: pool of unused stand-ins, and those of members with attributes of their own.
        data: rows of each member.
        held_out: rows for validation, or None.
        options: further arguments of `fit` by member.
        seeds: seeds of their orders of rows.
        past: of the fit that goes on with an `initial_epoch`, where `seeds` are its own.
    """

    def __init__(
        self,
        model: Any,
        stacks: Stacks,
        begin: Stacks,
        idle: tuple[Idle, dict[int, StandIn]],
        data: MemberData,
        held_out: MemberData | None,
        options: Mapping[str, ByMember],
        seeds: Sequence[int],
        past: Past | None = None,
    ) -> None:
        self._past, self._was_fresh = past, past is not None and past.was_fresh
        self.has_begun = False
        self._model, self._stacks, self._begin = model, stacks, begin
        self._idle, self._own = idle
        self._data, self._held_out, self._options, self._seeds = data, held_out, options, seeds
        self._busy: list[StandIn] = []
        self._is_fresh = not has_begun(model)
        _check_names(options, type(model).fit)

    def train(self, callbacks: Any, workers: Any, verbose: Any) -> list[History | Epochs]:
        """Train them; the History of each.

        Raises:
            RuntimeError: another call trains them, and one of the two would be lost.
        """
        is_ours = False
        try:
            with held_interrupts():  # between the lock and what tells of it
                is_ours = self._idle.fitting.acquire(blocking=False)
            if not is_ours:
                raise RuntimeError(
                    "fit: the members must be in one fit at a time, and another thread or callback "
                    "trains them: wait for its end, or train a copy (copy.deepcopy)"
                )
            self.has_begun = True
            return self._train(callbacks, workers, verbose)
        finally:
            if is_ours:
                self._idle.fitting.release()

    def _train(self, callbacks: Any, workers: Any, verbose: Any) -> list[History | Epochs]:
        make = self._callbacks(callbacks, len(self._seeds))
        most = cores() if workers is None else arguments.whole(workers, "fit: workers", 1)
        n = len(self._seeds)
        found: list[Any] = [None] * n
        shown = arguments.verbosity(verbose, "fit: verbose")
        progress = Progress(n, shown != 0, "member")
        halt, busy = threading.Event(), self._busy

        def run(numbers: Sequence[int]) -> None:
            stand_in = taken(self._idle, self._model)
            busy.append(stand_in)
            try:
                made: dict[int, list[Callback]] = {}
                ended: dict[int, History | Epochs] = {}
                if not callbacks and self._held_out is None:
                    for some in self._together(stand_in, numbers, halt, 1):
                        ended.update(some)
                else:
                    made = {number: make(number) for number in numbers}
                others = [number for number in numbers if number not in ended]
                ended.update(self._watched(stand_in, others, made, halt))
                for number, each in ended.items():
                    found[number] = each
                    told(number)
                for number in numbers:
                    if not halt.is_set() and found[number] is None:
                        own = made.get(number, [])
                        found[number] = self._one(stand_in, number, own, halt)
                        told(number)
                        if _is_lost(found[number]):  # the core may keep its NaN
                            stand_in.take_model(stand_in.model)
            finally:
                busy.remove(stand_in)
                self._idle.append(stand_in)

        lock = new_lock()

        def told(number: int) -> None:
            if progress.shown:
                with lock:
                    progress.ended(None if isinstance(found[number], Exception) else found[number])

        def stop() -> None:
            halt.set()  # before the flags, which a fit that begins takes back
            for each in busy:
                each.model.stop_training = True

        try:
            if n > LANES and not callbacks and self._held_out is None:
                for some in self._with_one_program(halt, most):
                    for number, each in some.items():
                        found[number] = each
                        told(number)
            left = [number for number in range(n) if found[number] is None]
            on_threads(run, tasks_of(left, most), most, stop)
        finally:
            progress.close()
        _raise_first(found)
        return found

    def _with_one_program(self, halt: threading.Event, threads: int) -> Iterator[dict[int, Epochs]]:
        """Epochs of members that threads of the core have trained, with one program for all."""
        stand_in, before = taken(self._idle, self._model), _core.limit_threads(1)
        try:
            yield from self._together(stand_in, range(len(self._seeds)), halt, threads)
        finally:
            _core.limit_threads(before)
            self._idle.append(stand_in)

    def _together(
        self, stand_in: StandIn, numbers: Sequence[int], halt: threading.Event, threads: int
    ) -> Iterator[dict[int, Epochs]]:
        """Epochs of members by number, which train in one call of the core."""
        if (config.max_epochs(), config.max_steps_per_epoch()) != (None, None):
            return
        if not _OF_STACKED.issuperset(self._options):
            return
        sizes = self._options.get("batch_size", Shared(None))
        counts = self._options.get("epochs", Shared(1))
        starts = self._options.get("initial_epoch", Shared(0))
        plain = {}
        for number in self._alike(numbers):
            batch, epochs, start = sizes(number), counts(number), starts(number)
            batch = DEFAULT_BATCH if batch is None else batch
            if type(batch) is type(epochs) is type(start) is int and batch > 0 <= start < epochs:
                plain[number] = batch, epochs - start
        begin = self._begin
        draws = {number: self._draws(number) for number in plain}
        run = StackedRun(stand_in, self._stacks, begin, self._data, draws, threads)
        yield from run.train(plain, halt)
        if run.lost:  # the core may keep NaN
            stand_in.take_model(stand_in.model)

    def _draws(self, number: int) -> Draws:
        seed, behind = self._seeds[number], self._behind(number)
        discarded = self._is_fresh if not behind else self._was_fresh + behind
        return Draws(seed, seed, {}, True, int(discarded))

    def _behind(self, number: int) -> int:
        """Epochs that a member has behind it, of the fit that goes on."""
        if self._past is None or "initial_epoch" not in self._options:
            return 0
        start = self._options["initial_epoch"](number)
        return arguments.whole(start, "fit: initial_epoch", 0)

    def _watched(
        self,
        stand_in: StandIn,
        numbers: Sequence[int],
        callbacks: Mapping[int, list[Callback]],
        halt: threading.Event,
    ) -> dict[int, History]:
        """Histories of members that have trained an epoch of all in a call of the core."""
        members = {}
        for number in self._alike(numbers):
            run = self._run_of(number, callbacks.get(number, []))
            if run is not None and (run.callbacks or run.split or run.held_out):
                members[number] = Watched(run, self._draws(number), number)
        which = [*members]
        if len(which) < 2 or not stand_in.is_plain:
            return {}
        stacks = [stack[which] for stack in self._begin]
        watched = WatchedRun(stand_in, stacks, [*members.values()])
        try:
            watched.train(halt)
        except BaseException:  # at a whole batch
            self._write(stacks, which, range(len(which)))
            raise
        if watched.lost:  # the core may keep NaN
            stand_in.take_model(stand_in.model)
        places = [place for place, each in enumerate(watched.ended) if each or halt.is_set()]
        self._write(stacks, which, places)
        pairs = zip(which, watched.ended, strict=True)
        return {number: each.history for number, each in pairs if each is not None}

    @held_interrupts()
    def _write(self, stacks: Stacks, numbers: list[int], places: Sequence[int]) -> None:
        """Write states of some members back."""
        to = [numbers[place] for place in places]
        for stack, own in zip(self._stacks, stacks, strict=True):
            stack[to] = own[[*places]]

    def _alike(self, numbers: Sequence[int]) -> list[int]:
        """Members whose models have the original's attributes."""
        return [number for number in numbers if number not in self._own]

    def _one(
        self, stand_in: StandIn, number: int, callbacks: list[Callback], halt: threading.Event
    ) -> Any:
        """History of a member, or its error."""
        before = job.number, job.halt
        if _draws_in_python(stand_in.model):  # counts of its draws stand with its programs
            stand_in.take_model(self._model)
        job.number, job.halt = number, halt
        try:
            note = of_member("fit", number, len(self._seeds))
            with standing_in_for(number, stand_in, self._own, self._model, note) as used:
                used.put(self._begin, number)  # before an interrupt is to keep what it has
                self._busy.append(used)
                try:
                    history = self._fit(used, number, callbacks, halt)
                except Exception:
                    raise
                except BaseException:  # at a whole batch
                    used.take(self._stacks, number)
                    raise
                finally:
                    self._busy.remove(used)
                used.take(self._stacks, number)
            return history
        except Exception as error:
            return error
        finally:
            job.number, job.halt = before

    def _fit(
        self, stand_in: StandIn, number: int, callbacks: list[Callback], halt: threading.Event
    ) -> History:
        model = stand_in.model
        options = {name: of(number) for name, of in self._options.items()}
        history = self._plain(stand_in, number, callbacks, options, halt)
        if history is None:
            stand_in.put(self._begin, number)
            with seeded(self._seeds[number]):
                self._discard(model, number, options)
                history = model.fit(
                    *self._rows(number)[:2],
                    sample_weight=self._rows(number)[2],
                    validation_data=self._validation(number),
                    verbose=0,
                    callbacks=callbacks,
                    **options,
                )
        return history

    def _plain(
        self,
        stand_in: StandIn,
        number: int,
        callbacks: list[Callback],
        options: Mapping[str, Any],
        halt: threading.Event,
    ) -> History | None:
        """History of a member that trains without a `fit` of its own; None for others."""
        run = self._run_of(number, callbacks)
        if run is None:
            return None
        with seeded(self._seeds[number]):
            self._discard(stand_in.model, number, options)
            return stand_in.train(run, halt)

    def _run_of(self, number: int, callbacks: list[Callback]) -> Run | None:
        """Arguments of a member's plain `fit`; None for any other."""
        options = {name: of(number) for name, of in self._options.items()}
        if not _PLAIN.issuperset(options) or not all(map(is_simple, callbacks)):
            return None
        batch, epochs = options.get("batch_size"), options.get("epochs", 1)
        limits = config.max_epochs(), config.max_steps_per_epoch()
        if limits != (None, None) or type(epochs) is not int or type(batch or 1) is not int:
            return None
        if epochs < 1 or (batch is not None and batch < 1):  # `fit` is to say so
            return None
        split = options.get("validation_split", 0.0)
        given = self._rows(number), batch or DEFAULT_BATCH, epochs, self._validation(number)
        return Run(*given, split, callbacks)

    def _rows(self, number: int) -> tuple[Any, Any, Any]:
        data = self._data
        return data.x(number), data.y(number), data.weight(number)

    def _validation(self, number: int) -> Any:
        held_out = self._held_out
        if held_out is None:
            return None
        weight = held_out.weight(number)
        rows = held_out.x(number), held_out.y(number)
        return rows if weight is None else (*rows, weight)

    def _discard(self, model: Any, number: int, options: Mapping[str, Any]) -> None:
        """Draw orders and discard them: one, as only the first `fit` of a model does, or past ones.

        A fit that goes on has those of the epochs before it behind it.
        """
        shuffle = options.get("shuffle", True)
        first = self._is_fresh and number not in self._own and has_begun(model)
        behind = self._behind(number)
        if behind:
            first = self._was_fresh
        if not shuffle or not (first or behind):
            return
        if model.optimizer is not None and model.optimizer.whole_batch:
            return
        rows = self._data.rows(number)
        if self._held_out is None:
            rows = arguments.split_point(options.get("validation_split", 0.0), rows, "fit")
        batch = options.get("batch_size") or DEFAULT_BATCH
        each = batch if shuffle == "batch" else max(1, rows)
        sizes = [min(each, rows - start) for start in range(0, rows, each)]
        for size in sizes[:1] * first + sizes * behind:
            permutation(size)
        if behind:  # for after the order that a `fit` may draw in vain
            model._keep_random_state(Kept(random_state()))

    @staticmethod
    def _callbacks(given: Any, n: int) -> Callable[[int], list[Callback]]:
        """Callbacks by member: copies, or made by a function."""
        if own_callbacks.makes(given):
            lists = [
                own_callbacks.listed(partial(given, k), k, of_member("fit", k, n)) for k in range(n)
            ]
            own_callbacks.check_places(lists, "fit")
            return lists.__getitem__
        listed = CallbackList(given).callbacks
        own_callbacks.check_places([listed, listed], "fit")
        if not listed:
            return lambda number: []
        made = own_callbacks.copier(listed, [], "fit")
        made()  # refused before anything trains
        return lambda number: made()


def _check_names(options: Iterable[str], fit: Any) -> None:
    """TypeError for an option that `fit` does not take, with a hint of one that it or we do."""
    parameters = signature(fit).parameters
    if any(each.kind is each.VAR_KEYWORD for each in parameters.values()):  # a user's `fit`
        return
    for name in options:
        if name not in parameters:
            near = hint(["learning_rate" if name == "lr" else name], {*parameters, *_OF_REPLICAS})
            raise TypeError(f"fit() got an unexpected keyword argument {name!r}{near}")


def _draws_in_python(model: Any) -> bool:
    """Whether a model with code of its own in training has layers that draw."""
    if not is_users(type(model)):
        return False
    parts = model._flatten_layers()
    return any(isinstance(each, SeedGenerator) for part in parts for each in vars(part).values())


def _raise_first(found: Sequence[Any]) -> None:
    for each in found:
        if isinstance(each, Exception):
            raise each


def _is_lost(history: Any) -> bool:
    """Whether a loss of a History is not finite."""
    return isinstance(history, History) and not np.isfinite(history.history.get("loss", 0.0)).all()
