"""Calls of a recorded step that are made for many batches at once, before the core runs these.

They are those that read neither weights nor what the step changes, but numbers that they draw, the
batch, and each other's results. Generators of seeds stand where the batches that ran leave them.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from cdl import tree
from cdl._variables.step_forms import COMPUTING, OF_TAPES, computes_alone
from cdl._variables.stepping import Call
from cdl.random import SeedGenerator
from cdl.random.sources import pythons
from cdl.trainers.chains.calls import is_draw
from cdl.trainers.chains.forward import Forward, Plan
from cdl.trainers.chains.link import Values, args_refs

Kinds = Mapping[int, tuple[tuple[int, ...], Any]]
_MOST, _MOST_BYTES = 64, 2**21  # of the arrays that are made at once: batches, bytes


def prepared_calls(calls: Sequence[Call], inputs: int) -> tuple[list[int], set[int]]:
    """Indices of the calls that can be made ahead, and the numbers that are equal in all batches.

    Args:
        calls: of a step.
        inputs: number of arrays of a batch.
    """
    places: list[int] = []
    known, constant = set(range(inputs)), set[int]()
    for i, call in enumerate(calls):
        leaves = tree.flatten((call.args, call.kwargs))
        reads = {*args_refs(call)}
        draws = is_draw(call)
        if not (draws or _computes(call)) or not reads <= known:
            continue
        if any(_may_change(each) for each in leaves) or (call.draws and not draws):
            continue
        places.append(i)
        own = range(call.first, call.first + call.size)
        known.update(own)
        if not draws and reads <= constant:
            constant.update(own)
    return places, constant


def numbers_of(calls: Sequence[Call], places: Iterable[int] | None = None) -> set[int]:
    """Numbers of the results of calls, or of those at some places."""
    chosen = calls if places is None else [calls[i] for i in places]
    return {n for call in chosen for n in range(call.first, call.first + call.size)}


def drawn_numbers(calls: Sequence[Call]) -> set[int]:
    """Numbers of results that depend on draws."""
    found = set[int]()
    for call in calls:
        if is_draw(call) or not found.isdisjoint(args_refs(call)):
            found |= numbers_of([call])
    return found


def _computes(call: Call) -> bool:
    """Whether a call computes without layers, and is no gradient."""
    module = str(getattr(call.function, "__module__", None) or "numpy")
    if module == OF_TAPES:
        return computes_alone(call.args)
    return module.startswith(COMPUTING)


def _may_change(leaf: Any) -> bool:
    """Whether an argument has state, as weights and layers do."""
    return hasattr(leaf, "assign") or hasattr(leaf, "variables")


class Prepared:
    """Calls for all batches of a pass ahead of the core.

    Args:
        pairs: the calls, each with the part that replays it.
        constant: numbers of results that are equal in all batches.
        read: numbers of arrays that links read.
        inputs: shape and dtype of each array of a batch.
        kinds: the same of results.
        values: those of the chain, by number.
        plan: calls that the core makes, if any.

    Attributes:
        forwards: programs of these, by the number of links ahead of them.
    """

    def __init__(
        self,
        pairs: Sequence[tuple[Call, Any]],
        constant: Collection[int],
        read: Collection[int],
        inputs: Sequence[Any],
        kinds: Kinds,
        values: Values,
        plan: Plan | None = None,
    ) -> None:
        self._constant = [part for call, part in pairs if call.first in constant]
        self._calls = [(call, part) for call, part in pairs if call.first not in constant]
        self._inputs, self._values = len(inputs), values
        self._rows = inputs[0][0][0]
        kinds = {**dict(enumerate(inputs)), **kinds}
        self._joined = {} if plan is None else plan.joined
        others = set() if plan is None else {*plan.read, *plan.joined}
        arrays = {n: np.empty(*kinds[n]) for n in {*read, *others}}
        each = max(1, sum(array.nbytes for array in arrays.values()))
        self._most = max(1, min(_MOST, _MOST_BYTES // each))
        self._blocks = {
            n: np.zeros((self._most * len(array), *array.shape[1:]), array.dtype)
            for n, array in arrays.items()
        }
        self._sizes = {n: len(array) for n, array in arrays.items()}
        # Where in the rows of a batch of a block the arrays are that the calls of a batch give.
        self._places = [(n, n, 0) for n in read if n >= len(inputs)]
        computed = (
            set() if plan is None else numbers_of([e for g in plan.groups.values() for e in g])
        )
        for n, parts in self._joined.items():
            ends = itertools.accumulate([kinds[part][0][0] for part in parts], initial=0)
            pairs_of = list(zip(parts, ends, strict=False))
            self._places += [(n, part, at) for part, at in pairs_of if part not in computed]
        self.forwards = (
            {} if plan is None else {k: self._forward(k, plan, kinds) for k in plan.groups}
        )
        draws = [call for call, _ in self._calls if is_draw(call)]
        leaves = tree.flatten([(call.args, call.kwargs) for call in draws])
        self._generators = {id(e): e for e in leaves if isinstance(e, SeedGenerator)}.values()
        self._by_python = any(call.counts for call in draws)
        self._before: list[Any] = []

    def begin(self, arrays: Sequence[Any], order: Any) -> None:
        """Start a pass over arrays in the given order of rows."""
        self._arrays, self._order = arrays, order

    def make(self, first: int, batches: int) -> tuple[int, dict[int, Any]]:
        """Make the calls for batches from number `first` on.

        Returns:
            The number of batches, which may be smaller, and arrays for these by number.
        """
        batches = min(batches, self._most)
        rows = self._rows
        part: Any = slice(first * rows, (first + batches) * rows)
        part = part if self._order is None else self._order[part]
        taken = [_as_in_steps(each[part]) for each in self._arrays]
        self._before = []
        try:
            self._make_constants()
            for k in range(batches):
                self._before.append(self._states())
                self._values[: self._inputs] = [e[k * rows : (k + 1) * rows] for e in taken]
                self._run()
                self._keep(k)
        except BaseException:
            self.undo(0)
            raise
        found = {n: block[: batches * self._sizes[n]] for n, block in self._blocks.items()}
        return batches, found | dict(enumerate(taken))

    def once(self, arrays: Sequence[Any]) -> dict[int, Any]:
        """Make the calls for one batch, and leave their results among the chain's values.

        Args:
            arrays: of the batch.
        """
        self._values[: self._inputs] = arrays
        self._make_constants()
        self._run()
        self._keep(0)
        found = {n: block[: self._sizes[n]] for n, block in self._blocks.items()}
        return found | dict(enumerate(arrays))

    def undo(self, done: int) -> None:
        """Have generators stand where they did after some of the batches of the last `make`."""
        if done >= len(self._before):
            return
        states, pythons_state = self._before[done]
        for each, state in zip(self._generators, states, strict=True):
            each.state.assign(state)
        if pythons_state is not None:
            pythons().setstate(pythons_state)

    def _make_constants(self) -> None:
        for part in self._constant:
            part.run(self._values)

    def _forward(self, k: int, plan: Plan, kinds: Kinds) -> Forward:
        """Program of a group of calls."""
        own = numbers_of(plan.groups[k])
        targets = [(n, self._blocks[n].reshape(self._most, -1)) for n in sorted(own & plan.read)]
        complete = own & plan.read
        for joined, parts in plan.joined.items():
            at = 0
            block = self._blocks[joined].reshape(self._most, -1)
            width = block.shape[1] // self._sizes[joined]
            for part in parts:
                end = at + kinds[part][0][0]
                if part in own:
                    targets.append((part, block[:, at * width : end * width]))
                    complete.add(joined)
                at = end
        made = Forward(plan.groups[k], targets, kinds)
        made.shown = {n: self._blocks[n][: self._sizes[n]] for n in complete}
        return made

    def _keep(self, k: int) -> None:
        """Copy results of a batch into the blocks."""
        for n, part, at in self._places:
            value, first = self._values[part], k * self._sizes[n] + at
            self._blocks[n][first : first + len(value)] = value

    def _run(self) -> None:
        for _, part in self._calls:
            part.run(self._values)

    def _states(self) -> Any:
        states = [each.state.numpy() for each in self._generators]
        return states, pythons().getstate() if self._by_python else None


def _as_in_steps(array: Any) -> Any:
    """Rows as a step takes them: floats in float32."""
    return array.astype(np.float32) if array.dtype.kind == "f" else array
