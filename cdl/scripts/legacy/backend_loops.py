"""Conditionals, convolutions, pooling and loops of Keras 2's `keras.backend`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from cdl import ops


def switch(condition: Any, then_expression: Any, else_expression: Any) -> Any:
    """Select by a condition from two tensors, or from the results of two functions.

    A condition with fewer axes than the tensors selects whole rows.
    """
    then, other = (
        each() if callable(each) else each for each in (then_expression, else_expression)
    )
    more = len(np.shape(then) if not hasattr(then, "shape") else then.shape)
    while 0 < len(condition.shape) < more:
        condition = ops.expand_dims(condition, -1)
    return ops.where(ops.cast(condition, "bool"), then, other)


def _convolution(name: str) -> Callable[..., Any]:
    function: Callable[..., Any] = getattr(ops, name)

    def call(
        x: Any,
        kernel: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: Any = None,
        dilation_rate: Any = 1,
    ) -> Any:
        """Convolution with a given kernel; "causal" padding for sequences only."""
        if padding == "causal":
            x = ops.pad(x, [(0, 0), (dilation_rate * (kernel.shape[0] - 1), 0), (0, 0)])
            padding = "valid"
        return function(x, kernel, strides, padding, data_format, dilation_rate)

    return call


conv1d = conv2d = conv3d = _convolution("conv")
depthwise_conv2d = _convolution("depthwise_conv")


def conv2d_transpose(
    x: Any,
    kernel: Any,
    output_shape: Any,
    strides: Any = (1, 1),
    padding: str = "valid",
    data_format: Any = None,
    dilation_rate: Any = (1, 1),
) -> Any:
    """Transposed convolution; the output size follows from kernel, strides and padding."""
    return ops.conv_transpose(
        x, kernel, strides, padding, data_format=data_format, dilation_rate=dilation_rate
    )


def separable_conv2d(
    x: Any,
    depthwise_kernel: Any,
    pointwise_kernel: Any,
    strides: Any = (1, 1),
    padding: str = "valid",
    data_format: Any = None,
    dilation_rate: Any = (1, 1),
) -> Any:
    """Depthwise then pointwise convolution: `ops.separable_conv`."""
    kernels = (depthwise_kernel, pointwise_kernel)
    return ops.separable_conv(x, *kernels, strides, padding, data_format, dilation_rate)


def _pool(
    x: Any,
    pool_size: Any,
    strides: Any = None,
    padding: str = "valid",
    data_format: Any = None,
    pool_mode: str = "max",
) -> Any:
    """Max or average pooling, with strides of 1 by default."""
    pooled = ops.max_pool if pool_mode == "max" else ops.average_pool
    return pooled(x, pool_size, strides or 1, padding, data_format)


pool2d = pool3d = _pool


def map_fn(fn: Callable[[Any], Any], elems: Any, name: Any = None, dtype: Any = None) -> Any:
    """Stack the results of a function of each row."""
    return ops.map(fn, elems)


def _folded(rows: Any, fn: Callable[[Any, Any], Any], initializer: Any) -> Any:
    rows = list(rows)
    total, rest = (rows[0], rows[1:]) if initializer is None else (initializer, rows)
    return functools.reduce(fn, rest, total)


def foldl(
    fn: Callable[[Any, Any], Any], elems: Any, initializer: Any = None, name: Any = None
) -> Any:
    """Fold rows from first to last: ``state = fn(state, row)``."""
    return _folded(elems, fn, initializer)


def foldr(
    fn: Callable[[Any, Any], Any], elems: Any, initializer: Any = None, name: Any = None
) -> Any:
    """Fold rows from last to first: ``state = fn(state, row)``."""
    return _folded(list(elems)[::-1], fn, initializer)


def rnn(
    step_function: Callable[[Any, Any], tuple[Any, Any]],
    inputs: Any,
    initial_states: Any,
    go_backwards: bool = False,
    mask: Any = None,
    constants: Any = None,
    unroll: bool = False,
    input_length: int | None = None,
    time_major: bool = False,
    zero_output_for_mask: bool = False,
    return_all_outputs: bool = True,
) -> tuple[Any, Any, list[Any]]:
    """Iterate a step function over the time axis.

    Args:
        step_function: a function from (input, states) to (output, new states).
        inputs: a tensor of shape (samples, steps, ...) with a known number of steps.
        initial_states: the states before the first step.
        go_backwards: whether to iterate from the last step to the first.
        mask: bools of shape (samples, steps); False keeps states and output.
        constants: tensors appended to the states of each step.
        unroll: without effect.
        input_length: without effect.
        time_major: whether inputs have shape (steps, samples, ...).
        zero_output_for_mask: whether the output of masked steps is 0.
        return_all_outputs: whether to return the outputs of all steps, or only the last.

    Returns:
        The last output, the outputs along the time axis, and the last states.
    """
    axis = 0 if time_major else 1
    if inputs.shape[axis] is None:
        raise ValueError(f"rnn: inputs must have a known number of steps, got {inputs.shape}")
    steps = ops.unstack(inputs, inputs.shape[axis], axis)
    marks = [None] * len(steps) if mask is None else ops.unstack(mask, len(steps), axis)
    order = range(len(steps))[::-1] if go_backwards else range(len(steps))
    states, outputs = list(initial_states), list[Any]()
    for i in order:
        output, new_states = step_function(steps[i], states + list(constants or []))
        if marks[i] is not None:
            keep = outputs[-1] if outputs and not zero_output_for_mask else ops.zeros_like(output)
            output = switch(marks[i], output, keep)
            pairs = zip(new_states, states, strict=False)
            new_states = [switch(marks[i], new, old) for new, old in pairs]
        states = list(new_states)
        outputs.append(output)
    given = outputs if return_all_outputs else outputs[-1:]
    return outputs[-1], ops.stack(given, axis), states
