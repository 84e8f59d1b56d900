"""Attention with dropout as one instruction, without the matrix of all weights."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from cdl._ir import emit
from cdl._tracing import graph as graphs
from cdl._tracing.keras_tensor import KerasTensor
from cdl.layers.arguments import Lowering, Value
from cdl.layers.regularization.dropout import Dropout
from cdl.ops.nn.attention import as_bias


def attend(
    dropout: Dropout,
    query: Any,
    key: Any,
    value: Any,
    mask: Any,
    scale: float,
    is_causal: bool,
    training: bool | None,
) -> Any:
    """Attention by head, with weights 0 where nothing is seen.

    Args:
        dropout: the layer that drops weights.
        query: (batch, queries, heads, width).
        key: (batch, keys, heads or a divisor of them, width).
        value: likewise, of any width.
        mask: what each query may see, of four axes; None: all.
        is_causal: whether query i sees keys 0 to i alone.
        training: whether it drops; None: as what is around it does.

    Returns:
        None where the core has no instruction for it.
    """
    several = [query, key, value] + ([] if mask is None or _is_known(mask) else [mask])
    if not all(isinstance(x, KerasTensor) and _is_of_samples(x) for x in several):
        return None
    sizes = (key.shape[1], query.shape[3], value.shape[3])
    if any(n is None or n < 2 for n in sizes) or (mask is not None and mask.shape[3] != sizes[0]):
        return None
    operation = DroppedAttention(dropout, mask, scale, is_causal, training)
    spec = KerasTensor((*query.shape[:3], value.shape[3]))
    return graphs.record(operation, tuple(several), {}, spec)


def _is_known(mask: Any) -> bool:
    return isinstance(mask, np.ndarray) and mask.ndim == 4 and mask.shape[0] == 1


def _is_of_samples(x: KerasTensor) -> bool:
    return x.rows_per_sample == 1 and x.batch_axis == 0 and len(x.shape) == 4


class DroppedAttention:
    """Node operation of attention with dropout; see `attend`."""

    name = "dropped_attention"

    def __init__(
        self, dropout: Dropout, mask: Any, scale: float, is_causal: bool, training: bool | None
    ) -> None:
        self.dropout = dropout
        self.mask = mask if _is_known(mask) else None
        self.scale = scale
        self.is_causal = is_causal
        self.training = training

    def append_to(self, program: Lowering, *inputs: Value) -> Value:
        """Append the attention instruction."""
        values = [program.broadcast_batch(v) for v in inputs[:3]]
        shown = inputs[3] if len(inputs) > 3 else self.mask
        if shown is not None:
            values.append(as_bias(program, shown))
        told = self.training is not None
        with program.fixed(bool(self.training)) if told else contextlib.nullcontext():
            more: dict[str, Any] = {"causal": self.is_causal, "empty": True}
            if program.is_noisy:
                generator = self.dropout.seed_generator
                more |= {"rate": self.dropout.rate, "always": not program.training}
                more |= {"seed": generator.seed, "user_draw": program.draw_of(generator)}
            return emit.attention(program, values, self.scale, **more)
