"""Loop over time of `RNN`: steps, masks, the order; on arrays and traced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from cdl import ops, tree
from cdl._tracing.graph import tensors_in
from cdl._tracing.joining import parts_of
from cdl._tracing.loop import as_tensor, record_loop

Step = Callable[[Any, Any], tuple[Any, Any]]


class Found(NamedTuple):
    """Result of a loop over time.

    Attributes:
        last: the output of the last step.
        outputs: those of all steps, in the order of the steps, along axis 1.
        states: the states after it, nested as the initial ones.
    """

    last: Any
    outputs: Any
    states: Any


def over_time(
    owner: str,
    step: Step,
    sequences: Any,
    states: list[Any],
    mask: Any = None,
    *,
    go_backwards: bool = False,
    zero_output_for_mask: bool = False,
    before: Any = None,
) -> Found:
    """Run a step for each place along axis 1.

    At a place that the mask hides for a sample, its states stay as they are, and its output is the
    first of the states, which for most cells is the output of the step before.

    Args:
        owner: who runs it, for errors.
        step: from an element and the states to an output and the next states, nested likewise.
        sequences: of shape (samples, steps, ...), or several nested.
        states: the initial ones, nested.
        mask: of shape (samples, steps), or with further axes: what is False in all is hidden.
        go_backwards: whether the first step is that of the last place.
        zero_output_for_mask: whether the output at a hidden place is 0.
        before: the output before the first step, if outputs at hidden places are to be those of
            the step before; None if they are the first of the states.
    """
    n = tree.flatten(sequences)[0].shape[1]
    carried, elements = tree.flatten(states), tree.flatten(sequences)
    k = len(carried)
    shown = None if mask is None else _shown(mask)
    if shown is None or zero_output_for_mask:
        before = None
    start = carried if before is None else [*carried, before]

    def flat_step(kept: list[Any], element: list[Any]) -> tuple[list[Any], list[Any]]:
        x = tree.pack_sequence_as(sequences, element[: len(elements)])
        old = kept[:k]
        nested = tree.pack_sequence_as(states, old)
        output, new = step(x, nested)
        given = tree.flatten(new)
        if len(given) != k:
            raise ValueError(
                f"{owner}: the cell must give as many states as it is given, {k}, got {len(given)}"
            )
        if shown is None:
            return given, [output]
        here = element[len(elements)]
        if zero_output_for_mask:
            other = ops.zeros_like(output)
        else:
            other = leading_state(nested) if before is None else kept[k]
        output = _choose(here, output, other)
        given = [_choose(here, a, b) for a, b in zip(given, old, strict=True)]
        return (given if before is None else [*given, output]), [output]

    read = elements if shown is None else [*elements, shown]
    if tensors_in((read, start)):
        kept, last, outputs = _traced(owner, flat_step, start, read, n, go_backwards)
    else:
        kept, last, outputs = _on_arrays(flat_step, start, read, n, go_backwards)
    return Found(last, outputs, tree.pack_sequence_as(states, kept[:k]))


def _traced(
    owner: str, step: Any, start: list[Any], read: list[Any], n: int, go_backwards: bool
) -> tuple[list[Any], Any, Any]:
    start, read = list(map(as_tensor, start)), list(map(as_tensor, read))
    if any(each.rows_per_sample for each in read):
        start = list(map(parts_of, start))
    like = [each[:, 0] for each in read]
    # A loop reads the elements of tensors of no sample along their first axis.
    read = [each if each.rows_per_sample else ops.moveaxis(each, 1, 0) for each in read]
    kept, (last,), (outputs,) = record_loop(owner, step, start, like, read, n, go_backwards)
    return kept, last, outputs if outputs.rows_per_sample else ops.moveaxis(outputs, 0, 1)


def _on_arrays(
    step: Any, kept: list[Any], read: list[Any], n: int, go_backwards: bool
) -> tuple[list[Any], Any, Any]:
    found = []
    for t in range(n)[:: -1 if go_backwards else 1]:
        kept, (output,) = step(kept, [each[:, t] for each in read])
        found.append(output)
    return kept, found[-1], ops.stack(found, 1)


def _shown(mask: Any) -> Any:
    """Mask as one bool a step, of shape (samples, steps)."""
    mask = ops.cast(mask, "bool")
    return ops.any(mask, tuple(range(2, len(mask.shape)))) if len(mask.shape) > 2 else mask


def _choose(here: Any, a: Any, b: Any) -> Any:
    """Elements of a for samples whose place is shown, of b for others."""
    for _ in a.shape[1:]:
        here = ops.expand_dims(here, -1)
    return ops.where(here, a, b)


def leading_state(states: Any) -> Any:
    """First state of a cell, of several stacked cells that of the last one."""
    first = states[0]
    return first if not tree.is_nested(first) else tree.flatten(states[-1])[0]
