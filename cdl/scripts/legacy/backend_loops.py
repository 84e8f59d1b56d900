"""Choices, convolutions and loops of Keras 2's `keras.backend`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from cdl import ops


def switch(condition: Any, then_expression: Any, else_expression: Any) -> Any:
    """One of two tensors, or of what two functions give; lines of a condition of lines."""
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
        """A convolution by a kernel that is given; `causal` for steps of time alone."""
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
    """A transposed convolution; its kernel tells the size of the result."""
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
    """`ops.separable_conv`."""
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
    """Pooling by "max" or "avg"; strides of 1 unless told otherwise."""
    pooled = ops.max_pool if pool_mode == "max" else ops.average_pool
    return pooled(x, pool_size, strides or 1, padding, data_format)


pool2d = pool3d = _pool


def map_fn(fn: Callable[[Any], Any], elems: Any, name: Any = None, dtype: Any = None) -> Any:
    """What a function gives for each row, stacked."""
    return ops.map(fn, elems)


def _folded(rows: Any, fn: Callable[[Any, Any], Any], initializer: Any) -> Any:
    rows = list(rows)
    total, rest = (rows[0], rows[1:]) if initializer is None else (initializer, rows)
    return functools.reduce(fn, rest, total)


def foldl(
    fn: Callable[[Any, Any], Any], elems: Any, initializer: Any = None, name: Any = None
) -> Any:
    """What a function of the result so far and a row gives in the end, from the first row on."""
    return _folded(elems, fn, initializer)


def foldr(
    fn: Callable[[Any, Any], Any], elems: Any, initializer: Any = None, name: Any = None
) -> Any:
    """`foldl` from the last row on."""
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
    """A step done for each step of time.

    Args:
        step_function: from an input and the states to an output and new states.
        inputs: of shape (samples, steps, ...), with a number of steps that is known.
        initial_states: of the first step.
        go_backwards: whether the last step comes first.
        mask: of shape (samples, steps): where it is false, states and output stay.
        constants: further states that each step sees.
        unroll: of no use here.
        input_length: of no use here.
        time_major: whether steps come before samples.
        zero_output_for_mask: whether the output is 0 where the mask is false.
        return_all_outputs: whether the outputs of all steps are given, or the last alone.

    Returns:
        The last output, the outputs along time, and the last states.
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
