"""Activity penalties on outputs of layers, and the losses of a layer on arrays."""

from __future__ import annotations

from typing import Any

from cdl import regularizers
from cdl._tracing.graph import KerasTensor, trace
from cdl.layers.arguments import Lowering, Value


def penalized(owner: str, regularizer: Any, program: Lowering, y: Value) -> Value:
    """Output whose activity penalty, divided by the number of samples, is added to the loss.

    The core knows L1 and L2; what another one does with the output is traced.

    Args:
        regularizer: from a value to a scalar.
        program: to which the penalty is appended.
        y: the output.

    Raises:
        TypeError: the penalty is written in what cannot be traced.
        ValueError: it gives no scalar.
    """
    factors = regularizers.compiled(regularizer)
    if factors is not None:
        l1, l2 = factors
        same = program.emit("activity", (y,), y.shape, l1=float(l1), l2=float(l2))
        same.mask = y.mask
        return same

    graph = trace(_of_a_sample, (regularizer, KerasTensor((None, *y.shape))), {}, program.training)
    penalty = graph.outputs
    if not isinstance(penalty, KerasTensor) or penalty.shape or penalty.rows_per_sample:
        raise ValueError(
            f"{owner}: activity_regularizer must give a scalar that depends on the output, "
            f"got {penalty!r}"
        )
    program.objective(graph.lower(program, [y]), reduction="sum", counts=False)
    return y


def _of_a_sample(regularizer: Any, y: Any) -> Any:
    from cdl import ops

    return regularizer(y) / ops.cast(ops.shape(y)[0], "float32")


def losses_of(owner: Any) -> list[float]:
    """Losses of a layer on arrays; see `Layer.losses`."""
    found: list[float] = []
    for layer in owner._flatten_layers():
        if layer.activity_regularizer is not None and layer._activity is not None:
            found.append(layer._activity)
        found += layer._added
    penalized = [each for each in owner.trainable_weights if each.regularizer is not None]
    return [*found, *(float(each.regularizer(each.numpy())) for each in penalized)]
