"""Chain: recorded calls of a training step, replayed on other batches without its Python code.

Gradients by weights that go unchanged to optimizers become links: one program with the update, as
in `fit`, or one that sums gradients and one that makes the update later (`updates.py`). A step that
consists of links of the batch alone runs within the core.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from cdl import _core, tree
from cdl._common import clock
from cdl._common.interrupts import held_interrupts
from cdl._variables.draw_counts import repeating
from cdl._variables.program_caches import register_cache
from cdl._variables.stepping import Call
from cdl.random import core_seed
from cdl.trainers.chains.calls import (
    has_effect,
    is_step,
    layer_of,
    needed,
    only_computes,
)
from cdl.trainers.chains.core_metrics import CoreMetrics, NotInCoreError
from cdl.trainers.chains.followers import Followers
from cdl.trainers.chains.forward import Forward, plan_of
from cdl.trainers.chains.link import (
    Fed,
    Link,
    Step,
    Values,
    args_refs,
    drawing_again,
    of_values,
    refs,
    room_for_draws,
)
from cdl.trainers.chains.observer import Observer
from cdl.trainers.chains.prepared import Prepared, drawn_numbers, numbers_of, prepared_calls
from cdl.trainers.chains.shown_metrics import updates
from cdl.trainers.chains.step_reads import StepReads
from cdl.trainers.chains.updates import Gradient, Update, learning

_ALWAYS = 1e9  # seconds
_RATES = 8192  # steps for which rates are computed at once


class _Repeated:
    """Replay of a recorded call on new values."""

    def __init__(self, call: Call) -> None:
        self._function, self._first = call.function, call.first
        self._args, self._kwargs = of_values(call.args), of_values(call.kwargs)
        self.changes = has_effect(call)

    def run(self, values: Values) -> None:
        """Replay the call on the values, and store its results among them."""
        result = self._function(*self._args(values), **self._kwargs(values))
        leaves = tree.flatten(result)
        values[self._first : self._first + len(leaves)] = leaves


_CallAndPart = tuple[Call, "_Repeated | Fed | None"]


class Chain:
    """Recorded calls of a step, replayed in their order.

    Args:
        calls: the recorded calls.
        logs: result of the step, with Refs for computed values.
        inputs: shape and dtype of each array of a batch, None for numbers.
        reads: reads of the step, by which it stays valid.
        kinds: shape and dtype of arrays of the step, by number.

    Attributes:
        is_fed: whether the core can run the updates: all are links, which read the batch alone.
        has_calls: whether the result of a batch needs calls ahead of the last links, or calls that
            read the batch: then it takes `finish` and `logs`.
        changes_more: whether the step draws, assigns or moves statistics, beside updates of
            optimizers and metrics.
        metrics: those that the core updates in a pass; None if Python does.
        state: snapshot of the state that it may change; set after construction.
    """

    def __init__(
        self,
        calls: Sequence[Call],
        logs: Any,
        inputs: Sequence[Any],
        reads: StepReads,
        kinds: Mapping[int, Any],
    ) -> None:
        self._reads, self._is_stale = reads, False
        register_cache(self)
        self._cores: dict[int, tuple[list[Any], _core.Chain]] = {}  # by the first link
        self._inputs, self._kinds = inputs, kinds
        self._done = 0  # batches of a pass with calls that are prepared
        self._logs = of_values(logs, is_result=True)
        self._values: Values = [None] * max([len(inputs), *(e.first + e.size for e in calls)])
        places = [i for i, e in enumerate(calls) if is_step(e)]
        following = {i: _followers(calls, i + 1, refs(logs)) for i in places}
        found, steps = learning(calls, refs(logs), {i for i, e in following.items() if e.n})
        self._by_call = _parts(calls, found, steps, following, logs)
        self._parts = [part for _, part in self._by_call if part is not None]
        always = needed(calls, {*found, *steps}, ())
        self._unshown = [  # parts for a batch whose result is not wanted
            part for i, (_, part) in enumerate(self._by_call) if i in always and part is not None
        ]
        self._links = [each for each in self._parts if isinstance(each, Fed)]
        self._is_split = sum(isinstance(e, Fed) or e.changes for e in self._parts) > 1
        others = [call for call, part in self._by_call if isinstance(part, _Repeated)]
        self.changes_more = any(has_effect(e) and updates(e) is None for e in others)
        self.changes_more |= any(each.follows or each.draws for each in self._links)
        self.state: Any = None
        self._computes, self._shown = True, set(refs(logs))
        self._ahead = prepared_calls(calls, len(inputs))
        self._set_pass(self._by_call)
        self.metrics: CoreMetrics | None = None
        self._set_metrics(calls, (found, steps, following), inputs, logs)

    def _set_metrics(
        self, calls: Sequence[Call], learns: Any, inputs: Sequence[Any], logs: Any
    ) -> None:
        """Have the core update the metrics in a pass, if it can."""
        linked, steps, following = learns
        if linked:
            pure = {i for i, e in enumerate(calls) if not has_effect(e) and layer_of(e) is None}
        else:
            pure = {i for i, e in enumerate(calls) if updates(e) is None}
            if not all(only_computes(calls[i]) for i in pure):
                return
        given = dict(enumerate(inputs))
        if linked and _have_equal_rows(inputs):
            read = {n for each in linked.values() for n in refs(each.call.args)}
            ahead = read.union(drawn_numbers(calls)).intersection(numbers_of(calls, self._ahead[0]))
            given |= {n: self._kinds[n] for n in ahead if n in self._kinds}
        try:
            self.metrics = CoreMetrics(calls, linked, given, pure)
        except NotInCoreError:
            return
        parts = _parts(calls, self.metrics.linked, steps, following, logs, self.metrics.within)
        if self.metrics.observer is not None:
            first = min(self.metrics.within)
            parts[first] = calls[first], self.metrics.observer
        self._set_pass(parts)

    def _set_pass(self, by_call: Sequence[_CallAndPart]) -> None:
        """Set the parts of a pass, and what the core can do of it."""
        self._passed = by_call
        self._prepared: Prepared | None = None
        pairs = [(call, part) for call, part in by_call if part is not None]
        own = set(range(len(self._inputs)))
        is_fed = self._set_parts(pairs, own)
        places, constant = self._ahead
        ahead = [by_call[i] for i in places if isinstance(by_call[i][1], _Repeated)]
        if is_fed or not self._batched or not _have_equal_rows(self._inputs):
            return
        parts = {id(part) for _, part in ahead}
        made = numbers_of([call for call, _ in ahead])
        left = [pair for pair in pairs if id(pair[1]) not in parts]
        plan = None
        if not self._set_parts(left, own | made) and self._computes:
            plan = plan_of(left, own | made)
        apart = set(plan.joined) if plan else set[int]()
        calls = [e for group in plan.groups.values() for e in group] if plan else []
        computed = apart | numbers_of(calls)
        wanted = {n for each in self._batched for n in each.inputs} | {
            n for call in calls for n in args_refs(call)
        }
        read = made.intersection(wanted)
        known = self._kinds.keys() | own
        if not (plan or self.is_fed) or not read | computed <= known or computed & self._shown:
            self._set_parts(pairs, own)
            return
        given = read, self._inputs, self._kinds, self._values, plan
        try:
            self._prepared = Prepared(ahead, constant, *given)
        except NotInCoreError:
            self._set_parts(pairs, own)
            return
        if plan and not self._set_parts(
            _with_forwards(left, computed, self._prepared.forwards), own | made | computed
        ):
            self._prepared = None
            self._set_parts(pairs, own)

    def _set_parts(self, pairs: Sequence[tuple[Call, _Repeated | Fed]], given: set[int]) -> bool:
        """Set the parts of a pass whose links can read the `given` numbers; whether it is fed."""
        self._pass = parts = [part for _, part in pairs]
        self._fed = [each for each in parts if isinstance(each, Fed)]
        self._batched = [each for each in self._fed if isinstance(each, Link)]
        places = [i for i, e in enumerate(parts) if isinstance(e, Fed)]
        self._behind = places[-1] + 1 if places else len(parts)
        self._first = self._behind
        while self._first and isinstance(parts[self._first - 1], Fed):
            self._first -= 1
        self._last = [e for e in parts[self._first : self._behind] if isinstance(e, Fed)]
        read = [n for call, _ in pairs[self._behind :] for n in args_refs(call)]
        self.is_fed = (
            bool(self._fed)
            and given.issuperset(n for each in self._batched for n in each.inputs)
            and all(each.is_fed for each in self._batched)
            and not any(each.changes for each in parts)
        )
        reads_batch = self._first > 0 or not given.isdisjoint(read)
        self.has_calls = len(self._fed) < len(parts) and reads_batch
        return self.is_fed

    @property
    def is_as_replayed(self) -> bool:
        """Whether a pass makes the calls by the programs that make them in single batches."""
        return self.metrics is None and not (self._prepared and self._prepared.forwards)

    def keep_calls(self) -> None:
        """Have no metrics or calls in programs of a pass, whose numbers are others there."""
        self.metrics, self._computes = None, False
        self._set_pass(self._by_call)

    def forget(self) -> None:
        """Invalidate the chain, since a regularizer or constraint has changed."""
        self._is_stale = True

    def holds(self) -> bool:
        """Whether the chain is still valid: the step reads the same objects and values."""
        as_read = not self._is_stale and self._reads.hold()
        return as_read and all(each.holds for each in (*self._links, *self._fed))

    def _observers(self) -> list[Observer]:
        """The observer that runs a pass of a step that does not learn, if any."""
        return [each for each in self._fed if isinstance(each, Observer)]

    def once(self, arrays: Sequence[Any], is_shown: bool = True) -> Any:
        """Result of the step on one batch; None without `is_shown`."""
        values = self._values
        values[: len(arrays)] = arrays
        for link in self._links:
            link.refresh()
        with self._whole():
            for part in self._parts if is_shown else self._unshown:
                part.run(values)
        return self._finished(is_shown)

    def again(self, arrays: Sequence[Any], noted: Sequence[int]) -> Any:
        """Result of the step with the draws that the recorded step had, for a comparison."""
        self._values[: len(arrays)] = arrays
        for link in self._links:
            link.refresh()
        for own, part in _with_counts(self._by_call, noted):
            with repeating(own):
                part.run(self._values)
        return self._finished(True)

    def again_in_pass(self, arrays: Sequence[Any], noted: Sequence[int]) -> Any:
        """Result of the step for a pass of one batch, with the draws that the recorded step had."""
        self.begin(arrays, None)
        try:
            with repeating([n for own, _ in _with_counts(self._passed, noted) for n in own]):
                self.finish(arrays)
                return self.logs()
        finally:
            self.release()

    def _finished(self, is_shown: bool) -> Any:
        logs = self._logs(self._values) if is_shown else None
        self._values[:] = [None] * len(self._values)
        return logs

    def begin(self, arrays: Sequence[Any], order: Any) -> None:
        """Start a pass over arrays in whole batches, in the given order of rows."""
        self._done = 0
        if self._prepared is not None:
            self._prepared.begin(arrays, order)
            return
        self._begin_links(arrays, order)

    def _begin_links(self, arrays: Any, order: Any) -> None:
        for link in self._fed:
            link.begin(arrays, order)

    def train(self, steps: int, seconds: float) -> None:
        """Run up to `steps` batches of the pass, or for about `seconds`."""
        if self._prepared is None:
            self._train(self._fed, steps, seconds)
            return
        end, stop, ran = clock.now() + seconds, self._done + steps, -1
        while ran and self._done < stop and (ran < 0 or clock.now() < end):
            batches, arrays = self._prepared.make(self._done, stop - self._done)
            begun, ran = False, 0
            try:
                self._begin_links(arrays, None)
                begun = True
                self._train(self._fed, batches, end - clock.now())
            finally:  # an interrupt may come while executors still count what ran before
                ran = self._batched[-1].executor.done if begun else 0
                self._done += ran
                self._prepared.undo(ran)

    def _train(self, links: Sequence[Fed], steps: int, seconds: float) -> None:
        if self.metrics is not None:
            self.metrics.begin(self._batched)
        try:
            if observers := self._observers():
                observers[0].executor.test(steps, seconds)
            else:
                self._learn(links, steps, seconds)
        finally:
            self._load_metrics()

    def _learn(self, links: Sequence[Fed], steps: int, seconds: float) -> None:
        """Run batches of the pass by links that learn."""
        optimizers = [each.optimizer for each in links]
        rates, steps = {None: np.zeros(1, np.float32)}, room_for_draws(links, steps)
        for each in optimizers:  # one of several links steps once per link
            if each not in rates:
                n = optimizers.count(each)
                rates[each] = each.rates(each.step, min(steps * n, _RATES // n * n))
                steps = len(rates[each]) // n if len(rates[each]) > 1 else steps
        core = self._core_of(links)
        with drawing_again(links):
            core.train(steps, seconds, [rates[each] for each in optimizers], core_seed())

    def _core_of(self, links: Sequence[Fed]) -> _core.Chain:
        """Links as one in the core, as long as their executors are the same."""
        executors = [each.executor for each in links]
        before, core = self._cores.get(id(links[0]), (None, None))
        if core is None or executors != before:
            gradients, applies = [e.gradients for e in links], [e.applies for e in links]
            results = [e.results for e in links]
            core = _core.Chain(executors, gradients, applies, results)
            self._cores[id(links[0])] = executors, core
        return core

    def _load_metrics(self) -> None:
        if self.metrics is not None:
            self.metrics.load()

    def train_to(self, batch: int) -> None:
        """Run the batches of the pass up to number `batch`."""
        while self.done < batch:
            self.train(batch - self.done, _ALWAYS)

    def finish(self, arrays: Sequence[Any]) -> None:
        """Run the next batch of the pass, whose logs are wanted, with the calls between its links.

        Args:
            arrays: of that batch.
        """
        self._values[: len(arrays)] = arrays
        if self._prepared is not None:
            self._begin_links(self._prepared.once(arrays), None)
        with self._whole():
            for part in self._pass[: self._first]:
                if not isinstance(part, Fed):
                    part.run(self._values)
                    continue
                self._train([part], 1, _ALWAYS)
                if part.is_shown:
                    part.show(self._values)
            try:
                self._train(self._last, 1, _ALWAYS)
            finally:  # an interrupt may follow the batch
                if self._prepared is not None:
                    self._done += self._batched[-1].executor.done

    def _whole(self) -> AbstractContextManager[None]:
        """Context for a batch, within which no interrupt leaves some of its updates out."""
        return held_interrupts() if self._is_split else nullcontext()

    @property
    def done(self) -> int:
        """Batches of the pass that were run."""
        return self._done if self._prepared else self._batched[-1].executor.done

    def is_outdated(self) -> bool:
        """Whether settings of an optimizer have changed since the pass began."""
        return any([link.refresh() for link in self._fed])

    def logs(self) -> Any:
        """Result of the step for the last batch; after `finish` if the chain has calls."""
        for link in self._last:
            if link.is_shown:
                link.show(self._values)
        for part in self._pass[self._behind :]:
            part.run(self._values)
        return self._finished(True)

    def release(self) -> None:
        """Release the data of the pass."""
        self._load_metrics()
        for link in self._fed:
            link.executor.release()


def _with_forwards(
    pairs: Sequence[tuple[Call, _Repeated | Fed]],
    computed: Collection[int],
    forwards: Mapping[int, Forward],
) -> list[tuple[Call, _Repeated | Fed]]:
    """Calls with their parts, in which programs make those of some results, behind some links."""
    found: list[tuple[Call, _Repeated | Fed]] = []
    links = 0
    for call, part in pairs:
        if not found or isinstance(found[-1][1], (Link, Step)):
            found += [(call, forwards[links])] if links in forwards else []
        links += isinstance(part, Fed)
        if isinstance(part, Fed) or call.first not in computed:
            found.append((call, part))
    return found


def _have_equal_rows(inputs: Sequence[Any]) -> bool:
    """Whether a batch consists of arrays with as many rows."""
    return None not in inputs and len({kind[0][:1] for kind in inputs}) == 1


def _with_counts(
    by_call: Sequence[_CallAndPart], noted: Sequence[int]
) -> Iterator[tuple[Sequence[int], _Repeated | Fed]]:
    """Each part with the counts of the draws of its call, of those of the whole step."""
    for call, part in by_call:
        own, noted = noted[: call.counts], noted[call.counts :]
        if part is not None:
            yield own, part


def _parts(
    calls: Sequence[Call],
    linked: dict[int, Gradient],
    steps: dict[int, Update],
    following: dict[int, Followers],
    logs: Any,
    apart: Collection[int] = (),
) -> list[_CallAndPart]:
    """Each call with its part, or None where nothing needs the call.

    Args:
        calls: of the step.
        linked: gradients for optimizers, by the index of the call.
        steps: updates by these, by the index of the call.
        following: assignments behind updates.
        logs: result of the step.
        apart: indices of calls that links do.
    """
    joined = {e.update for e in linked.values()}
    within = {k for j in steps for k in range(j, j + 1 + following[j].n)}
    reading = [linked[i].call if i in linked else each for i, each in enumerate(calls)]
    kept = needed(reading, {*linked, *steps}, refs(logs), apart)
    read = {*refs(logs), *(n for i in kept - within for n in args_refs(calls[i]))}
    links: dict[int, Link] = {}
    found: list[_CallAndPart] = []
    for i, call in enumerate(calls):
        part: _Repeated | Fed | None = None
        if i in linked:
            compiled, gradient, j = linked[i]
            own: Any = (None, None) if j is None else (steps[j].optimizer, following[j])
            part = links[i] = Link(compiled, gradient, own[0], own[1], read)
        elif i in steps and i not in joined:
            optimizer, variables, places = steps[i]
            sums = [links[n].gradients[k] for n, k in places]
            part = Step(optimizer, variables, sums, following[i])
        elif i in kept and i not in within:
            part = _Repeated(call)
        found.append((call, part))
    return found


def _followers(calls: Sequence[Call], start: int, shown: list[int]) -> Followers:
    """Assignments from index `start` on; none if other calls read their results."""
    found = Followers(calls[start:])
    others = [*calls[:start], *calls[start + found.n :]]
    read = {*shown, *(n for e in others for n in args_refs(e))}
    return Followers(()) if found.gives() & read else found
