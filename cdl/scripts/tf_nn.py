"""`tf.nn`: convolutions, pooling, activations and losses with TensorFlow's arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cdl.scripts.tf_functions import function


def _per_axis(sizes: Any, axes: int, channels_first: bool) -> tuple[int, ...]:
    """Sizes or strides per spatial axis, from an int or a list with or without outer axes."""
    if not isinstance(sizes, (Sequence, np.ndarray)):
        return (int(sizes),) * axes
    given = [int(each) for each in sizes]
    if len(given) == axes + 2:
        given = given[2:] if channels_first else given[1:-1]
    return tuple(given * axes if len(given) == 1 else given)


def _order(data_format: str | None) -> tuple[bool, str]:
    first = data_format is not None and data_format.upper().startswith("NC")
    return first, "channels_first" if first else "channels_last"


def _padding(where: str, padding: Any) -> str:
    if not isinstance(padding, str):
        raise ValueError(f"{where}: padding must be 'SAME' or 'VALID', got {padding!r}")
    return padding.lower()


def _convolution(which: str, axes: int) -> Callable[..., Any]:
    """Wrap `ops.conv` or `ops.depthwise_conv` for a number of spatial axes."""

    def call(
        input: Any,
        filters: Any = None,
        strides: Any = 1,
        padding: Any = "VALID",
        data_format: str | None = None,
        dilations: Any = 1,
        name: Any = None,
        **older: Any,
    ) -> Any:
        """Convolution with TensorFlow's arguments."""
        filters = older.get("filter", filters)
        strides = older.get("stride", strides)
        first, order = _order(data_format)
        return function(which)(
            input,
            filters,
            _per_axis(strides, axes, first),
            _padding(which, padding),
            order,
            _per_axis(1 if dilations is None else dilations, axes, first),
        )

    return call


