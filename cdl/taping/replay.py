"""Compiled gradients of recorded calls: the calls replayed on symbolic tensors."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from cdl import tree
from cdl._common.locks import new_rlock
from cdl._tracing.derivatives import value_and_gradients
from cdl._tracing.variable import Variable
from cdl._variables import stepping
from cdl.layers import Layer
from cdl.layers.moved import moved_variables
from cdl.models import Model
from cdl.taping.plan import Plan, Record, calls_before, keep
from cdl.taping.recorded import Node, origin_of, plain, recorded, state
from cdl.trainers.custom.reads import Reads
from cdl.trainers.derivatives import derivative_of

# Caches, oldest use first.
_parts: dict[Any, Any] = {}  # models from one output of a model to its others
programs: dict[Any, Any] = {}  # compiled gradients
_whole: dict[Any, Any] = {}  # keys of plans that need whole arrays


def _rest(part: Model, place: int, source: Any) -> list[Any]:
    """The outputs of a model from one of them on, with None in its place."""
    outputs = tree.flatten(part(source))
    outputs.insert(place, None)
    return outputs


def _cut(record: Record) -> Record:
    """The record with calls of the later part of a model where a source is one of its outputs."""
    found: dict[int, Node] = {}
    for source in record.sources.values():
        origin = origin_of(source, record.nodes)
        outputs = [] if origin is None else tree.flatten(getattr(origin[0].owner, "outputs", None))
        if origin is None or len(outputs) < 2:
            continue
        (node, place), others = origin, [*outputs]
        del others[place]
        key = (id(node.owner), place)
        kept = _parts.get(key) or (Model(outputs[place], others), node.owner)
        keep(_parts, key, kept)
        call = functools.partial(_rest, kept[0], place)
        args: Any = ((source,), {})
        found[node.serial] = Node(call, ("part", place), kept[0], args, [source], node.serial)
    return record._replace(nodes={**record.nodes, **found}) if found else record


def rows_of(calls: list[Node]) -> int:
    """The batch size: rows of the first layer's input, else of the first array."""
    for node in sorted(calls, key=lambda node: node.owner is None):
        for leaf in node.leaves:
            if isinstance(leaf, np.ndarray) and leaf.ndim:
                return len(leaf)
    return 0


class _Place(Variable):
    """Variable from which a program takes an array; its value has no meaning between runs."""

    is_state = False


