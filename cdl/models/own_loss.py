"""own_loss.py - a `compute_loss` of a model's own: run once on symbolic values, then compiled."""

import inspect
from collections.abc import Sequence
from typing import Any

from cdl import _graph, tree
from cdl._graph import KerasTensor
from cdl._program import Program, Value
from cdl.data import brief


def append(
    model: Any,
    program: Program,
    inputs: Sequence[Value],
    targets: Sequence[Value | None],
    predictions: Sequence[Value],
    weights: Sequence[Value | None],
) -> None:
    """Append what the model's `compute_loss` does; it is the whole loss, but for penalties.

    Args:
        model: whose class overrides it.
        program: of a training or evaluation step.
        inputs: the values of the model's inputs.
        targets: one an output, or None.
        predictions: the outputs.
        weights: sample weights, one an output, or None.

    Raises:
        TypeError: what it does cannot be compiled.
        ValueError: it gives no symbolic value.
    """
    infos = model._input_infos()
    x = [KerasTensor((None, *v.shape), i.dtype) for v, i in zip(inputs, infos, strict=True)]
    y, p, w = (
        [None if v is None else KerasTensor((None, *v.shape)) for v in values]
        for values in (targets, predictions, weights)
    )
    given = {
        "x": _nested(model._inputs_struct, x),
        "y": _packed(model, y),
        "y_pred": _packed(model, p),
        "sample_weight": _packed(model, w) if any(each is not None for each in w) else None,
        "training": program.training,
    }
    graph = _graph.trace(model.compute_loss, (), _taken(model.compute_loss, given), True)
    if not isinstance(graph.outputs, KerasTensor):
        raise ValueError(
            f"{type(model).__name__}: compute_loss must return a value of y_pred, got "
            f"{brief(graph.outputs)}"
        )
    pairs = zip([*x, *y, *p, *w], [*inputs, *targets, *predictions, *weights], strict=True)
    known: dict[int, Any] = {id(tensor): value for tensor, value in pairs}
    values = [known[id(tensor)] for tensor in graph.inputs]
    program.objective(graph.lower(program, values), reduction="mean", counts=False)


def _nested(structure: Any, leaves: list[Any]) -> Any:
    if structure is None:
        return leaves[0] if len(leaves) == 1 else leaves
    packed = tree.pack_sequence_as(structure, leaves)
    return packed[0] if isinstance(packed, list) and len(packed) == 1 else packed


def _packed(model: Any, parts: list[Any]) -> Any:
    """One thing an output, nested as the outputs are; None if there is nothing."""
    if all(part is None for part in parts):
        return None
    return model._packed_outputs(parts)


def _taken(function: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Those of the arguments that a function takes."""
    parameters = inspect.signature(function).parameters.values()
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        return given
    names = {each.name for each in parameters}
    return {name: value for name, value in given.items() if name in names}
