"""Links: the gradient of a loss and the optimizer's step with it, as one program or as two."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from cdl import _core, tree
from cdl._variables.draw_counts import counted, draws
from cdl._variables.stepping import Call, Ref
from cdl.optimizers.apply import executor_of
from cdl.random import core_seed
from cdl.trainers.chains.followers import Followers
from cdl.trainers.compiled_function import Compiled
from cdl.trainers.vjp import STEPS

Values = list[Any]


def of_values(structure: Any, is_result: bool = False) -> Callable[[Values], Any]:
    """Function of values: the structure, with each Ref replaced by its value.

    Lists and dicts in the result of a step (`is_result`) are new in each call.
    """
    if isinstance(structure, Ref):
        number = structure.number
        return lambda values: values[number]
    if not refs(structure) and not (is_result and type(structure) in (list, tuple, dict)):
        return lambda values: structure
    if isinstance(structure, dict):
        named = {key: of_values(each, is_result) for key, each in structure.items()}
        if type(structure) is dict:
            return lambda values: {key: each(values) for key, each in named.items()}
        made = copy.copy(structure)  # such as an OrderedDict
        return lambda values: made | {key: each(values) for key, each in named.items()}
    parts = [of_values(each, is_result) for each in structure]
    if isinstance(structure, list):
        return lambda values: [each(values) for each in parts]
    make = getattr(structure, "_make", tuple)
    return lambda values: make([each(values) for each in parts])


def refs(structure: Any) -> list[int]:
    """Numbers of the Refs in nested arguments."""
    if isinstance(structure, Ref):
        return [structure.number]
    if isinstance(structure, (list, tuple, dict)):
        parts = structure.values() if isinstance(structure, dict) else structure
        return [number for each in parts for number in refs(each)]
    return []


def args_refs(call: Call) -> list[int]:
    """Numbers of the Refs in the arguments of a call."""
    return refs((call.args, call.kwargs))


class Fed:
    """Part of a chain that the core can run for each batch.

    Attributes:
        optimizer: makes the step; None for gradients alone.
        executor: runs the program.
        gradients: what gradients are added to, or what the step is made from; None if they go
            straight into it.
        applies: whether it is a step without a batch.
        results: arrays for the outputs of one that only computes.
        follows: whether assignments follow the step.
        changes: whether it changes more than weights, slots and metrics.
        draws: whether its program draws, by the number in `counter`.
        is_shown: whether its results are read.
        holds: whether its program is still valid.
    """

    optimizer: Any = None
    executor: _core.Executor
    gradients: Any = None
    results: Any = None
    applies = follows = changes = draws = is_shown = False
    holds: Any = True
    _changes = -1

    def _is_outdated(self) -> bool:
        """Whether the executor has to be made anew for the attributes of the optimizer."""
        changes = 0 if self.optimizer is None else self.optimizer.changes
        if self._changes == changes:
            return False
        self._changes = changes
        return True

    def refresh(self) -> bool:
        """Rebuild the executor if attributes of the optimizer have changed; whether it was."""
        raise NotImplementedError

    def begin(self, arrays: Sequence[Any], order: Any) -> None:
        """Start a pass over arrays in the given order of rows."""
        self.refresh()

    def run(self, values: Values) -> None:
        """Learn from one batch."""
        raise NotImplementedError

    def show(self, values: Values) -> None:
        """Store the results of the last batch's loss among the values."""


class Step(Fed):
    """An optimizer's step from gradients that links have summed up.

    Args:
        optimizer: makes the step.
        variables: that it changes.
        gradients: by these.
        followers: the assignments after the step.
    """

    applies = True

    def __init__(
        self,
        optimizer: Any,
        variables: Sequence[Any],
        gradients: list[_core.Parameter],
        followers: Followers,
    ) -> None:
        self.optimizer, self.gradients = optimizer, gradients
        self._variables, self.follows = tuple(variables), bool(followers.n)
        self._after = followers.executor() if followers.n else None
        self.refresh()

    def refresh(self) -> bool:
        """Rebuild the executor if attributes of the optimizer have changed; whether it was."""
        if not self._is_outdated():
            return False
        self.executor = executor_of(self.optimizer, self._variables, self._after)
        self._core = _core.Chain([self.executor], [self.gradients], [True])
        return True

    def run(self, values: Values) -> None:
        """Make one step by the sums of gradients."""
        rate = np.full(1, self.optimizer.rate(self.optimizer.step), np.float32)
        self._core.train(1, 0.0, [rate], 0)


