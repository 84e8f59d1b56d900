"""Activity penalties on outputs of layers: the argument `activity_regularizer`."""

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
