"""Runs of many members in one call of the core, which reads and writes the rows of their stacks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cdl import _core
from cdl._common.errors import standing_in
from cdl.trainers.data_adapter import Arrays
from cdl.trainers.epoch_iterator import for_step, in_order
from cdl.trainers.fit_loop import SLICE
from cdl.trainers.many.left_to_fit import LeftToFit
from cdl.trainers.many.member_data import MemberData
from cdl.trainers.many.stand_in import Stacks, StandIn

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_NUMBERS = 2**20  # numbers in the rows and orders of the members of a call
LANES = 16
"""Members that a thread of the core trains at a time."""

_ARRAYS = frozenset((np.ndarray, type(None)))
MOST_TOGETHER = 2**17
"""Rows in the orders of a member that are drawn at a time, for which an interrupt waits."""


class Epochs(NamedTuple):
    """Epochs of a member, with what a History of them has.

    Attributes:
        epoch: their numbers.
        history: losses and metrics of each, by name.
        states: the core's sums of the last, one for each report.
    """

    epoch: range
    history: dict[str, Any]
    states: Sequence[tuple[float, ...]]


class Draws(NamedTuple):
    """Random seeds of a member.

    Attributes:
        orders_seed: seed of its orders.
        core: seed of what the core draws.
        layers: seeds of its layers, by those in the program.
        shuffles: whether each epoch has a new order of rows.
        discards: how many orders are drawn and discarded first: one in a model's first `fit`.
    """

    orders_seed: int
    core: int
    layers: Mapping[int, int]
    shuffles: bool
    discards: int


def seeds_of(draws: Sequence[Draws], host: _core.Members) -> NDArray[np.int64]:
    """Seeds of the core by member, and those of the layers of a program: (members, seeds)."""
    seeds = [[each.core for each in draws]]
    seeds += [[each.layers.get(seed, seed) for each in draws] for seed in host.seeds]
    return np.array(seeds, np.int64).T.copy()


# A matrix for the orders of each member, and what fills it; None if it is filled.
Due = tuple["NDArray[np.int64]", "tuple[_core.Orders, NDArray[np.int64], NDArray[np.int64]] | None"]


class MemberOrders:
    """Orders of the rows of members, each drawn by a generator of its own.

    Args:
        draws: seeds of each member.
        rows: number of rows of each.
    """

    def __init__(self, draws: Sequence[Draws], rows: int) -> None:
        seeds = [each.orders_seed if each.shuffles else -1 for each in draws]
        discarded = [rows if each.discards else 0 for each in draws]
        self._orders = _core.Orders(np.array(seeds, np.int64), np.array(discarded, np.int64))
        self._rows = rows
        for k, each in enumerate(draws):
            self._discard(k, each.discards - 1)

    def _discard(self, place: int, count: int) -> None:
        """Draw orders of one member that are not used."""
        which, start = np.array([place], np.int64), np.zeros(1, np.int64)
        while count > 0:
            some = min(count, max(1, MOST_TOGETHER // self._rows))
            self._orders.fill(which, np.empty((1, some, self._rows), np.int64), start)
            count -= some

    def due(self, which: Sequence[int], epochs: int, starts: NDArray[np.int64]) -> Due:
        """Orders of the next epochs of some members, which the core draws as each begins.

        Args:
            which: places of the members.
            epochs: number of orders of each.
            starts: number of the first row of each.
        """
        orders = np.empty((len(which), epochs, self._rows), np.int64)
        return orders, (self._orders, np.array(which, np.int64), starts)


class StackedRun:
    """Training of members without validation and callbacks, many in a call.

    Args:
        stand_in: the model that makes the program.
        stacks: weights and states of all members, which training changes.
        begin: initial weights and states, in stacks too.
        data: rows of each member.
        draws: seeds of each member, by its number.
        threads: threads of the core. With several, only members that run in lanes, each thread with
            lanes of its own, are trained; others are left.

    Attributes:
        lost: members with NaN in a loss, or in their initial weights.
        waiting: members that had not begun when `is_over` became true.
    """

    def __init__(
        self,
        stand_in: StandIn,
        stacks: Stacks,
        begin: Stacks,
        data: MemberData,
        draws: Mapping[int, Draws],
        threads: int = 1,
    ) -> None:
        self._threads = threads
        self._stand_in, self._stacks, self._begin = stand_in, stacks, begin
        self._data, self._draws = data, draws
        self.lost, self.waiting = set[int](), set[int]()

    def train(
        self,
        options: Mapping[int, tuple[int, int]],
        halt: threading.Event,
        is_over: Callable[[], bool] = lambda: False,
    ) -> Iterator[dict[int, Epochs]]:
        """Train members, in groups of equal batch size, epochs and rows.

        Args:
            options: batch size and epochs by number of a member.
            halt: set by an interrupt.
            is_over: whether no further member is to begin.

        Yields:
            Epochs of finished members by number, group by group. An interrupted member has the
            weights of a whole batch; members with other data are left to `fit`.
        """
        groups: dict[Any, list[int]] = {}
        for number, each in options.items():
            groups.setdefault((*each, self._data.rows(number)), []).append(number)
        for (batch, epochs, rows), numbers in groups.items():
            parts = [of(numbers[0]) for of in self._data]
            if not rows or any(type(each) not in _ARRAYS for each in parts):
                continue
            width = sum(each.size for each in parts if each is not None) // rows
            size = rows * width + min(rows * epochs, max(rows, MOST_TOGETHER))
            lanes = LANES * self._threads
            most = max(lanes, _MOST_NUMBERS * self._threads // max(1, size) // lanes * lanes)
            if self._threads > 1 and len(numbers) <= LANES:
                continue
            for first in range(0, len(numbers), most):
                some = numbers[first : first + most]
                if is_over():
                    self.waiting.update(some)
                elif not halt.is_set() and rows <= MOST_TOGETHER:
                    with LeftToFit():
                        yield from self._run(some, batch, epochs, halt, is_over)

    def _run(
        self,
        numbers: list[int],
        batch: int,
        epochs: int,
        halt: threading.Event,
        is_over: Callable[[], bool],
    ) -> Iterator[dict[int, Epochs]]:
        model, rows = self._stand_in.model, self._data.rows(numbers[0])
        numbers, arrays, starts = self._rows(numbers, batch)
        if not numbers:
            return
        function = model._train_function(model._compiled, "train", arrays, min(batch, rows))
        try:
            host = self._stand_in.host(function, self._threads)
            if host is None or (self._threads > 1 and not host.has_lanes):
                return
            orders, which = (
                MemberOrders([self._draws[k] for k in numbers], rows),
                [*range(len(numbers))],
            )
            parts: dict[int, list[Epochs]] = {k: [] for k in numbers}
            each = max(1, MOST_TOGETHER // rows)
            for first in range(0, epochs, each):
                count = min(each, epochs - first)
                due = orders.due(which, count, starts)
                members = self._members(host, function, numbers, arrays, due, min(batch, rows))
                kept = []
                for ended in self._finish(members, numbers, halt, is_over if not first else None):
                    kept += ended
                    found = _ended(function, members, numbers, ended, first)
                    if count == epochs:
                        yield found
                        continue
                    for k, part in found.items():
                        parts[k].append(part)
                    if first + count == epochs:
                        yield {k: _joined(parts.pop(k)) for k in found}
                which, starts = [which[i] for i in kept], starts[kept]
                numbers = [numbers[i] for i in kept]
                if not numbers or halt.is_set():
                    break
        finally:
            model._release(function)

    def _rows(self, numbers: list[int], batch: int) -> tuple[list[int], Any, NDArray[np.int64]]:
        """Members with valid rows, the concatenated rows of all, and the offset of each member."""
        arrays, starts = self._joined_rows(numbers, batch)
        if arrays is None:  # `fit` raises the error of each
            numbers = [k for k in numbers if self._joined_rows([k], batch)[0] is not None]
            arrays, starts = self._joined_rows(numbers, batch) if numbers else (None, starts)
        return (numbers if arrays is not None else []), arrays, starts

    def _joined_rows(self, numbers: list[int], batch: int) -> tuple[Any, NDArray[np.int64]]:
        joined, which = self._data.block(numbers), list(range(len(numbers)))
        parts: list[list[Any]] = []
        if joined is None:
            parts = [[*map(of, numbers)] for of in self._data]
            places: dict[tuple[int, ...], int] = {}  # by the ids of rows, which members may share
            keys = zip(*(map(id, each) for each in parts), strict=True)
            which = [places.setdefault(key, len(places)) for key in keys]
            if len(places) < len(which):
                firsts = [which.index(place) for place in range(len(places))]
                parts = [[each[i] for i in firsts] for each in parts]
        starts = np.array(which) * self._data.rows(numbers[0])
        model, arrays = self._stand_in.model, None
        with LeftToFit(), standing_in():
            joined = joined or [_flat(each) for each in parts]
            arrays = for_step(model, model._compiled, "train", (*joined,), None, "fit", batch)
        return (arrays if isinstance(arrays, Arrays) else None), starts

    def _members(
        self,
        host: _core.Members,
        function: Any,
        numbers: list[int],
        arrays: Arrays,
        orders: Due,
        batch: int,
    ) -> _core.StackedMembers:
        weights = self._stand_in.places_of(function)
        step, rate = self._stand_in.places
        return _core.StackedMembers(
            host,
            [self._stacks[place] for place in weights],
            np.array(numbers, np.int64),
            function._fed(arrays),
            orders[0],
            batch,
            self._begin[rate].astype(np.float32),
            self._begin[step][numbers].tolist(),
            seeds_of([self._draws[k] for k in numbers], host),
            orders[1],
        )

    def _finish(
        self,
        members: _core.StackedMembers,
        numbers: list[int],
        halt: threading.Event,
        is_over: Callable[[], bool] | None,
    ) -> Iterator[list[int]]:
        """Train to the end, or a whole batch at an interrupt; places of those that have ended."""
        left, goes_on = [*range(len(numbers))], True
        try:
            while goes_on:
                goes_on = members.train(SLICE) and not halt.is_set()
                states, done = members.states, members.done
                ended = [i for i in left if done[i] and states[i] == "ended"]
                self._note(members, numbers, ended)
                if ended:
                    left = [i for i in left if not done[i]]
                    yield ended
                if goes_on and is_over is not None and is_over():
                    self.waiting.update(numbers[i] for i in members.give_up())
        finally:
            members.leave()
            self._note(members, numbers, left)
            states = members.states
            self.lost.update(numbers[i] for i in left if states[i] == "lost")

    def _note(self, members: _core.StackedMembers, numbers: list[int], places: list[int]) -> None:
        """Store the step counters of members."""
        step, rate = self._stand_in.places
        done, states = members.iterations, members.states
        for i in places:
            if states[i] == "ended":
                self._stacks[step][numbers[i]] = done[i]
                self._stacks[rate][numbers[i]] = self._begin[rate][numbers[i]]


def _flat(of_each: Sequence[Any]) -> Any:
    """Concatenated rows of all; None if none has any."""
    kinds = {*map(type, of_each)}
    if kinds == {type(None)}:
        return None
    if kinds != {np.ndarray}:
        raise TypeError("arrays that are not NumPy's")
    return of_each[0] if len(of_each) == 1 else np.concatenate(of_each)


def _ended(
    function: Any,
    members: _core.StackedMembers,
    numbers: list[int],
    places: list[int],
    first: int,
) -> dict[int, Epochs]:
    """Epochs of members that have finished a call."""
    results = members.found
    epochs = range(first, first + results.shape[1])
    losses = function.losses_of(results)
    if losses is None:
        return {numbers[i]: epochs_of(function, members.passes(i), epochs) for i in places}
    of_epochs, last = losses.tolist(), results[:, -1, 2:].tolist()  # behind those of penalties
    return {numbers[i]: Epochs(epochs, {"loss": of_epochs[i]}, [(*last[i],)]) for i in places}


def epochs_of(function: Any, passes: Sequence[Any], epoch: range) -> Epochs:
    """Epochs of a member.

    Args:
        function: the train function.
        passes: results of the core for each.
        epoch: their numbers.
    """
    logs = [in_order(function.logs_of(*each)) for each in passes]
    history = {name: [each[name] for each in logs] for name in logs[0]}
    return Epochs(epoch, history, passes[-1][0])


def _joined(parts: list[Epochs]) -> Epochs:
    """Concatenation of epochs of a member."""
    history = {name: [v for each in parts for v in each.history[name]] for name in parts[0].history}
    return Epochs(range(parts[-1].epoch.stop), history, parts[-1].states)
