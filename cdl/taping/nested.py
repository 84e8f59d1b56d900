"""Derivatives of functions of arrays within an open tape: tapes of their own, which that records.

So what a function computes, the arrays that it closes over among it, has gradients by the open
tape, and so have the derivatives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cdl import ops, tree
from cdl._tracing import derivatives
from cdl._variables import stepping
from cdl.layers.moved import moved_variables
from cdl.taping.gradient_tape import GradientTape
from cdl.taping.plan import Plan, Record, calls_before, keep
from cdl.taping.recorded import Node, Taped, is_recording, plain, recorded, state
from cdl.taping.replay import (
    found_before,
    programs,
    put_back,
    reads_of,
    rows_of,
    with_inner,
    without_arrays,
)
from cdl.trainers.derivatives import derivative_of


class Nested:
    """Recorded form of `cdl.grad`, `cdl.jvp` and `cdl.hessian` of arrays while a tape is open."""

    is_recording = staticmethod(is_recording)

    @staticmethod
    def value_and_gradients(
        function: Callable[..., Any], args: Sequence[Any], numbers: Sequence[int], has_aux: bool
    ) -> tuple[Any, list[Any]]:
        """Result of a function, and the gradients by some of its arguments.

        Args:
            numbers: of these arguments.
            has_aux: whether the function gives (value, aux).
        """
        tape, given = _watched("grad", args, numbers)
        with tape:
            result = function(*given)
        value, _ = derivatives.value_and_aux(result, has_aux)
        sources = [given[k] for k in numbers]
        return result, tape.gradient(value, sources, unconnected_gradients="zero")

    @staticmethod
    def jvp(
        function: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]
    ) -> tuple[Any, Any]:
        """Result of a function, and its derivative in a direction, nested alike."""
        tape, given = _watched("jvp", primals, range(len(primals)))
        with tape:
            result = function(*given)
        directions = [
            np.asarray(each, np.float32) if isinstance(each, (int, float)) else each
            for each in tangents
        ]
        sources, directions = tree.map_structure(stepping.plain, (given, directions))
        return result, tree.map_structure(
            lambda y: _tangents(tape._nodes, stepping.plain(y), sources, directions), result
        )

    @staticmethod
    def hessian(
        function: Callable[..., Any], args: Sequence[Any], numbers: Sequence[int]
    ) -> list[list[Any]]:
        """Second derivatives of a function of one number, by each pair of some arguments."""
        tape, given = _watched("hessian", args, numbers, persistent=True)
        with tape:
            _, gradients = Nested.value_and_gradients(function, given, numbers, False)
        sources = [given[k] for k in numbers]
        return [tape.jacobian(each, sources, unconnected_gradients="zero") for each in gradients]


def _watched(
    name: str, args: Sequence[Any], numbers: Sequence[int], persistent: bool = False
) -> tuple[GradientTape, list[Any]]:
    """A tape, and arguments of which it watches those of these numbers."""
    tape, given = GradientTape(persistent), list(args)

    def leaf(each: Any) -> Any:
        array = ops.convert_to_tensor(each)  # another object, which the open tape has recorded
        if array.dtype.kind != "f" and array.dtype.name != "bfloat16":
            raise TypeError(f"{name}: a derivative is by floats, got {array.dtype}")
        return tape.watch(array)

    for k in set(numbers):
        given[k] = tree.map_structure(leaf, args[k])
    return tape, given


class _TangentCall:
    """A derivative in a direction as a call that an outer tape records.

    Args:
        plan: the calls of the inner tape, of one result.

    Attributes:
        calls: those of the plan, without their arrays.
        draws: as of the plan.
    """

    def __init__(self, plan: Plan) -> None:
        self._run, self._numbers = plan.function(None, None), plan.numbers
        self.calls, self.draws = without_arrays(plan.calls), plan.draws()
        owners = {id(node.owner): node.owner for node in with_inner(plan.calls)}.values()
        self._held = owners
        self._reads, self._moved = reads_of(plan.calls, owners), moved_variables(owners)
        self._derivative = derivative_of(self._of_symbols, (), has_aux=True, is_fixed=True)

    def _of_symbols(self, *given: Any) -> Any:
        n = len(self._numbers)
        inputs, directions = given[:-n], given[-n:]
        pairs = [(p, d) for p, d in zip(self._numbers, directions, strict=True) if p is not None]

        def run(*xs: Any) -> Any:
            again = list(inputs)
            for (place, _), x in zip(pairs, xs, strict=True):
                again[place] = x
            return self._run(*again)

        xs = [inputs[place] for place, _ in pairs]
        return given[0], derivatives.jvp(run, xs, [direction for _, direction in pairs])[1]

    def holds(self) -> bool:
        """Whether layers are what they were, as far as that can be told."""
        return bool(self._reads.hold() or self._reads.unseen)

    def __call__(self, *given: Any) -> Any:
        if state.replays:
            return self._of_symbols(*given)[1]
        with put_back(self._moved):
            return self._derivative(*given)[0][1]


def _tangents(
    nodes: dict[int, Node], target: Any, sources: list[Any], directions: list[Any]
) -> Any:
    """Derivative of a result in a direction of arrays, which the open tapes have recorded.

    Args:
        nodes: of the inner tape.
        target: a result; the derivative of a constant is 0.
        sources: arrays that the inner tape watches.
        directions: an array for each.
    """
    record = Record(nodes, [target], {id(each): each for each in sources})
    calls = calls_before(record)
    plan = Plan(record, calls, rows_of(calls), is_inner=True)
    if not isinstance(target, Taped) or all(place is None for place in plan.numbers):
        return np.zeros_like(plain(target))
    given = *plan.inputs, *(plan.constants[i] for i in plan.held), *directions
    key, before = ("tangents", plan.key), found_before(calls)
    call = programs.get(key)
    if before or call is None or not call.holds():
        call = _TangentCall(plan)
    if not before:  # which its calls hold, for the gradients of an outer tape
        keep(programs, key, call)
    with put_back([variable for variable, _ in before], before):
        return recorded(call, key, None, given, {})
