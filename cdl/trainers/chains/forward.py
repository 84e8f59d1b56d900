"""Forward: calls of layers ahead of a link that reads their results, as a program of the core."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from cdl import tree
from cdl._core import Executor
from cdl._tracing.operation import OpDef
from cdl._variables.stepping import Call
from cdl.trainers.chains.calls import layer_of, only_computes
from cdl.trainers.chains.core_metrics import NotInCoreError, function_of
from cdl.trainers.chains.link import Fed, Values, args_refs, of_values, refs
from cdl.trainers.chains.observer import traced_calls
from cdl.trainers.several_rows import SeveralRows

Joined = dict[int, list[int]]  # numbers of arrays, by that of the array of all their rows


class Plan(NamedTuple):
    """Calls that programs make ahead of links.

    Attributes:
        groups: the calls by the number of links ahead of them.
        joined: arrays of the rows of several ones, some of which the calls give.
        read: numbers of results that are read outside of their group.
    """

    groups: dict[int, list[Call]]
    joined: Joined
    read: set[int]


def plan_of(pairs: Sequence[tuple[Call, Any]], known: Collection[int]) -> Plan | None:
    """Calls without which links lack inputs; None if there are others than programs can make.

    Programs make calls of layers, one behind another in different programs, and concatenations:
    what is fused with others, and what numpy computes in single batches, may round otherwise.

    Args:
        pairs: calls of a step, each with the part of a pass that makes it.
        known: numbers of arrays that are there.
    """
    made: dict[int, tuple[int, Call]] = {}
    wanted, known_or_made, before = list[int](), set(known), set(known)
    links = 0
    for call, part in pairs:
        if isinstance(part, Fed):
            links += 1
            before |= known_or_made
            wanted += [n for n in getattr(part, "inputs", ()) if n not in known]
            continue
        of_layer = layer_of(call) is not None
        if call.size != 1 or not (of_layer or _concatenates(call)) or not only_computes(call):
            continue
        if (before if of_layer else known_or_made).issuperset(args_refs(call)):
            made[call.first] = links, call
            known_or_made.add(call.first)
    if not wanted or not made.keys() >= set(wanted):
        return None
    needed = set[int]()
    while wanted:
        number = wanted.pop()
        if number not in needed:
            needed.add(number)
            wanted += [n for n in args_refs(made[number][1]) if n not in known]
    joined = {n: parts for n in needed if (parts := _joined(made[n][1])) is not None}
    groups: dict[int, list[Call]] = {}
    for n in sorted(needed - joined.keys()):
        groups.setdefault(made[n][0], []).append(made[n][1])
    others = [call for call, _ in pairs if call.first not in needed or call.first in joined]
    read = {n for call in others for n in args_refs(call)}
    read |= {
        n
        for k, calls in groups.items()
        for e in calls
        for n in args_refs(e)
        if n in made and made[n][0] != k
    }
    return Plan(groups, joined, read & (needed - joined.keys()))


def _concatenates(call: Call) -> bool:
    """Whether a call is `ops.concatenate`."""
    row = call.args[0] if call.args else None
    return isinstance(row, OpDef) and row.name == "concatenate"


def _joined(call: Call) -> list[int] | None:
    """Numbers of the arrays whose rows a call joins; None for any other call."""
    if not _concatenates(call) or call.args[2]:
        return None
    given, *axes = call.args[1]
    is_of_rows = axes in ([], [0]) and isinstance(given, (list, tuple))
    return refs(given) if is_of_rows and len(refs(given)) == len(given) else None


class Forward(Fed):
    """Calls as one program, whose results go to arrays that links read.

    Args:
        calls: in their order.
        targets: for each result that is read, its number and the array for it, a row a batch.
        kinds: shape and dtype of arrays by number.

    Attributes:
        inputs: numbers of the arrays that the program reads.
        results: the arrays of the targets.
        shown: of each array that is complete behind it, the rows of the first batch, by number.

    Raises:
        NotInCoreError: the calls cannot be traced.
    """

    def __init__(
        self, calls: Sequence[Call], targets: Sequence[tuple[int, Any]], kinds: Mapping[int, Any]
    ) -> None:
        own = {call.first for call in calls}
        self.inputs = sorted({n for call in calls for n in args_refs(call)} - own)
        self.results = [array for _, array in targets]
        self.shown: dict[int, Any] = {}
        self._rows = kinds[self.inputs[0]][0][0]
        self.is_shown = True
        replays = [(e, function_of(e), of_values(e.args), of_values(e.kwargs)) for e in calls]

        def run(symbols: Sequence[Any]) -> list[Any]:
            values: Any = dict(zip(self.inputs, symbols, strict=True))
            for call, function, of_args, of_kwargs in replays:
                result = function(*of_args(values), **of_kwargs(values))
                values.update(enumerate(tree.flatten(result), call.first))
            return [values[n] for n, _ in targets]

        read = [e for call in calls for e in tree.flatten((call.args, call.kwargs)) if callable(e)]
        read += [e for call in calls if (e := getattr(call.function, "__self__", None)) is not None]
        program, of_inputs = SeveralRows(), [kinds[n] for n in self.inputs]
        try:
            found, arguments, self._reads = traced_calls(run, of_inputs, read, program)
        except Exception as error:  # whatever code of users' layers does to symbolic tensors
            raise NotInCoreError(f"the calls cannot be traced: {error}") from error
        for value in found:
            program.output(value)
        if self._reads.unseen or not arguments.is_plain:
            raise NotInCoreError(self._reads.unseen or "arrays have different numbers of rows")
        self.executor = Executor(program.fused(training=False), self._rows)

    def refresh(self) -> bool:
        """Do nothing: no optimizer steps."""
        return False

    @property
    def holds(self) -> bool:
        """Whether layers are what they were."""
        return self._reads.hold()

    def begin(self, arrays: Any, order: Any) -> None:
        """Start a pass over arrays by number."""
        self.executor.begin([arrays[n] for n in self.inputs], self._rows, order)

    def run(self, values: Values) -> None:
        """Do nothing: batches by themselves make the calls."""

    def show(self, values: Values) -> None:
        """Store the results of the first batch among the values."""
        for n, array in self.shown.items():
            values[n] = array.copy()