class _Program:
    """The compiled gradient of a plan.

    Args:
        plan: the calls.
        variables: to differentiate by.
        before: the one that it replaces, whose draws it goes on with.
        is_written: whether losses are computed as they are written, not as in `fit`.

    Attributes:
        variables: those among them that the calls read.
        has_drawn: whether its value depends on random numbers, other ones than in the calls.
        tolerance: relative difference of values up to which it agrees with the calls.
        agrees: whether the first run gave the recorded value; None before it.
    """

    def __init__(
        self,
        plan: Plan,
        variables: list[Any],
        before: _Program | None = None,
        is_written: bool = False,
    ) -> None:
        self._written: _Program | None = None
        self._rest = [np.zeros(plan.rows or 1, np.float32)]  # input of a program that needs none
        self._shared: list[Any] | None = None
        if not plan.rows:
            self._shared = [_Place(np.shape(each)) for each in plan.inputs]
        self._changing = [_Place(np.shape(plan.constants[i])) for i in plan.held]
        run = plan.function(self._shared, self._changing)
        if is_written:
            run = _times_one(run)
        read = {id(each) for each in variables_of(plan.calls)}
        self.variables = [each for each in variables if id(each) in read]
        owners = {id(node.owner): node.owner for node in with_inner(plan.calls)}.values()
        self._held = run, owners  # alive, since ids of its layers are in the key
        computed = {getattr(each, "compute_dtype", None) for each in owners}
        # A program rounds sums to bfloat16 once, calls one by one after each.
        self.tolerance = 0.02 if computed & {"bfloat16", "float16"} else 1e-3
        self._moved = moved_variables(owners)
        self._numbers = [n for n in plan.numbers if n is not None]
        by_variables = [*self.variables, *self._places()]
        counted = {"penalties", "compute_loss"} & {node.key[0] for node in plan.calls}
        penalties = ("outputs",) if counted else ()
        self._reads = reads_of(plan.calls, owners)
        is_fixed = not self._reads.unseen
        self._by_weights = by_variables and derivative_of(
            run, variables=by_variables, is_fixed=True, penalties=penalties
        )
        numbers = self._numbers if self._shared is None else []
        self._by_arrays = numbers and derivative_of(
            run, numbers, is_fixed=is_fixed, penalties=penalties
        )
        if before is not None:
            for own, other in zip(self._derivatives(), before._derivatives(), strict=True):
                own.steps = other.steps
        self.draws, self.has_drawn = plan.draws(), False
        self.agrees: bool | None = None
        self._lock = new_rlock()

    def _derivatives(self) -> list[Any]:
        both: list[Any] = [each for each in (self._by_weights, self._by_arrays) if each]
        return [each.__self__ for each in both]

    def holds(self) -> bool:
        """Whether layers and losses are what they were, as far as that can be told."""
        return self._reads.hold() or bool(self._reads.unseen)

    def _places(self) -> list[Any]:
        """The variables that stand for arrays to differentiate by."""
        return [] if self._shared is None else [self._shared[n] for n in self._numbers]

    def of(self, plan: Plan) -> tuple[float | None, dict[int, Any], dict[int, Any]]:
        """The value, the gradients by variables, by id, and those by inputs, by position."""
        inputs, changing = plan.inputs, [plan.constants[i] for i in plan.held]
        if not self._moved and self._shared is None:
            with self._lock:
                if changing:
                    stepping.recorded(_assign, self._changing, changing)
                return self._of([np.atleast_1d(plain(each)) for each in inputs] or self._rest)
        before = found_before(plan.calls)
        run = functools.partial(self._of_moved, before=before) if before else self._of_moved
        value, by_variables, by_inputs = stepping.recorded(run, inputs, changing)
        total = None if value is None else float(stepping.plain(value))
        return total, by_variables, by_inputs

    def clips(self, plan: Plan, variables: list[Any], value: float, is_new: bool) -> bool:
        """Whether the calls as they are written give a value that this program does not.

        Crossentropies clip probabilities, which the loss of scores in `fit` has no need of.

        Args:
            plan: as given.
            variables: as given.
            value: the recorded value.
            is_new: whether the program is of this plan; else one of its calls may be outdated.
        """
        if is_new and not self.draws:
            self._written = _Program(plan, variables, is_written=True)
        total = None if self._written is None else self._written.of(plan)[0]
        return total is not None and _close(total, value, self.tolerance)

    def _of_moved(
        self, inputs: list[Any], changing: list[Any], before: Iterable[tuple[Any, Any]] = ()
    ) -> tuple[Any, dict[int, Any], dict[int, Any]]:
        """Results of `of`, with the value as an array; variables that it moves are put back."""
        with self._lock:
            _assign(self._changing, changing)
            arrays = [np.atleast_1d(plain(each)) for each in inputs]
            if self._shared is not None:
                _assign(self._shared, inputs)
                arrays = []
            with put_back(self._moved, before):
                total, by_variables, by_inputs = self._of(arrays or self._rest)
        return None if total is None else np.float64(total), by_variables, by_inputs

    def _of(self, arrays: list[Any]) -> tuple[float | None, dict[int, Any], dict[int, Any]]:
        value: Any = None
        weights: list[Any] = []
        others: Any = ()
        if self._by_weights:
            value, weights = self._by_weights(*arrays)
        if self._by_arrays:
            value, others = self._by_arrays(*arrays)
        programs = [each for made in self._derivatives() for each in made.compiled.values()]
        self.has_drawn = any([each.draws for each in programs])
        value = stepping.plain(value)
        total = None if value is None else float(np.sum(value) if np.ndim(value) else value)
        n = len(self.variables)
        by_variables = dict(zip(map(id, self.variables), weights[:n], strict=True))
        return total, by_variables, dict(zip(self._numbers, (*weights[n:], *others), strict=True))


def found_before(calls: list[Node]) -> list[tuple[Any, Any]]:
    """Variables that calls have read and changed, with the values that the first call found.

    A recording is refused then, since its replays do not tell such values.
    """
    found: dict[int, tuple[Any, Any]] = {}
    for node in with_inner(calls):
        for variable, value in node.before:
            found.setdefault(id(variable), (variable, value))
    changed = [each for each in found.values() if each[0].numpy().tobytes() != each[1].tobytes()]
    if changed:
        stepping.touched("a call changes a variable that it reads, such as a state it keeps")
    return changed


