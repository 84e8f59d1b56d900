"""weighing.py - targets and weights of samples output by output, out of what the user handed in."""

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from cdl import data, losses
from cdl.models.compiled import Compiled, Settled
from cdl.models.interface import Info, labels

Array = NDArray[Any]


def by_output(model: Any, compiled: Compiled, given: Any, name: str) -> list[Any]:
    """Targets or weights as one element an output.

    As in Keras, a list may have only the elements of those outputs that have a loss or metric.
    """
    names = model._output_names()
    if len(names) > 1 and given is not None and not isinstance(given, Mapping):
        wanted = compiled.wanted(names, model._output_nest())
        read = [i for i, each in enumerate(wanted) if each.reads_target]
        parts = list(given) if isinstance(given, (list, tuple)) else [given]
        if len(parts) == len(read) < len(names):
            placed = dict(zip(read, parts, strict=True))
            return [placed.get(i) for i in range(len(names))]
    found: list[Any] = model._flat_targets(given, name)
    return found


def sample_weights(
    model: Any, compiled: Compiled, given: Any, rows: int, call: str
) -> list[Array | None]:
    """Sample weights output by output, checked to have as many rows; one array is for all."""
    names = model._output_names()
    name = f"{call}: sample_weight"
    if len(names) == 1 and not isinstance(given, Mapping):
        return [data.of_samples(given, rows, name)]
    if not isinstance(given, (list, tuple, Mapping)):
        weight = data.of_samples(given, rows, name)
        if weight.size != rows:
            raise ValueError(
                f"{name} must have shape ({rows},), one weight for each row of x, as one array for "
                f"{len(names)} outputs, got {weight.shape}: give a list or dict of arrays"
            )
        return [weight] * len(names)
    flat = by_output(model, compiled, given, name)
    of_each = labels(name, "output", names)
    return [
        None if each is None else data.of_samples(each, rows, which)
        for each, which in zip(flat, of_each, strict=True)
    ]


def class_weights(class_weight: Any, ys: Sequence[Array | None], call: str) -> Array:
    """Weights of samples by their classes, for a model of one output."""
    if len(ys) > 1:
        raise ValueError(
            f"{call}: class_weight must be None for a model of {len(ys)} outputs: give "
            "sample_weight, an array for each output"
        )
    if ys[0] is None:
        raise ValueError(f"{call}: y must be given for class_weight")
    return data.of_classes(class_weight, ys[0], f"{call}: class_weight")


def fit_weights(
    weights: Sequence[Array | None], settled: Settled, outputs: Sequence[Info], call: str
) -> list[Array | None]:
    """Sample weights in the shape that the core's loss and weighted metrics take; ValueError."""
    names = labels(f"{call}: sample_weight", "output", [info.name for info in outputs])
    fitted: list[Array | None] = []
    for i, (weight, head, info) in enumerate(zip(weights, settled.heads, outputs, strict=True)):
        lines = [info.row[:-1] for each in settled.metrics if each.weighted and each.output == i]
        if head.loss is not None and losses.is_compiled(head.loss):
            lines.append(head.loss.lines(info.row))
        for shape in lines if weight is not None else ():
            assert weight is not None
            weight = data.of_lines(weight, shape, names[i])
        fitted.append(weight)
    return fitted
