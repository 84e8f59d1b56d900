"""Means of values, weighted by how well keys fit a query."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdl._common.validation import not_yet
from cdl._tracing.operation import Saved, operation
from cdl.ops.arrays import shape_of
from cdl.ops.nn.activations import softmax
from cdl.ops.numpy.arithmetic import add, divide, multiply
from cdl.ops.numpy.comparisons import where
from cdl.ops.numpy.elementary import tanh
from cdl.ops.numpy.products import matmul
from cdl.ops.numpy.shapes import transpose

_LOWEST = -0.7 * float(np.finfo(np.float32).max)


@operation(saved=Saved(by_name=("bias", "mask", "scale")))
def dot_product_attention(
    query: ArrayLike,
    key: ArrayLike,
    value: ArrayLike,
    bias: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    scale: ArrayLike | None = None,
    is_causal: bool = False,
    flash_attention: Any = None,
    attn_logits_soft_cap: Any = None,
) -> Any:
    """softmax(query key^T * scale) value, for each head.

    Args:
        query: of shape (batch, queries, heads, width).
        key: of shape (batch, keys, heads, width); one head may stand for all.
        value: as `key`.
        bias: added to the scores, of shape (batch, heads, queries, keys) or one that broadcasts.
        mask: of such a shape, true where a key counts.
        scale: 1 / sqrt(width) unless given.
        is_causal: whether a query sees only keys up to its own place.
        flash_attention: only False or None: there is one way here.
        attn_logits_soft_cap: a bound c: scores become c tanh(score / c).
    """
    not_yet("dot_product_attention", flash_attention=(flash_attention or None, None))
    for name, x in (("query", query), ("key", key), ("value", value)):
        if len(shape_of(x)) != 4:
            raise ValueError(
                f"dot_product_attention: {name} must have 4 axes, got shape {shape_of(x)}"
            )
    n, m, width = shape_of(query)[1], shape_of(key)[1], shape_of(query)[3]
    factor = 1.0 / math.sqrt(width) if scale is None else scale
    scores = multiply(matmul(transpose(query, (0, 2, 1, 3)), transpose(key, (0, 2, 3, 1))), factor)
    if bias is not None:
        scores = add(scores, bias)
    if attn_logits_soft_cap is not None:
        scores = multiply(tanh(divide(scores, attn_logits_soft_cap)), attn_logits_soft_cap)
    if is_causal:
        scores = where(np.tri(n, m, dtype=bool), scores, _LOWEST)
    if mask is not None:
        scores = where(mask, scores, _LOWEST)
    return transpose(matmul(softmax(scores), transpose(value, (0, 2, 1, 3))), (0, 2, 1, 3))