def reads_of(calls: Iterable[Node], owners: Iterable[Any]) -> Reads:
    """Reads of calls from layers, losses and functions, beside the weights in keys of plans."""
    functions = [e for node in calls for e in node.leaves if callable(e)]
    reads = Reads([*owners, *functions], is_strict=False)
    reads.close()
    return reads


@contextlib.contextmanager
def put_back(variables: list[Any], start: Iterable[tuple[Any, Any]] = ()) -> Iterator[None]:
    """Context that starts with some values of variables, and after which all are as before."""
    kept = [(each, each.numpy()) for each in variables]
    try:
        for each, value in start:
            each.assign(value)
        yield
    finally:
        for each, before in kept:
            each.assign(before)


def _assign(variables: list[Any], values: list[Any]) -> None:
    """Assign the inputs or changing constants of a program."""
    for each, value in zip(variables, values, strict=True):
        each.assign(plain(value))


def _times_one(run: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose result is no loss that a program knows."""

    def times_one(*arguments: Any) -> Any:
        return run(*arguments) * 1.0

    times_one.replays = True  # type: ignore[attr-defined]
    return times_one


def _run(plan: Plan, variables: list[Any], value: float) -> tuple[dict[int, Any], dict[int, Any]]:
    """Gradients by the program of a plan, kept if its value agrees with the recorded one.

    Raises:
        ValueError: the plan cannot be compiled, or its value differs from the recorded one.
    """
    key = (*plan.key, *map(id, variables))
    before = programs.get(key)
    kept = before if before is not None and before.holds() else None
    recording = stepping.state.recording
    if recording is not None:
        recording.within = plan.places(recording.numbers())
    for program in (kept, None):
        made = program or _Program(plan, variables, before or plan.known.program)
        try:
            total, weights, others = made.of(plan)
        except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(
                "GradientTape: what was computed cannot be differentiated as a program: "
                f"{error}; self.gradients(x, y) and cdl.value_and_grad(function, "
                "variables=weights) take a function instead"
            ) from error
        agrees = total is None or made.has_drawn or _close(total, value, made.tolerance)
        agrees = agrees or made.clips(plan, variables, value, program is None)
        if made.agrees is None:
            made.agrees = agrees
        if agrees or program is None or not made.agrees:
            break
    if not made.agrees and not made.draws and made.of(plan)[0] == total:
        raise ValueError(
            "GradientTape: what was computed cannot be done again on a batch: that gives "
            f"{total}, where it gave {value}"
        )
    keep(programs, key, made)
    plan.known.program = made
    return weights, others


def _close(a: float, b: float, tolerance: float) -> bool:
    is_close = math.isclose(a, b, rel_tol=tolerance, abs_tol=0.1 * tolerance)
    return is_close or (math.isnan(a) and math.isnan(b))


def gradients_of(nodes: dict[int, Node], targets: list[Any], sources: list[Any]) -> dict[int, Any]:
    """The gradient of the sum of the targets by each source, by id; none for unconnected ones.

    Args:
        nodes: the recorded calls, by serial number.
        targets: recorded results.
        sources: variables and arrays.

    Raises:
        ValueError: the calls cannot be compiled.
    """
    found: dict[int, Any] = {}
    for group in _groups(nodes, sources):
        found.update(_of_group(nodes, targets, group))
    return found


def _groups(nodes: dict[int, Node], sources: list[Any]) -> list[list[Any]]:
    """Sources of which none was computed from another one of the same list."""
    first, later = [], []
    for each in sources:
        computed = origin_of(each, nodes) is not None
        later += [[each]] if computed else []
        first += [] if computed else [each]
    return [first, *later] if first else later


def without_arrays(calls: list[Node]) -> list[Node]:
    """Calls, of whose arguments the variables are left."""
    return [
        node._replace(args=((), {}), leaves=[e for e in node.leaves if isinstance(e, Variable)])
        for node in calls
    ]


class _GradientCall:
    """A gradient by arrays as a call that an outer tape records.

    Args:
        plan: the calls of the inner tape.

    Attributes:
        calls: those of the plan, without their arrays.
        draws: as of the plan.
    """

    def __init__(self, plan: Plan) -> None:
        self._found: list[Any] = []
        self._run, self._numbers = plan.function(None, None), plan.numbers
        self.calls, self.draws = without_arrays(plan.calls), plan.draws()

    def take(self, *found: Any) -> None:
        """Take the gradients on arrays for the next call, with what was drawn for them."""
        self._found = list(found)

    def __call__(self, *inputs: Any) -> list[Any]:
        if not state.replays:
            found, self._found = self._found, []  # which a program that is kept must not hold
            return found
        numbers: Any = self._numbers
        return value_and_gradients(self._run, inputs, numbers, False)[1]


def gradients_recorded(
    nodes: dict[int, Node], targets: list[Any], sources: list[Any], found: dict[int, Any]
) -> dict[int, Any]:
    """Gradients by arrays that the open tapes have recorded, by id.

    Args:
        nodes: of the inner tape.
        targets: as in `gradients_of`.
        sources: arrays, and variables that no layer has.
        found: the gradients by id.
    """
    recorded_ones: dict[int, Any] = {}
    for group in _groups(nodes, [each for each in sources if id(each) in found]):
        record = _cut(Record(nodes, targets, {id(each): each for each in group}))
        calls = calls_before(record)
        plan = Plan(record, calls, rows_of(calls), is_inner=True)
        call = _GradientCall(plan)
        stepping.recorded(call.take, *[found[id(each)] for each in group])
        key = ("gradient", plan.key)
        given = *plan.inputs, *(plan.constants[i] for i in plan.held)
        results = recorded(call, key, None, given, {})
        recorded_ones.update(zip(map(id, group), results, strict=True))
    return recorded_ones


def with_inner(calls: Iterable[Node]) -> Iterator[Node]:
    """Calls, and those of inner tapes that lead to gradients among them."""
    for node in calls:
        yield node
        yield from with_inner(getattr(node.call, "calls", ()))


def _differentiated(
    record: Record, calls: list[Node], variables: list[Any], value: float
) -> tuple[Plan, dict[int, Any], dict[int, Any]]:
    """A plan, and the gradients by variables and by its inputs.

    The calls go by samples if they can; else by whole arrays, which no layer takes.
    """
    by_rows = Plan(record, calls, rows_of(calls))
    key = (*by_rows.key, *map(id, variables))
    error: ValueError | None = None
    if by_rows.rows and key not in _whole:
        try:
            return by_rows, *_run(by_rows, variables, value)
        except ValueError as failed:
            error = failed
        if by_rows.held:  # such as a slope, which no variable can be
            by_rows.known.holds = False
            return _differentiated(record, calls, variables, value)
    plan = Plan(record, calls, 0)
    try:
        found = _run(plan, variables, value)
    except ValueError as failed:
        _refuse_sizes(calls, failed)
        raise error or failed from failed.__cause__
    keep(_whole, key, None)
    return plan, *found


def _refuse_sizes(calls: list[Node], failed: ValueError) -> None:
    """Error for layers that were called on batches of several sizes, of which a program has one.

    Raises:
        ValueError: there are several sizes.
    """
    ends = [rows_of([node]) for node in calls if isinstance(node.owner, Layer)]
    sizes = [str(each) for each in sorted({*ends})]
    if len(sizes) > 1:
        raise ValueError(
            f"GradientTape: layers were called on batches of {' and '.join(sizes)} samples, and a "
            "gradient goes by samples of one size: call the model once on the joined batches "
            "(concatenate) and slice its result, or take the gradients one by one and add them"
        ) from failed


def _of_group(nodes: dict[int, Node], targets: list[Any], sources: list[Any]) -> dict[int, Any]:
    """Gradients by id, of sources none of which was computed from another one."""
    arrays = {id(each): each for each in sources if not isinstance(each, Variable)}
    record = Record(nodes, targets, arrays)
    if arrays:
        record = _cut(record)
    calls = calls_before(record)
    value = sum(float(np.sum(plain(each), dtype=np.float64)) for each in targets)
    variables = [each for each in sources if isinstance(each, Variable)]
    plan, found, by_arrays = _differentiated(record, calls, variables, value)
    for (number, array), place in zip(arrays.items(), plan.numbers, strict=True):
        if place is not None:
            found[number] = np.reshape(by_arrays[place], np.shape(array))
    return found


def variables_of(calls: Iterable[Node]) -> list[Any]:
    """The variables that calls read, in the order of their first use."""
    found: dict[int, Any] = {}
    for node in with_inner(calls):
        for each in (*getattr(node.owner, "variables", ()), *node.leaves):
            if isinstance(each, Variable):
                found.setdefault(id(each), each)
    return list(found.values())