class Link(Fed):
    """Gradient of a loss, with the optimizer's step if that is made by the same program.

    Args:
        compiled: the loss with its gradient.
        call: the recorded call of the gradient.
        optimizer: the optimizer of the step; None to sum the gradient up.
        followers: the assignments after the step, or None.
        read: numbers of results that the step reads.

    Attributes:
        inputs: numbers of the arrays that the loss reads.
        gives: numbers of its results.
        is_fed: whether the core can fill in its constants for any number of rows.
    """

    def __init__(
        self,
        compiled: Compiled,
        call: Call,
        optimizer: Any,
        followers: Followers | None,
        read: set[int],
    ) -> None:
        self._compiled, self.optimizer = compiled, optimizer
        self._rows = call.kinds[0][0][0]
        self.inputs = refs(call.args)
        self._of_batch = of_values(call.args)
        self._args = call.args
        self._first = call.first
        self.gives = range(call.first, call.first + call.size)
        self.is_fed = all(isinstance(e, Ref) or _is_uniform(e) for e in call.args)
        self.is_shown = not read.isdisjoint(self.gives)
        self.draws = compiled.draws
        owner: Any = getattr(call.function, "__self__", None)
        self.counter = owner.steps if self.draws else np.zeros(1, np.int64)
        self.follows = followers is not None and bool(followers.n)
        self._after = followers.executor() if followers is not None and followers.n else None
        self.refresh()

    def refresh(self) -> bool:
        """Rebuild the executor if attributes of the optimizer have changed; whether it was."""
        if not self._is_outdated():
            return False
        if self.optimizer is None:
            self.executor, self.gradients = self._compiled.summer(self._rows, self.counter)
            return True
        parts = self.optimizer, self._rows, self._after, self.is_shown
        self.executor = self._compiled.learner(*parts)
        return True

    @property
    def holds(self) -> bool:
        """Whether the compiled loss is still valid."""
        return self._compiled.holds()

    def begin(self, arrays: Sequence[Any], order: Any) -> None:
        """Start a pass over arrays in the given order of rows."""
        self.refresh()
        n = len(arrays[self.inputs[0]])
        given = [
            arrays[each.number]
            if isinstance(each, Ref)
            else np.broadcast_to(each.flat[0], (n, *each.shape[1:]))  # all elements are equal
            for each in self._args
        ]
        self.executor.begin(given, self._rows, order)

    def run(self, values: Values) -> None:
        """Learn from one batch."""
        if self.gradients is not None:
            _core.clear_all(self.gradients)
        room_for_draws([self], 1)
        with drawing_again([self]):
            step = int(self.counter[0]) if self.optimizer is None else self.optimizer.step
            rate = 0.0 if self.optimizer is None else self.optimizer.rate(step)
            self.executor.once(self._of_batch(values), rate, step, core_seed())
        if self.is_shown:
            self.show(values)

    def show(self, values: Values) -> None:
        """Store the results of the last batch's loss among the values."""
        leaves = tree.flatten(self._compiled.shown(self.executor, self._rows))
        values[self._first : self._first + len(leaves)] = leaves


def room_for_draws(links: Sequence[Any], steps: int) -> int:
    """Number of steps, of `steps`, for which links can draw until their counts begin anew."""
    counters = [each.counter for each in links if each.draws]
    for counter in counters:
        if STEPS - counter[0] < len(counters):
            counter[0] = 0
    return min([steps, *((STEPS - int(each[0])) // len(counters) for each in counters)])


@contextmanager
def drawing_again(links: Sequence[Any]) -> Iterator[None]:
    """Context in which links draw by the counts of a step that is repeated, if one is."""
    counters = [each.counter for each in links if each.draws]
    if draws.again is None or not counters:
        yield
        return
    kept = [counter.copy() for counter in counters]
    numbers = [counted(int) for _ in counters]
    for counter, number in zip(counters[::-1], numbers[::-1], strict=True):
        counter[0] = number  # the first one of those that several share
    try:
        yield
    finally:
        for counter, before in zip(counters, kept, strict=True):
            counter[:] = before


def _is_uniform(array: Any) -> bool:
    return bool(array.size and (array == array.flat[0]).all())
