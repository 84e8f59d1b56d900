"""Recorded calls as one function of the arrays that change between calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from cdl import ops, tree
from cdl._common.locks import new_lock
from cdl._tracing.variable import Variable
from cdl._variables import stepping
from cdl._variables.step_forms import NUMBERS, of_python
from cdl.taping.recorded import Node, Taped, origin_of, plain, state

_KEPT = 16  # size of each cache
_keeping = new_lock()  # held by the thread that changes one
_PLAIN = (bool, int, float, str, type(None))


class _Input(NamedTuple):
    number: int


class _Result(NamedTuple):
    step: int
    place: int


class _Constant(NamedTuple):
    number: int


class _Known:
    """Constants of the plans of one form.

    Args:
        tokens: keys of the constants of the first plan.

    Attributes:
        tokens: keys of the constants of the last plan.
        changing: numbers of those that have changed between plans.
        holds: whether programs can take these from variables.
        program: the last program of the form.
    """

    def __init__(self, tokens: list[Any]) -> None:
        self.tokens, self.holds = tokens, True
        self.changing: set[int] = set()
        self.program: Any = None


_known: dict[Any, _Known] = {}  # by form, oldest use first


class Record(NamedTuple):
    """Recorded calls, and what gradients are asked of.

    Attributes:
        nodes: the recorded calls, by serial number.
        targets: the results.
        sources: the arrays to differentiate by, by id.
    """

    nodes: dict[int, Node]
    targets: list[Any]
    sources: dict[int, Any]


class Plan:
    """The calls that lead to the targets, as one function of arrays.

    Args:
        record: the calls and the results.
        calls: those that lead to the targets, in the order of execution.
        rows: batch size; arrays of as many rows are inputs of the function, others constants. 0:
            all arrays of floats are inputs, and the function does not know of samples.
        is_inner: whether another tape is open; what it may have recorded are inputs, too.

    Attributes:
        constants: arrays that are no inputs, and numbers that differ between steps.
        held: numbers of those that change, which a program takes from variables.
        known: what is known of earlier plans of this form.
    """

    def __init__(
        self, record: Record, calls: list[Node], rows: int, is_inner: bool = False
    ) -> None:
        self._is_inner = is_inner
        self._nodes, self._sources, self.rows = record.nodes, record.sources, rows
        self.inputs: list[Any] = []
        self.constants: list[Any] = []
        self._numbers: dict[int, int] = {}
        self.calls, self.templates = calls, []
        self._places = {node.serial: i for i, node in enumerate(calls)}
        key: list[Any] = [rows]
        for node in calls:
            leaves = [self._template(leaf) for leaf in node.leaves]
            self.templates.append(leaves)
            key.append((node.key, id(node.owner), node.form, *map(_token, leaves)))
        self.ends = [self._template(each) for each in record.targets]
        self.numbers = [self._numbers.get(each) for each in record.sources]
        shapes = () if rows else (each.shape for each in self.inputs)
        sizes = [(np.shape(each), _kind(each)) for each in self.constants]
        form = (*key, *map(_token, self.ends), *self.numbers, *shapes, *sizes)
        tokens = list(map(_token, self.constants))
        self.known = _known.get(form) or _Known(tokens)
        keep(_known, form, self.known)
        self.held = self._changing(tokens)
        fixed = [each for i, each in enumerate(tokens) if i not in self.held]
        self.key = (*form, *self.held, *fixed)

    def _changing(self, tokens: list[Any]) -> list[int]:
        """Numbers of the constants that a program has to take from variables."""
        known = self.known
        for i, (each, token) in enumerate(zip(self.constants, tokens, strict=True)):
            if _kind(each) == "f" and (token != known.tokens[i] or stepping.depends(each)):
                known.changing.add(i)
        known.tokens = tokens
        held = sorted(known.changing) if known.holds else []
        for i, each in enumerate(self.constants):
            if i not in held:
                stepping.constant(each)
        return held

    def _template(self, leaf: Any) -> Any:
        if id(leaf) in self._sources or id(leaf) in self._numbers:
            return self._input(leaf)
        if not isinstance(leaf, np.ndarray):
            changes = type(leaf) in (*NUMBERS, np.float32)
            return self._constant(leaf) if changes else stepping.constant(leaf)
        origin = origin_of(leaf, self._nodes)
        if origin is not None and origin[0].serial in self._places:
            return _Result(self._places[origin[0].serial], origin[1])
        is_input = leaf.ndim and len(leaf) == self.rows if self.rows else leaf.dtype.kind == "f"
        is_recorded = self._is_inner and isinstance(leaf, Taped)
        return self._input(leaf) if is_input or is_recorded else self._constant(plain(leaf))

    def _constant(self, leaf: Any) -> _Constant:
        self.constants.append(leaf)
        return _Constant(len(self.constants) - 1)

    def _input(self, leaf: Any) -> _Input:
        number = self._numbers.setdefault(id(leaf), len(self.inputs))
        if number == len(self.inputs):
            self.inputs.append(leaf)
        return _Input(number)

    def draws(self) -> bool:
        """Whether results may differ between calls, or include regularization losses."""
        keys = {node.key[0] for node in self.calls}
        trains = any(node.args[1].get("training") for node in self.calls)
        inner = any(getattr(node.call, "draws", False) for node in self.calls)
        return trains or inner or "penalties" in keys or "compute_loss" in keys

    def function(self, shared: list[Any] | None, held: list[Any] | None) -> Callable[..., Any]:
        """A function that replays the calls on its arguments, and holds no array of the batch.

        Its attribute `with_results` gives the results of all calls too; `replays` says what it is.

        Args:
            shared: variables in place of the inputs; the only argument then has no meaning.
            held: variables in place of the constants that change; None: further arguments.
        """
        shown = [tree.map_structure(lambda leaf: 0, node.args) for node in self.calls]
        steps = list(zip([node.call for node in self.calls], shown, self.templates, strict=True))
        ends, depends = self.ends, bool(self.inputs) and shared is None
        changing = set(self.held)
        fixed = [
            None if i in changing else of_python(each) for i, each in enumerate(self.constants)
        ]
        places, n = self.held, len(self.inputs)

        def with_results(*arguments: Any) -> Any:
            inputs = arguments if shared is None else shared
            results: list[list[Any]] = []
            constants = [*fixed]
            for place, each in zip(places, arguments[n:] if held is None else held, strict=True):
                constants[place] = each

            def given(leaf: Any) -> Any:
                if isinstance(leaf, _Input):
                    return inputs[leaf.number]
                if isinstance(leaf, _Constant):
                    return constants[leaf.number]
                return results[leaf.step][leaf.place] if isinstance(leaf, _Result) else leaf

            before, state.replays = state.replays, True
            try:
                for call, form, leaves in steps:
                    args, kwargs = tree.pack_sequence_as(form, list(map(given, leaves)))
                    results.append(tree.flatten(call(*args, **kwargs)))
            finally:
                state.replays = before
            found = [given(end) for end in ends]
            total = found[0] if len(found) == 1 else sum(map(ops.sum, found))
            return (total if depends else total + 0.0 * ops.sum(arguments[0])), results

        def run(*arguments: Any) -> Any:
            return with_results(*arguments)[0]

        run.with_results, run.replays = with_results, True  # type: ignore[attr-defined]
        return run

    def places(self, arrays: Iterable[tuple[Any, int]]) -> dict[int, tuple[int, int]]:
        """The step and the place of each recorded array among the results of `function`.

        Args:
            arrays: with a number of each, which is its key.
        """
        found = {}
        for array, number in arrays:
            origin = array.origin if isinstance(array, Taped) else None
            if origin is not None and origin[0] in self._places:
                found[number] = self._places[origin[0]], origin[1]
        return found


def calls_before(record: Record) -> list[Node]:
    """All calls between sources and targets, in the order of execution."""
    found: dict[int, Node] = {}
    open_ends: list[Any] = list(record.targets)
    while open_ends:
        leaf = open_ends.pop()
        if not isinstance(leaf, Taped) or id(leaf) in record.sources:
            continue
        origin = origin_of(leaf, record.nodes)
        if origin is not None and origin[0].serial not in found:
            found[origin[0].serial] = origin[0]
            open_ends += origin[0].leaves
    return [found[serial] for serial in sorted(found)]


def keep(kept: dict[Any, Any], key: Any, value: Any) -> None:
    """Put a value at the end of a cache, and evict the least recently used ones."""
    with _keeping:
        kept.pop(key, None)
        kept[key] = value
        while len(kept) > _KEPT:
            del kept[next(iter(kept))]


def _kind(leaf: Any) -> str:
    """Kind of the dtype of an array or number."""
    return "f" if type(leaf) in NUMBERS else str(leaf.dtype.kind)


def _token(leaf: Any) -> Any:
    """A hashable key of an argument."""
    kind = type(leaf)
    if kind in (_Input, _Result, _Constant):
        return leaf
    if kind in _PLAIN:
        return kind, leaf
    if isinstance(leaf, np.ndarray):
        return leaf.dtype.str, leaf.shape, leaf.tobytes()
    return id(leaf) if isinstance(leaf, Variable) or callable(leaf) else repr(leaf)