def _transposed(axes: int) -> Callable[..., Any]:
    """Wrap `ops.conv_transpose` for a number of spatial axes."""

    def call(
        input: Any,
        filters: Any,
        output_shape: Any,
        strides: Any,
        padding: Any = "SAME",
        data_format: str | None = None,
        dilations: Any = 1,
        name: Any = None,
    ) -> Any:
        """Transposed convolution with TensorFlow's arguments."""
        first, order = _order(data_format)
        steps, where = _per_axis(strides, axes, first), _padding("conv_transpose", padding)
        spread = _per_axis(1 if dilations is None else dilations, axes, first)
        outer = None
        sizes = [int(n) for n in output_shape]
        if len(sizes) == axes + 2:
            before, after = (
                tuple(each[2:] if first else each[1:-1]) for each in (np.shape(input), sizes)
            )
            reach = [(k - 1) * d + 1 for k, d in zip(np.shape(filters), spread, strict=False)]
            cut = [2 * (k // 2) if where == "same" else 0 for k in reach]
            outer = tuple(
                n - (m - 1) * s - k + c
                for n, m, s, k, c in zip(after, before, steps, reach, cut, strict=True)
            )
        return function("conv_transpose")(input, filters, steps, where, outer, order, spread)

    return call


def _batch_normalization(
    x: Any,
    mean: Any,
    variance: Any,
    offset: Any,
    scale: Any,
    variance_epsilon: float,
    name: Any = None,
) -> Any:
    """`tf.nn.batch_normalization`: ``(x - mean) / sqrt(variance + epsilon) * scale + offset``."""
    factor = function("rsqrt")(function("add")(variance, variance_epsilon))
    factor = factor if scale is None else factor * scale
    normal = function("multiply")(function("subtract")(x, mean), factor)
    return normal if offset is None else normal + offset


def _ctc_loss(
    labels: Any,
    logits: Any,
    label_length: Any,
    logit_length: Any,
    logits_time_major: bool = True,
    unique: Any = None,
    blank_index: int | None = None,
    name: Any = None,
) -> Any:
    """`tf.nn.ctc_loss` of labels that are a matrix."""
    logits = function("swapaxes")(logits, 0, 1) if logits_time_major else logits
    blank = (blank_index or 0) % int(np.shape(logits)[-1])
    return function("ctc_loss")(labels, logits, label_length, logit_length, blank)


def _average_loss(
    per_example_loss: Any, sample_weight: Any = None, global_batch_size: Any = None, **_: Any
) -> Any:
    """`tf.nn.compute_average_loss`: the sum of losses over the number of samples."""
    loss = per_example_loss if sample_weight is None else per_example_loss * sample_weight
    n = np.shape(loss)[0] if global_batch_size is None else global_batch_size
    return function("sum")(loss) / function("cast")(n, loss.dtype)


def _pooling(which: str, axes: int) -> Callable[..., Any]:
    def call(
        input: Any,
        ksize: Any,
        strides: Any = None,
        padding: Any = "VALID",
        data_format: str | None = None,
        name: Any = None,
    ) -> Any:
        """Pooling with TensorFlow's arguments."""
        first, order = _order(data_format)
        size = _per_axis(ksize, axes, first)
        steps = size if strides is None else _per_axis(strides, axes, first)
        return function(which)(input, size, steps, _padding(which, padding), order)

    return call


def _bias_add(value: Any, bias: Any, data_format: str | None = None, name: Any = None) -> Any:
    """`tf.nn.bias_add`: add a number to each channel."""
    if _order(data_format)[0]:
        bias = function("reshape")(bias, (-1, *(1,) * (len(value.shape) - 2)))
    return function("add")(value, bias)


def _dropout(
    x: Any, rate: float, noise_shape: Any = None, seed: Any = None, name: Any = None
) -> Any:
    """`tf.nn.dropout`: zero a random share `rate` of the elements, rescale the others."""
    from cdl import random
    from cdl.scripts.tensor import tensors

    return tensors(random.dropout(x, float(rate), noise_shape, seed))


def _leaky_relu(features: Any, alpha: float = 0.2, name: str | None = None) -> Any:
    """`tf.nn.leaky_relu`: x, or ``alpha * x`` where x is negative."""
    return function("leaky_relu")(features, alpha)


def _gelu(features: Any, approximate: bool = False, name: Any = None) -> Any:
    """`tf.nn.gelu`: exact by default, with tanh if `approximate`."""
    return function("gelu")(features, approximate)


def _l2_loss(t: Any, name: str | None = None) -> Any:
    """`tf.nn.l2_loss`: ``sum(t ** 2) / 2`` over all elements."""
    return function("sum")(function("square")(t)) / 2


def _sigmoid_crossentropy(labels: Any = None, logits: Any = None, name: Any = None) -> Any:
    """`tf.nn.sigmoid_cross_entropy_with_logits`: ``max(x, 0) - x z + log(1 + exp(-|x|))``."""
    rest = function("log1p")(function("exp")(-function("abs")(logits)))
    return function("relu")(logits) - logits * labels + rest


def _softmax_crossentropy(
    labels: Any = None, logits: Any = None, axis: int = -1, name: Any = None
) -> Any:
    """`tf.nn.softmax_cross_entropy_with_logits`: ``-sum(labels * log_softmax(logits))``."""
    return -function("sum")(labels * function("log_softmax")(logits, axis=axis), axis=axis)


def _sparse_crossentropy(labels: Any = None, logits: Any = None, name: Any = None) -> Any:
    """`tf.nn.sparse_softmax_cross_entropy_with_logits`: crossentropy of class indices."""
    return function("sparse_categorical_crossentropy")(labels, logits, from_logits=True)


NN: dict[str, Any] = {
    **{f"conv{axes}d": _convolution("conv", axes) for axes in (1, 2, 3)},
    **{f"conv{axes}d_transpose": _transposed(axes) for axes in (1, 2, 3)},
    "batch_normalization": _batch_normalization,
    "compute_average_loss": _average_loss,
    "ctc_loss": _ctc_loss,
    "depthwise_conv2d": _convolution("depthwise_conv", 2),
    **{f"max_pool{axes}d": _pooling("max_pool", axes) for axes in (1, 2, 3)},
    **{f"avg_pool{axes}d": _pooling("average_pool", axes) for axes in (1, 2, 3)},
    "max_pool": _pooling("max_pool", 2),
    "avg_pool": _pooling("average_pool", 2),
    "bias_add": _bias_add,
    "dropout": _dropout,
    "gelu": _gelu,
    "l2_loss": _l2_loss,
    "leaky_relu": _leaky_relu,
    "sigmoid_cross_entropy_with_logits": _sigmoid_crossentropy,
    "softmax_cross_entropy_with_logits": _softmax_crossentropy,
    "sparse_softmax_cross_entropy_with_logits": _sparse_crossentropy,
}
