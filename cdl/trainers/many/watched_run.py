"""Runs of many members with validation and callbacks: an epoch of all of them in a call."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cdl import _core
from cdl._common.errors import StandsInError, standing_in
from cdl._common.interrupts import held_interrupts
from cdl.callbacks import CallbackList, History
from cdl.trainers import arguments
from cdl.trainers.data_adapter import Arrays
from cdl.trainers.epoch_iterator import for_step, in_order
from cdl.trainers.fit_loop import SLICE
from cdl.trainers.many.left_to_fit import LeftToFit
from cdl.trainers.many.stacked_run import Draws, Due, MemberOrders, seeds_of
from cdl.trainers.many.stand_in import Run, Stacks, StandIn

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ORDERED = 2**13  # rows in the first block of drawn orders of a member; each next one doubles
_MOST_NUMBERS = 2**20  # numbers in the rows of members that run together


class Watched(NamedTuple):
    """Member of a run.

    Attributes:
        run: its rows, epochs and callbacks.
        draws: its seeds.
        job: number in `params` of its callbacks.
    """

    run: Run
    draws: Draws
    job: int

    @property
    def arrays(self) -> list[Any]:
        """Rows of the member: x, y and weights, and those held out."""
        return [*self.run.data, *(self.run.held_out or ())]

    @property
    def form(self) -> tuple[Any, ...]:
        """Key of members that may run together; TypeError for arrays that are not NumPy's."""
        if not all(type(each) is np.ndarray or each is None for each in self.arrays):
            raise TypeError("watched runs have arrays")
        shapes = [None if each is None else (each.shape, each.dtype) for each in self.arrays]
        return self.run.batch, self.run.epochs, self.run.split, *shapes


class Ended(NamedTuple):
    """Results of a finished member.

    Attributes:
        history: losses and metrics of its epochs.
        logs: losses and metrics of its last pass.
        states: the core's sums of that pass, by the keys of the reports.
        stopped: whether a callback has stopped it.
    """

    history: History
    logs: dict[str, Any]
    states: dict[Any, Any]
    stopped: bool


class _Rate:
    """Optimizer of a member for its callbacks: it has a learning rate."""

    def __init__(self, rates: NDArray[Any], place: int) -> None:
        self._rates, self._place = rates, place

    @property
    def learning_rate(self) -> Any:
        return self._rates[self._place]

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        if not 0 <= value < math.inf:
            raise StandsInError("learning_rate")
        self._rates[self._place] = value


class _Seen:
    """Model of a member for its callbacks: it has weights, an optimizer and `stop_training`."""

    def __init__(self, model: Any, stacks: Stacks, rates: NDArray[Any], place: int) -> None:
        self._model, self._stacks, self._place = model, stacks, place
        self.optimizer = _Rate(rates, place)
        self.stop_training = False
        self.history: Any = None

    @property
    def metrics(self) -> Any:
        return self._model.metrics

    def get_weights(self) -> list[Any]:
        return [stack[self._place].copy() for stack in self._stacks]

    def set_weights(self, weights: Sequence[Any]) -> None:
        for stack, weight in zip(self._stacks, weights, strict=True):
            stack[self._place] = weight


