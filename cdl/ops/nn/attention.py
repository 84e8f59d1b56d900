"""Attention by scaled dot products."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdl._ir import emit
from cdl._ir.elementwise import apply, argument
from cdl._ir.lowering import Lowering
from cdl._ir.program import Value
from cdl._tracing.keras_tensor import KerasTensor
from cdl._tracing.lowered_tensor import LoweredTensor
from cdl._tracing.operation import Saved, operation
from cdl.ops.arrays import shape_of
from cdl.ops.lowering import is_number
from cdl.ops.nn.activations import softmax
from cdl.ops.numpy.arithmetic import add, divide, multiply
from cdl.ops.numpy.comparisons import where
from cdl.ops.numpy.elementary import tanh
from cdl.ops.numpy.joining import repeat
from cdl.ops.numpy.products import matmul
from cdl.ops.numpy.shapes import transpose

_LOWEST = -0.7 * float(np.finfo(np.float32).max)


def _shape(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> KerasTensor:
    """Shape of the query, with the width of the values."""
    _check(query, key, value)
    like = query if isinstance(query, KerasTensor) else KerasTensor(query.shape, rows_per_sample=0)
    for x in (key, value):
        if isinstance(x, KerasTensor) and x.rows_per_sample:
            like = x if not like.rows_per_sample else like
    return KerasTensor(
        (*shape_of(query)[:3], shape_of(value)[3]),
        rows_per_sample=like.rows_per_sample,
        batch_axis=like.batch_axis,
    )


def _lower(
    program: Lowering,
    spec: KerasTensor,
    query: Any,
    key: Any,
    value: Any,
    bias: Any = None,
    mask: Any = None,
    scale: Any = None,
    is_causal: bool = False,
    flash_attention: Any = None,
    attn_logits_soft_cap: Any = None,
) -> Any:
    """Append one instruction where the core has it, else products and a softmax."""
    del spec, flash_attention
    given = bias, mask, scale, is_causal, attn_logits_soft_cap
    if _is_one_instruction(query, key, value, *given):
        values = [x.value for x in (query, key, value)]
        if bias is not None:
            values.append(program.constant(np.asarray(bias[0], np.float32)))
        if mask is not None:
            values.append(as_bias(program, getattr(mask, "value", mask)))
        factor = 1.0 / math.sqrt(shape_of(query)[3]) if scale is None else scale
        return emit.attention(program, values, factor, causal=bool(is_causal))
    return _composed(query, key, value, *given)


def _is_one_instruction(
    query: Any, key: Any, value: Any, bias: Any, mask: Any, scale: Any, *rest: Any
) -> bool:
    """Whether the core has it: heads of samples, a known bias, a scalar scale.

    Its lines have more than one number, as those of a single one lie otherwise.
    """
    if rest[-1] is not None or not (scale is None or is_number(scale)):
        return False
    if not all(_is_of_samples(x) for x in (query, key, value)):
        return False
    keys = shape_of(key)[1]
    if min(keys, shape_of(query)[3], shape_of(value)[3]) < 2:
        return False
    for x in (bias, mask):
        known = x is None or (isinstance(x, np.ndarray) and x.ndim == 4 and x.shape[0] == 1)
        if not known and (x is bias or not _is_of_samples(x)):
            return False
        if x is not None and shape_of(x)[3] != keys:
            return False
    return bias is None or mask is None


def _is_of_samples(x: Any) -> bool:
    """Whether it is a value per sample, of four axes."""
    return (
        isinstance(x, LoweredTensor)
        and x.rows_per_sample == 1
        and x.batch_axis == 0
        and len(x.shape) == 4
        and not x.value.shared
    )


def as_bias(program: Lowering, mask: Any) -> Value:
    """Bias of the scores for a mask: the lowest number where it hides.

    Args:
        mask: a value of each sample, or an array of four axes, the first of size 1.
    """
    if isinstance(mask, np.ndarray):
        return program.constant(np.where(mask[0], 0.0, _LOWEST).astype(np.float32))
    return program.map(apply("where", argument(0), 0.0, _LOWEST), [mask])


def _outline(query: Any, *_: Any) -> KerasTensor | None:
    """Symbolic tensor like a query of four axes, whose heads are compared at run time."""
    return query.like() if isinstance(query, KerasTensor) and query.ndim == 4 else None


@operation(_lower, shape=_shape, saved=Saved(by_name=("bias", "mask", "scale")), outline=_outline)
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
    """Scaled dot-product attention by head, softmax(query key^T * scale) value.

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
    return _composed(query, key, value, bias, mask, scale, is_causal, attn_logits_soft_cap)


def _composed(
    query: Any,
    key: Any,
    value: Any,
    bias: Any,
    mask: Any,
    scale: Any,
    is_causal: bool,
    soft_cap: Any,
) -> Any:
    (_, n, heads, width), (_, m, shared, _) = shape_of(query), shape_of(key)
    groups = heads // shared
    if groups > 1 and shared > 1:
        key, value = repeat(key, groups, axis=2), repeat(value, groups, axis=2)
    factor = 1.0 / math.sqrt(width) if scale is None else scale
    scores = multiply(matmul(transpose(query, (0, 2, 1, 3)), transpose(key, (0, 2, 3, 1))), factor)
    if bias is not None:
        scores = add(scores, bias)
    if soft_cap is not None:
        scores = multiply(tanh(divide(scores, soft_cap)), soft_cap)
    if is_causal:
        scores = where(np.tri(n, m, dtype=bool), scores, _LOWEST)
    if mask is not None:
        scores = where(mask, scores, _LOWEST)
    return transpose(matmul(softmax(scores), transpose(value, (0, 2, 1, 3))), (0, 2, 1, 3))


def _check(query: Any, key: Any, value: Any) -> None:
    """Check that the shapes go together; ValueError."""
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
