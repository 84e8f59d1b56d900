"""Vectorized steps: recorded once, done for all elements at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cdl._ir import all_steps
from cdl._tracing import graph as graphs
from cdl._tracing.loop import Body, Loop, _element_of, _stacked, _traced

if TYPE_CHECKING:
    from cdl._ir.lowering import Lowering
    from cdl._ir.program import Value
    from cdl._tracing.graph import KerasTensor


def record_all_steps(
    step: Callable[..., Any], elements: list[KerasTensor], sequences: list[KerasTensor], n: int
) -> KerasTensor:
    """Record a step as one node of the graph.

    Args:
        step: function from one element of each sequence to a result.
        elements: tensors like one element of each sequence.
        sequences: of n elements, along the first axis of a sample.

    Returns:
        Results of all steps, along the first axis of a sample.
    """
    around = graphs.current_scope()
    training = around is not None and around.training
    body, captured = _traced(lambda _, given: ([], [step(*given)]), elements, 0, training)
    outputs: Any = ([], [], [_stacked(each, n, False) for each in body.outputs[1]])
    result: KerasTensor
    _, _, (result,) = graphs.record(
        AllSteps(body, n, False, False), ([], sequences, captured), {}, outputs
    )
    return result


class AllSteps(Loop):
    """Node operation of a step for each element, all at once where possible."""

    def append_to(
        self, program: Lowering, carried: list[Value], sequences: list[Value], others: list[Value]
    ) -> tuple[list[Value], list[Value], list[Value]]:
        body = Body(program, self.body, [*map(_element_of, sequences), *others])
        elements = body.inputs[: len(sequences)]
        if self.acts or any(v.shared for v in sequences) or not all_steps.fits(body.own, elements):
            _, _, results = super().append_to(program, carried, sequences, others)
            return [], [], results
        body.read(others, 1)
        once = set(body.once)
        known = body.once | {id(v): o for v, o in zip(elements, sequences, strict=True)}
        all_steps.append(program, body.own, known, once, self.n)
        results = [
            all_steps.repeated(program, known[id(v)], self.n) if id(v) in once else known[id(v)]
            for v in body.outputs[1]
        ]
        return [], [], results
