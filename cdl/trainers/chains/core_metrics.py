"""Metrics of a recorded step that the core updates in the program of a link, as in `fit`.

Their calls are traced behind the loss, on its predictions and on the arrays of the batch; each one
becomes a report of the program. The states of the metrics are set when a run of batches ends.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from cdl import tree
from cdl._tracing.operation import OpDef
from cdl._tracing.operation import call as called
from cdl._variables.stepping import Call, Ref
from cdl.metrics import Mean, MeanMetricWrapper
from cdl.metrics.core_metric import Tally, is_compiled
from cdl.trainers.chains.link import Link, args_refs, of_values
from cdl.trainers.chains.shown_metrics import reads_metric, updates
from cdl.trainers.compiled_function import Compiled

Linked = dict[int, tuple[Compiled, Call, Any]]
_FLOATS = ("float32", "float64")


class CoreMetrics:
    """Updates of metrics by the links of a chain.

    Args:
        calls: the calls of the step.
        linked: the links, by the index of their gradient's call.
        inputs: shape and dtype of each array of a batch, None for numbers.
        pure: indices of the calls that only compute from their arguments.

    Attributes:
        linked: the links with the updates in their programs.
        within: indices of the calls that update metrics.

    Raises:
        ValueError: there is no update, or one that must run in Python.
    """

    def __init__(
        self, calls: Sequence[Call], linked: Linked, inputs: Sequence[Any], pure: Collection[int]
    ) -> None:
        self._calls, self._inputs = calls, inputs
        self.within = {i for i, e in enumerate(calls) if updates(e) and not reads_metric(e)}
        metrics = {id(e): e for i in self.within for e in _parts(updates(calls[i]))}
        self._metrics = list(metrics.values())
        self._states = [list(each.variables) for each in self._metrics]
        is_known = metrics and linked and all(map(_is_known, self._metrics))
        if not is_known or not self._are_read_last(min(linked)):
            raise ValueError("no metrics that a program can update")
        makers = {n: i for i in pure for n in range(calls[i].first, calls[i].first + calls[i].size)}
        left, self.linked = set(self.within), dict(linked)
        # For each report its metrics, each with a factor and a divisor.
        self._of_links: list[list[list[tuple[Any, float, int]]]] = []
        for i in linked:
            needed = {k: self._needed(i, linked[i][0], k, makers) for k in left}
            found = {k for k, each in needed.items() if each is not None}
            left -= found
            behind = sorted(found.union(*(needed[k] or () for k in found)))
            self._join(i, behind)
        if left:
            raise ValueError("an update reads what no link computes")
        self._links: list[Link] = []
        self._executors: list[Any] = []
        self._sums: list[list[Any]] = []  # of the metrics' variables before the executors' reports
        self._loaded: list[list[Any]] = []
        self._is_behind = False  # whether the core has counted what the metrics do not have

    def _are_read_last(self, link: int) -> bool:
        """Whether each metric is only updated, and then read behind the first link.

        Args:
            link: index of the gradient's call of the first link.
        """
        touched = [(i, e, set(map(id, _parts(updates(e))))) for i, e in enumerate(self._calls)]
        for i, call, own in touched:
            if reads_metric(call):
                if i < link or any(own & more for k, _, more in touched[i:] if k in self.within):
                    return False
            elif own and call.function.__name__ != "update_state":
                return False
        states = set(map(id, self.variables()))
        leaves = (e for call in self._calls for e in tree.flatten((call.args, call.kwargs)))
        return not any(id(each) in states for each in leaves)

    def _needed(
        self, link: int, compiled: Compiled, call: int, makers: dict[int, int]
    ) -> set[int] | None:
        """Calls to trace ahead of one, given those of a link; None if it needs others."""
        gradient = self._calls[link]
        results = range(gradient.first, gradient.first + gradient.size - len(compiled.by_weights))
        found: set[int] = set()
        for number in args_refs(self._calls[call]):
            if number < len(self._inputs) or number in results or number in gradient.within:
                continue
            if number not in makers:
                return None
            more = self._needed(link, compiled, makers[number], makers)
            if more is None:
                return None
            found |= {makers[number], *more}
        return found

    def _join(self, link: int, behind: Sequence[int]) -> None:
        """Have a link's program do some calls, in this order."""
        _, gradient, optimizer = self.linked[link]
        if not behind:
            self._of_links.append([])
            return
        calls = [self._calls[i] for i in behind]
        given = [each.number for each in gradient.args if isinstance(each, Ref)]
        own = {n for call in calls for n in args_refs(call) if n < len(self._inputs)}
        more = sorted(own.difference(given))
        kinds = [self._inputs[n] for n in more]
        if None in kinds:
            raise ValueError("a number of the batch is an argument of an update")
        args = (*gradient.args, *map(Ref, more))
        joined = gradient._replace(args=args, kinds=(*gradient.kinds, *kinds), within={})
        replays = [(e, _function_of(e), of_values(e.args), of_values(e.kwargs)) for e in calls]
        told: list[tuple[Any, float]] = []  # metrics of the loss, and what it is multiplied by
        factors: dict[int, list[float]] = {}  # of the reports of a metric

        def update(symbols: Sequence[Any], found: Any, results: Any) -> None:
            told.clear()
            factors.clear()
            values: Any = {e.number: s for e, s in zip(args, symbols, strict=True) if _is_ref(e)}
            leaves = tree.flatten(found)
            values.update(enumerate(leaves, gradient.first))
            for number, (step, place) in gradient.within.items() if results else ():
                values[number] = results[step][place]
            for call, function, of_args, of_kwargs in replays:
                given, named = of_args(values), of_kwargs(values)
                scale = _scale(call)
                if scale is not None:
                    given, named = given[:2], {}
                    if given[1] is leaves[0] and getattr(leaves[0], "shape", None) == ():
                        told.append((given[0], scale))
                        continue
                for each in _parts(updates(call)):
                    factors.setdefault(id(each), []).append(1.0 if scale is None else scale)
                result = function(*given, **named)
                values.update(enumerate(tree.flatten(result), call.first))

        owner: Any = getattr(gradient.function, "__self__", None)
        made = owner.observing(update, joined.kinds)
        if not made.learns:
            raise ValueError("a program with the updates cannot learn")
        rows = gradient.kinds[0][0][0]
        self._of_links.append(
            [
                [(metric, scale, rows) for metric, scale in told]  # it counts each sample
                if each is None
                else [(each, factors[id(each)].pop(0), 1)]
                for each in made.metrics
            ]
        )
        if any(factors.values()):
            raise ValueError("an update is no report")
        self.linked[link] = made, joined, optimizer

    def variables(self) -> list[Any]:
        """The states of the metrics."""
        return [each for states in self._states for each in states]

    def begin(self, links: Sequence[Link]) -> None:
        """Continue from the metrics' states, which may have been reset since the last run.

        Args:
            links: of the chain, in their order.
        """
        executors = [each.executor for each in links]
        now = [[each.numpy() for each in states] for states in self._states]
        kept = [_are_equal(*each) for each in zip(now, self._loaded or now, strict=True)]
        if executors != self._executors or not all(kept):
            before = self._totals() if self._loaded and any(kept) else now
            self._sums = [
                [np.array(each, np.float64) for each in (own if is_kept else new)]
                for own, new, is_kept in zip(before, now, kept, strict=True)
            ]
            for each in executors:
                each.reset()
            self._executors, self._loaded = executors, now
        self._is_behind = True

    def load(self) -> None:
        """Set the metrics' states, if batches have run since the last call."""
        if not self._is_behind:
            return
        self._loaded = [
            [each.assign(value) for each, value in zip(states, sums, strict=True)]
            for states, sums in zip(self._states, self._totals(), strict=True)
        ]
        self._is_behind = False

    def _totals(self) -> list[list[Any]]:
        """Numbers of the metrics' variables, with what the executors have counted."""
        totals = [list(each) for each in self._sums]
        places = {id(each): i for i, each in enumerate(self._metrics)}
        for executor, reports in zip(self._executors, self._of_links, strict=True):
            for report, state in zip(reports, executor.states() if reports else (), strict=True):
                for metric, factor, divisor in report:
                    own = totals[places[id(metric)]]
                    more = metric.sums(np.array(state)) if isinstance(metric, Tally) else state[:2]
                    own[:] = [a + factor * (b / divisor) for a, b in zip(own, more, strict=True)]
        return totals