class _Passes:
    """Passes of members over their rows, of training or of validation.

    Args:
        stand_in: the model that makes the program.
        kind: "train" or "test".
        arrays: rows of all members, one after the other.
        each: number of rows of each member.
        rows: range of these that is read.
        batch: batch size, at most.
    """

    def __init__(
        self, stand_in: StandIn, kind: str, arrays: Arrays, each: int, rows: range, batch: int
    ) -> None:
        self._stand_in, self._each = stand_in, each
        self.rows, self.batch = rows, min(batch, len(rows))
        model = stand_in.model
        self._function = model._train_function(model._compiled, kind, arrays, self.batch)
        self._fed = self._function._fed(arrays)
        self._members: Any = None
        self._at: dict[int, int] = {}

    def close(self) -> None:
        self._stand_in.model._release(self._function)

    def starts_of(self, numbers: list[int]) -> NDArray[np.int64]:
        """Number of the first row of each of some members."""
        return np.array(numbers, np.int64) * self._each + self.rows.start

    def begin(self, group: _Group, numbers: list[int], orders: Due) -> None:
        """Load members of a group, for one epoch per order of their rows."""
        host = self._stand_in.host(self._function)
        if host is None:
            raise StandsInError("program")
        stacks = [group.stacks[place] for place in self._stand_in.places_of(self._function)]
        seeds = seeds_of([group.members[k].draws for k in numbers], host)
        places = group.places[numbers]
        own = group.rates, group.steps[places].tolist(), seeds
        self._members = _core.StackedMembers(
            host, stacks, places, self._fed, orders[0], self.batch, *own, orders[1]
        )
        self._at = {k: i for i, k in enumerate(numbers)}

    def run(self, numbers: list[int], epoch: int, halt: threading.Event) -> list[int]:
        """Run an epoch of some members; those that finished it without an anomaly."""
        self._members.begin([self._at[k] for k in numbers], epoch, epoch + 1)
        try:
            while self._members.train(SLICE) and not halt.is_set():
                pass
        finally:
            self._members.leave()
        done, states = self._members.done, self._members.states
        return [k for k in numbers if done[self._at[k]] and states[self._at[k]] == "ended"]

    def logs(self, numbers: list[int], epoch: int) -> dict[int, dict[str, Any]]:
        """Losses and metrics of an epoch of members."""
        which = [self._at[k] for k in numbers]
        losses = self._function.losses_of(self._members.found[which, epoch])
        if losses is not None:
            return {k: {"loss": loss} for k, loss in zip(numbers, losses.tolist(), strict=True)}
        passes = [self._members.passes(i, epoch)[0] for i in which]
        logs = [in_order(self._function.logs_of(*each)) for each in passes]
        return dict(zip(numbers, logs, strict=True))

    def states(self, number: int, epoch: int) -> dict[Any, Any]:
        """The core's sums of an epoch of a member."""
        ((states, _),) = self._members.passes(self._at[number], epoch)
        return dict(zip(self._function.plan.reports, states, strict=True))

    @property
    def steps(self) -> list[int]:
        """Steps that the optimizers of the members have made."""
        found: list[int] = self._members.iterations
        return found


