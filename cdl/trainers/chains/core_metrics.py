"""Metrics of a recorded step that the core updates in the program of a link, as in `fit`.

Their calls are traced behind the loss, on its predictions and on the arrays of the batch; each one
becomes a report of the program. The states of the metrics are set when a run of batches ends.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from cdl import tree
from cdl._tracing.operation import OpDef
from cdl._tracing.operation import call as called
from cdl._variables.stepping import Call, Ref
from cdl.layers import Layer
from cdl.metrics import Mean, MeanMetricWrapper
from cdl.metrics.core_metric import Tally, is_compiled
from cdl.trainers.chains.link import Link, args_refs, of_values
from cdl.trainers.chains.observer import Observer
from cdl.trainers.chains.shown_metrics import reads_metric, updates
from cdl.trainers.chains.updates import Gradient

Linked = dict[int, Gradient]
_FLOATS = ("float32", "float64")


class NotInCoreError(ValueError):
    """Why the metrics of a step are updated in Python."""


class CoreMetrics:
    """Updates of metrics by the links of a chain.

    Args:
        calls: the calls of the step.
        linked: the links, by the index of their gradient's call.
        inputs: shape and dtype, by number, of each array of a batch and what is made of them ahead
            of links; None for numbers of Python.
        pure: indices of the calls that only compute from their arguments.

    Attributes:
        linked: the links with the updates in their programs.
        within: indices of the calls that update metrics.

        observer: program of a step that does not learn; None for one with links.

    Raises:
        NotInCoreError: there is no update, or one that must run in Python.
    """

    def __init__(
        self,
        calls: Sequence[Call],
        linked: Linked,
        inputs: Mapping[int, Any],
        pure: Collection[int],
    ) -> None:
        self._calls, self._inputs = calls, inputs
        self.within = {i for i, e in enumerate(calls) if updates(e) and not reads_metric(e)}
        metrics = {id(e): e for i in self.within for e in _parts(updates(calls[i]))}
        self._metrics = list(metrics.values())
        self._states = [list(each.variables) for each in self._metrics]
        if not metrics or not all(map(_is_known, self._metrics)):
            raise NotInCoreError("no metrics that a program can update")
        if not self._are_read_last(max(linked or self.within)):
            raise NotInCoreError("metrics are read or reset between two updates")
        makers = {n: i for i in pure for n in range(calls[i].first, calls[i].first + calls[i].size)}
        left, self.linked = set(self.within), dict(linked)
        # For each report its metrics, each with a factor and a divisor.
        self._of_links: list[list[list[tuple[Any, float, int]]]] = []
        for i in linked:
            results = range(calls[i].first, calls[i].first + calls[i].size)
            known = {
                *results[: len(results) - len(linked[i].compiled.by_weights)],
                *calls[i].within,
            }
            needed = {k: self._needed(known, k, makers) for k in left}
            found = {k for k, each in needed.items() if each is not None}
            left -= found
            behind = sorted(found.union(*(needed[k] or () for k in found)))
            self._join(i, behind)
        self.observer = None if linked else self._observer(makers)
        if linked and left:
            raise NotInCoreError("an update reads what no link computes")
        self._links: list[Link] = []
        self._executors: list[Any] = []
        self._sums: list[list[Any]] = []  # of the metrics' variables before the executors' reports
        self._loaded: list[list[Any]] = []
        self._is_behind = False  # whether the core has counted what the metrics do not have

    def _are_read_last(self, link: int) -> bool:
        """Whether each metric is only updated, and then read behind the last link.

        Args:
            link: index of the gradient's call of the last link.
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

    def _needed(self, known: Collection[int], call: int, makers: dict[int, int]) -> set[int] | None:
        """Calls to trace ahead of one, given some results; None if it needs others."""
        found: set[int] = set()
        for number in args_refs(self._calls[call]):
            if number in self._inputs or number in known:
                continue
            if number not in makers:
                return None
            more = self._needed(known, makers[number], makers)
            if more is None:
                return None
            found |= {makers[number], *more}
        return found

    def _join(self, link: int, behind: Sequence[int]) -> None:
        """Have a link's program do some calls, in this order."""
        gradient = self.linked[link].call
        if not behind:
            self._of_links.append([])
            return
        calls = [self._calls[i] for i in behind]
        given = [each.number for each in gradient.args if isinstance(each, Ref)]
        own = {n for call in calls for n in args_refs(call) if n in self._inputs}
        more = sorted(own.difference(given))
        args = (*gradient.args, *map(Ref, more))
        kinds = (*gradient.kinds, *self._kinds(more))
        joined = gradient._replace(args=args, kinds=kinds, within={})
        updating = _Updating(calls)

        def update(symbols: Sequence[Any], found: Any, results: Any) -> None:
            values: Any = {e.number: s for e, s in zip(args, symbols, strict=True) if _is_ref(e)}
            leaves = tree.flatten(found)
            values.update(enumerate(leaves, gradient.first))
            for number, (step, place) in gradient.within.items() if results else ():
                values[number] = results[step][place]
            updating.run(values, leaves[0])

        owner: Any = getattr(gradient.function, "__self__", None)
        try:
            made = owner.observing(update, joined.kinds)
        except (TypeError, ValueError) as error:  # of what cannot be lowered
            raise NotInCoreError(f"an update cannot be compiled: {error}") from error
        if not made.learns:
            raise NotInCoreError("a program with the updates cannot learn")
        self._of_links.append(updating.reports(made.metrics, gradient.kinds[0][0][0]))
        self.linked[link] = self.linked[link]._replace(compiled=made, call=joined)

    def _kinds(self, numbers: Iterable[int]) -> list[Any]:
        """Shapes and dtypes of arrays of the batch."""
        kinds = [self._inputs[n] for n in numbers]
        if None in kinds:
            raise NotInCoreError("a number of the batch is an argument of an update")
        return kinds

    def _observer(self, makers: dict[int, int]) -> Observer:
        """Program of the updates of a step that does not learn."""
        needed = [self._needed((), k, makers) for k in sorted(self.within)]
        if None in needed:
            raise NotInCoreError("an update reads what cannot be computed by a program")
        calls = [self._calls[i] for i in sorted(self.within.union(*(e or () for e in needed)))]
        numbers = sorted({n for e in calls for n in args_refs(e) if n in self._inputs})
        updating, kinds = _Updating(calls), self._kinds(numbers)
        if len({each[0][:1] for each in kinds}) != 1 or not all(each[0] for each in kinds):
            raise NotInCoreError("arrays of the batch have different numbers of rows")

        def update(symbols: Sequence[Any]) -> None:
            updating.run(dict(zip(numbers, symbols, strict=True)), None)

        given = [tree.flatten((e.args, e.kwargs)) for e in calls if not updates(e)]
        owners = [getattr(e.function, "__self__", None) for e in calls]
        read = [each for each in (*itertools.chain(*given), *owners) if callable(each)]
        try:
            found = Observer(update, numbers, kinds, read)
        except Exception as error:  # whatever code of users' layers does to symbolic tensors
            raise NotInCoreError(f"the step cannot be compiled: {error}") from error
        if found.unseen:
            raise NotInCoreError(found.unseen)
        self._of_links.append(updating.reports(found.metrics, 1))
        return found

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