def _function_of(call: Call) -> Callable[..., Any]:
    """The function of a call, which takes symbolic arguments too."""
    is_operation = bool(call.args) and isinstance(call.args[0], OpDef)
    return called if is_operation else call.function


def _parts(metric: Any) -> list[Any]:
    """Metrics within one of several, or the metric itself."""
    return [] if metric is None else list(getattr(metric, "metrics", [metric]))


def _is_known(metric: Any) -> bool:
    """Whether a metric has the sums that a report gives."""
    is_known = type(metric) in (Mean, MeanMetricWrapper) or is_compiled(metric)
    return is_known and metric.dtype in _FLOATS


def _is_ref(arg: Any) -> bool:
    return isinstance(arg, Ref)


def _scale(call: Call) -> float | None:
    """The number that weighs a whole update of a mean; None for any other call."""
    if type(updates(call)) is not Mean:
        return None
    weight = call.kwargs.get("sample_weight", call.args[2] if len(call.args) > 2 else None)
    is_named = set(call.kwargs) <= {"sample_weight"} and len(call.args) > 1
    if not is_named or not isinstance(weight, (int, float, type(None))):
        return None
    return 1.0 if weight is None else float(weight)


def _are_equal(ones: Sequence[Any], others: Sequence[Any]) -> bool:
    return all(a.tobytes() == b.tobytes() for a, b in zip(ones, others, strict=True))
