"""Fake quantization: rounding to a grid between two trainable bounds, with gradients."""

from __future__ import annotations

from typing import Any

from cdl import ops


def fake_quant_with_min_max_vars(
    inputs: Any,
    min_vals: Any,
    max_vals: Any,
    num_bits: int = 8,
    narrow_range: bool = False,
    axis: int | None = None,
) -> Any:
    """Fake quantization: clip to a range, and round to one of ``2**num_bits`` steps.

    The range is moved by less than a step, so that 0 is one of them. Gradients go to the inputs
    within it, and to the end that the others are cut to.

    Args:
        inputs: a tensor of floats.
        min_vals: where the range begins: a number, or a tensor of one or, with `axis`, one for each
            place on it.
        max_vals: where it ends.
        num_bits: of the integers that stand for the steps.
        narrow_range: whether there is one step less, as for integers that begin at 1.
        axis: the axis whose places have ranges of their own; None: all have one.

    Returns:
        A tensor of the shape and dtype of `inputs`.

    Raises:
        ValueError: `inputs` has no such axis.
    """
    x, least, most = (ops.convert_to_tensor(each) for each in (inputs, min_vals, max_vals))
    dtype, shape = x.dtype, [1] * len(x.shape)
    if axis is not None:
        if not -len(shape) <= axis < len(shape):
            raise ValueError(
                "fake_quant_with_min_max_vars: axis must be one of the "
                f"{len(shape)} axes of inputs, got {axis}"
            )
        shape[axis] = -1
    x, least, most = (ops.cast(each, "float32") for each in (x, least, most))
    least, most = ops.reshape(least, shape), ops.reshape(most, shape)
    first, last = int(narrow_range), (1 << int(num_bits)) - 1
    scale = ops.divide(most - least, float(last - first))
    per_unit = ops.divide(float(last - first), most - least)
    zero = ops.round(ops.clip(first - ops.divide(least, scale), first, last))
    low, high = (first - zero) * scale, (last - zero) * scale
    steps = (ops.clip(x, low, high) - low) * per_unit - ops.floor(-low * per_unit + 0.5)
    found = ops.floor(steps + 0.5) * scale
    # Adds 0, whose gradients are those of what each number has been cut to.
    inside = ops.logical_and(ops.greater_equal(x, low), ops.less_equal(x, high))
    cut = ops.where(inside, x, 0.0)
    cut = cut + ops.where(ops.less_equal(x, low), least, 0.0)
    cut = cut + ops.where(ops.greater_equal(x, high), most, 0.0)
    found = ops.stop_gradient(found) + (cut - ops.stop_gradient(cut))
    return ops.cast(found, dtype)
