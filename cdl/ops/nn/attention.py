"""Means of values, weighted by how well keys fit a query."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdl._tracing.operation import Saved, operation
from cdl.ops.arrays import shape_of
from cdl.ops.nn.activations import softmax
from cdl.ops.numpy.arithmetic import add, divide, multiply
from cdl.ops.numpy.comparisons import where
from cdl.ops.numpy.elementary import tanh
from cdl.ops.numpy.joining import repeat
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

    A query that no mask lets see a key gets the mean of all values, as in Keras.

    Args:
        query: of shape (batch, queries, heads, width).
        key: of shape (batch, keys, heads, width); of fewer heads, a divisor of those of the query,
            each stands for as many in a row.
        value: of shape (batch, keys, heads of the key, any width).
        bias: added to the scores, of shape (batch, heads, queries, keys) or one that broadcasts.
        mask: of such a shape, true where a key counts.
        scale: 1 / sqrt(width) unless given.
        is_causal: whether a query sees only keys up to its own place.
        flash_attention: None, True or False, which give the same.
        attn_logits_soft_cap: a bound c: scores become c tanh(score / c).

    Returns:
        Of the query's shape, with the width of the values.

    Raises:
        ValueError: shapes that do not go together.
    """
    _check(query, key, value)
    (_, n, heads, width), (_, m, shared, _) = shape_of(query), shape_of(key)
    groups = heads // shared
    if groups > 1 and shared > 1:
        key, value = repeat(key, groups, axis=2), repeat(value, groups, axis=2)
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


def _check(query: Any, key: Any, value: Any) -> None:
    """Refuse shapes that do not go together."""
    shapes = {name: shape_of(x) for name, x in (("query", query), ("key", key), ("value", value))}
    for name, shape in shapes.items():
        if len(shape) != 4:
            raise ValueError(
                f"dot_product_attention: {name} must have 4 axes (it only supports 4D inputs), "
                f"got shape {shape}"
            )
    of_query, of_key, of_value = shapes.values()
    if of_key[1:3] != of_value[1:3]:
        raise ValueError(
            "dot_product_attention: key and value must have the same keys and heads, got shapes "
            f"{of_key} and {of_value}"
        )
    if of_query[3] != of_key[3] or of_query[2] % of_key[2]:
        raise ValueError(
            "dot_product_attention: query and key must have the same width, and heads of which the "
            f"key's divide the query's, got shapes {of_query} and {of_key}"
        )