class _Group:
    """Members of one form, by their places in a run, with their callbacks and passes over rows."""

    def __init__(
        self, run: WatchedRun, places: list[int], training: _Passes, validation: _Passes | None
    ) -> None:
        self._run, self._training, self._validation = run, training, validation
        self.places, self.stacks = np.array(places), run.stacks
        self.members = [run.members[place] for place in places]
        step, rate = run.stand_in.places
        self.steps, self.rates = run.stacks[step], run.stacks[rate]
        self._epochs = self.members[0].run.epochs
        model = run.stand_in.model
        kept = run.stacks[: len(model.weights)]
        self._seen: list[Any] = [_Seen(model, kept, self.rates, place) for place in places]
        self._callbacks = [
            CallbackList([*one.run.callbacks], add_history=True, model=seen)
            for one, seen in zip(self.members, self._seen, strict=True)
        ]
        self._going = dict.fromkeys(range(len(places)))  # in their order

    def train(self, halt: threading.Event) -> None:
        """Train members, until each has ended."""
        rows = len(self._training.rows)
        orders = MemberOrders([one.draws for one in self.members], rows)
        self._begin(-(-rows // self._training.batch))
        first, some = 0, max(1, _ORDERED // rows)
        while self._going and first < self._epochs and not halt.is_set():
            some = min(some, self._epochs - first)
            numbers = [*self._going]
            starts = self._training.starts_of(numbers)
            self._training.begin(self, numbers, orders.due(numbers, some, starts))
            try:
                for epoch in range(some):
                    if self._going and not halt.is_set():
                        self._epoch(first + epoch, epoch, halt)
            finally:
                self.steps[self.places[numbers]] = self._training.steps
            first, some = first + some, 2 * some

    def _begin(self, steps: int) -> None:
        for k, one in enumerate(self.members):
            params = {"verbose": 0, "epochs": self._epochs, "steps": steps, "job": one.job}
            self._callbacks[k].set_params(params)
            self._call(k, "on_train_begin")
        if self._validation is not None:
            numbers = [*range(len(self.members))]
            order = np.arange(len(self._validation.rows))
            starts = self._validation.starts_of(numbers)
            self._validation.begin(self, numbers, (order + starts[:, None, None], None))

    def _epoch(self, epoch: int, drawn: int, halt: threading.Event) -> None:
        """Run an epoch of the remaining members, in the order of index `drawn` of each."""
        for k in [*self._going]:
            self._call(k, "on_epoch_begin", epoch)
        self._keep(self._training.run([*self._going], drawn, halt), halt)
        logs = self._training.logs([*self._going], drawn)
        last = logs
        if self._validation is not None:
            self._keep(self._validation.run([*self._going], 0, halt), halt)
            last = self._validation.logs([*self._going], 0)
            logs = {
                k: in_order(logs[k] | {f"val_{name}": value for name, value in values.items()})
                for k, values in last.items()
            }
        for k in [*self._going]:
            self._call(k, "on_epoch_end", epoch, dict(logs[k]))
            if self._seen[k].stop_training or epoch + 1 == self._epochs or halt.is_set():
                self._call(k, "on_train_end", logs[k])
                self._end(k, last[k], drawn, halt.is_set())

    def _keep(self, sound: list[int], halt: threading.Event) -> None:
        self._run.lost |= len(sound) < len(self._going) and not halt.is_set()
        self._going = dict.fromkeys(sound)

    def _call(self, k: int, hook: str, *values: Any) -> None:
        """Call a hook of a member; one whose callback fails is left to `fit`, which raises."""
        with LeftToFit():
            getattr(self._callbacks[k], hook)(*values)
            return
        self._going.pop(k, None)

    def _end(self, k: int, logs: dict[str, Any], drawn: int, halted: bool) -> None:
        if k not in self._going:
            return
        del self._going[k]
        last = self._training if self._validation is None else self._validation
        states = last.states(k, drawn if last is self._training else 0)
        history = self._callbacks[k].history
        stopped = self._seen[k].stop_training or halted
        self._run.ended[self.places[k]] = Ended(history, logs, states, stopped)


def checked_rows(model: Any, kind: str, rows: Sequence[Any]) -> Arrays:
    """Rows of a member, or of several, as `fit` takes them.

    Args:
        model: of the members' program.
        kind: "train" or "test".
        rows: x, y and optional weights.

    Raises:
        StandsInError: they are no arrays.
        ValueError: what `fit` says of them.
    """
    x, y, weight = (*rows, None)[:3]
    call = "fit" if kind == "train" else "fit: validation_data"
    found = for_step(model, model._compiled, kind, (x, y, weight), None, call)
    if not isinstance(found, Arrays):
        raise StandsInError(call)
    return found


class WatchedRun:
    """Training of members with validation or callbacks, many in a call of the core.

    After each epoch the remaining members are evaluated, and their callbacks called. When one
    stops, the others are distributed over the lanes again.

    Args:
        stand_in: the model that makes the programs.
        stacks: weights and states of the members, which training changes.
        members: data, epochs and callbacks of each.

    Attributes:
        ended: results of each finished member; None for one that must start again in `fit`, since a
            loss is not finite or only `fit` supports or reports what it meets.
        lost: whether a loss was not finite.
    """

    def __init__(self, stand_in: StandIn, stacks: Stacks, members: Sequence[Watched]) -> None:
        self.stand_in, self.stacks, self.members = stand_in, stacks, members
        self.ended: list[Ended | None] = [None] * len(members)
        self.lost = False

    def train(self, halt: threading.Event) -> None:
        """Train them, to their ends or, at a whole batch, to an interrupt."""
        if any(each.dtype != "float32" for each in self.stand_in.model.weights):
            return
        groups: dict[Any, list[int]] = {}
        for place, each in enumerate(self.members):
            with suppress(TypeError):
                groups.setdefault(each.form, []).append(place)
        for places in groups.values():
            size = sum(each.size for each in self.members[places[0]].arrays if each is not None)
            most = max(16, _MOST_NUMBERS // max(1, size) // 16 * 16)
            for first in range(0, len(places), most):
                if not halt.is_set():
                    with held_interrupts(halt.set), LeftToFit(), standing_in():
                        self._together(places[first : first + most], halt)

    def _together(self, places: list[int], halt: threading.Event) -> None:
        runs = [self.members[place].run for place in places]
        held_out, split, batch = runs[0].held_out, runs[0].split, runs[0].batch
        arrays = self._rows("train", [run.data for run in runs])
        each = arrays.samples // len(places)
        point, test, rows = each, arrays, range(0)
        if held_out is not None:
            test = self._rows("test", [run.held_out or () for run in runs])
            rows = range(test.samples // len(places))
        elif split:
            point = arguments.split_point(split, each, "fit: validation_split")
            rows = range(point, each)
        with ExitStack() as stack:
            own = _Passes(self.stand_in, "train", arrays, each, range(point), batch)
            stack.enter_context(closing(own))
            validation = None
            if rows:
                in_all = test.samples // len(places)
                validation = _Passes(self.stand_in, "test", test, in_all, rows, batch)
                stack.enter_context(closing(validation))
            _Group(self, places, own, validation).train(halt)

    def _rows(self, kind: str, given: Sequence[Sequence[Any]]) -> Arrays:
        """Checked rows of members, one after the other."""
        parts = [
            None if part[0] is None else np.concatenate(part) for part in zip(*given, strict=True)
        ]
        return checked_rows(self.stand_in.model, kind, parts)
