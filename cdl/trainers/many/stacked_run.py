"""Runs of many members in one call of the core, which reads and writes the rows of their stacks."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cdl import _core
from cdl._common.errors import standing_in
from cdl.random import permutation, permutations, seeded
from cdl.trainers.data_adapter import Arrays
from cdl.trainers.epoch_iterator import for_step, in_order
from cdl.trainers.fit_loop import SLICE
from cdl.trainers.many.member_data import MemberData
from cdl.trainers.many.stand_in import Stacks, StandIn

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_NUMBERS = 2**20  # numbers in the rows and orders of the members of a call
_MOST_ORDERED = 2**17  # rows in all epochs of one: an interrupt waits for its orders


class Epochs(NamedTuple):
    """Epochs of a member, with what a History of them has.

    Attributes:
        epoch: their numbers.
        history: losses and metrics of each, by name.
    """

    epoch: range
    history: dict[str, Any]


class StackedRun:
    """Training of members without validation and callbacks, many in a call.

    Args:
        stand_in: the model that makes the program.
        stacks: weights and states of all members, which training changes.
        begin: what they begin with, likewise.
        data: rows of each.
        seeds: of their orders.
        discards: whether each discards an order, as the first `fit` of a model does.

    Attributes:
        lost: whether a loss became NaN, or a member began with it.
    """

    def __init__(
        self,
        stand_in: StandIn,
        stacks: Stacks,
        begin: Stacks,
        data: MemberData,
        seeds: Sequence[int],
        discards: bool,
    ) -> None:
        self._stand_in, self._stacks, self._begin = stand_in, stacks, begin
        self._data, self._seeds, self._discards = data, seeds, discards
        self.lost = False

    def train(
        self, options: Mapping[int, tuple[int, int]], halt: threading.Event
    ) -> dict[int, Epochs]:
        """Train them.

        Args:
            options: rows of a batch, and epochs, by the number of a member.
            halt: set by an interrupt.

        Returns:
            Epochs of members that have done all. An interrupted member has the weights of a whole
            batch; all others are left to `fit`.
        """
        groups: dict[Any, list[int]] = {}
        for number, each in options.items():
            groups.setdefault((*each, self._data.rows(number)), []).append(number)
        found: dict[int, Epochs] = {}
        for (batch, epochs, rows), numbers in groups.items():
            if rows * epochs > _MOST_ORDERED:
                continue
            x = self._data.x(numbers[0])
            size = rows * (epochs + sum(np.shape(x)[1:]))
            each = max(16, _MOST_NUMBERS // max(1, size) // 16 * 16)
            for first in range(0, len(numbers), each):
                if halt.is_set():
                    break
                with suppress(Exception), standing_in():
                    some = numbers[first : first + each]
                    found |= self._run(some, batch, epochs, halt)
        return found

    def _run(
        self, numbers: list[int], batch: int, epochs: int, halt: threading.Event
    ) -> dict[int, Epochs]:
        model = self._stand_in.model
        parts = [_flat([of(k) for k in numbers]) for of in self._data]
        arrays = for_step(model, model._compiled, "train", (*parts,), None, "fit", batch)
        if not isinstance(arrays, Arrays):
            return {}
        rows = arrays.samples // len(numbers)
        batch = min(batch, rows)
        function = model._train_function(model._compiled, "train", arrays, batch)
        try:
            host = self._stand_in.host(function)
            if host is None:
                return {}
            orders = self._orders(numbers, epochs, rows)
            members = self._members(host, function, numbers, arrays, orders, batch)
            self._finish(members, numbers, halt)
            return _ended(function, members, numbers)
        finally:
            model._release(function)

    def _orders(self, numbers: list[int], epochs: int, rows: int) -> NDArray[np.int64]:
        """Orders of each, of its rows among those of all."""
        orders = np.empty((len(numbers), epochs, rows), np.int64)
        for own, number in zip(orders, numbers, strict=True):
            with seeded(self._seeds[number]):
                if self._discards:
                    permutation(rows)
                permutations(own)
        orders += (np.arange(len(numbers)) * rows)[:, None, None]
        return orders

    def _members(
        self,
        host: _core.Members,
        function: Any,
        numbers: list[int],
        arrays: Arrays,
        orders: NDArray[np.int64],
        batch: int,
    ) -> _core.StackedMembers:
        weights = self._stand_in.places_of(function)
        step, rate = self._stand_in.places
        return _core.StackedMembers(
            host,
            [self._stacks[place] for place in weights],
            np.array(numbers, np.int64),
            function._fed(arrays),
            orders,
            batch,
            self._begin[rate].astype(np.float32),
            self._begin[step][numbers].tolist(),
            np.array([[self._seeds[number], *host.seeds] for number in numbers], np.int64),
        )

    def _finish(
        self, members: _core.StackedMembers, numbers: list[int], halt: threading.Event
    ) -> None:
        """Train to the end, or to an interrupt: at a whole batch."""
        step, rate = self._stand_in.places
        try:
            while members.train(SLICE) and not halt.is_set():
                pass
        finally:
            members.leave()
            self.lost |= "lost" in members.states
            for number, state, done in zip(
                numbers, members.states, members.iterations, strict=True
            ):
                if state == "ended":
                    self._stacks[step][number] = done
                    self._stacks[rate][number] = self._begin[rate][number]


def _flat(of_each: list[Any]) -> Any:
    """Rows of all, one after the other; None if none has any."""
    if all(each is None for each in of_each):
        return None
    if not all(type(each) is np.ndarray for each in of_each):
        raise TypeError("arrays that are not NumPy's")
    return np.concatenate(of_each)


def _ended(function: Any, members: _core.StackedMembers, numbers: list[int]) -> dict[int, Epochs]:
    """Epochs of those that have done all of them."""
    found: dict[int, Epochs] = {}
    losses = function.losses_of(members.found)
    for i, (number, done) in enumerate(zip(numbers, members.done, strict=True)):
        if not done:
            continue
        if losses is not None:
            history = {"loss": losses[i]}
        else:
            logs = [in_order(function.logs_of(*each)) for each in members.passes(i)]
            history = {name: [each[name] for each in logs] for name in logs[0]}
        found[number] = Epochs(range(members.found.shape[1]), history)
    return found