class _Updating:
    """Updates of metrics by calls, replayed on symbolic values.

    Args:
        calls: the updates, and the calls that compute what they read.
    """

    def __init__(self, calls: Sequence[Call]) -> None:
        self._replays = [
            (e, function_of(e), of_values(e.args), of_values(e.kwargs), _scale(e)) for e in calls
        ]
        self._told: list[tuple[Any, float]] = []  # metrics of the loss, with their factors
        self._factors: dict[int, list[float]] = {}  # of the reports of a metric

    def run(self, values: Any, loss: Any) -> None:
        """Replay the calls on values by number; `loss` is reported by the program anyway."""
        self._told.clear()
        self._factors.clear()
        for call, function, of_args, of_kwargs, scale in self._replays:
            given, named = of_args(values), of_kwargs(values)
            if scale is not None:
                given, named = given[:2], {}
                if given[1] is loss and getattr(loss, "shape", None) == ():
                    self._told.append((given[0], scale))
                    continue
            for each in _parts(updates(call)):
                self._factors.setdefault(id(each), []).append(1.0 if scale is None else scale)
            result = function(*given, **named)
            values.update(enumerate(tree.flatten(result), call.first))

    def reports(self, metrics: Sequence[Any], rows: int) -> list[list[tuple[Any, float, int]]]:
        """For each report its metrics, each with a factor and a divisor.

        Args:
            metrics: of the reports of the program, None for the loss.
            rows: of a batch, each of which the report of the loss counts.
        """
        if any(isinstance(each, int) for each in metrics):
            raise NotInCoreError("losses of several outputs are told by themselves")
        found = [
            [(metric, scale, rows) for metric, scale in self._told]
            if each is None
            else [(each, self._factors[id(each)].pop(0), 1)]
            for each in metrics
        ]
        if any(self._factors.values()):
            raise NotInCoreError("an update is no report")
        return found


def function_of(call: Call) -> Callable[..., Any]:
    """The function of a call, which takes symbolic arguments too."""
    if bool(call.args) and isinstance(call.args[0], OpDef):
        return called
    owner = getattr(call.function, "__self__", None)
    name = getattr(call.function, "__name__", "")
    return (
        owner if isinstance(owner, Layer) and name in ("_on_arrays", "_on_data") else call.function
    )


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
