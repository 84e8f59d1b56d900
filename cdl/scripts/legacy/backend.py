"""Functions of Keras 2's `keras.backend`, by those of `cdl.ops`.

They take arrays and symbolic tensors. Functions with the name and defaults of one of `cdl.ops` are
in `cdl.backend`.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cdl import Variable, config, ops, random
from cdl.scripts.legacy.backend_loops import (
    conv1d,
    conv2d,
    conv2d_transpose,
    conv3d,
    depthwise_conv2d,
    foldl,
    foldr,
    map_fn,
    pool2d,
    pool3d,
    rnn,
    separable_conv2d,
    switch,
)

__all__ = [
    "arange", "argmax", "argmin", "batch_dot", "batch_flatten", "batch_get_value",
    "batch_normalization", "batch_set_value", "bias_add", "binary_focal_crossentropy",
    "cast_to_floatx", "categorical_focal_crossentropy", "concatenate", "constant", "conv1d",
    "conv2d", "conv2d_transpose", "conv3d", "count_params", "ctc_batch_cost", "ctc_decode",
    "cumprod", "cumsum", "depthwise_conv2d", "dot", "dropout", "dtype", "elu", "eval",
    "expand_dims", "eye", "flatten", "foldl", "foldr", "gather", "in_top_k", "is_sparse",
    "l2_normalize", "learning_phase", "map_fn", "moving_average_update", "name_scope", "one_hot",
    "pool2d", "pool3d", "random_bernoulli", "random_normal", "random_normal_variable",
    "random_uniform", "random_uniform_variable", "relu", "repeat", "repeat_elements",
    "resize_images", "resize_volumes", "reverse", "rnn", "separable_conv2d", "shape",
    "spatial_2d_padding", "spatial_3d_padding", "switch", "temporal_padding", "to_dense",
    "transpose", "truncated_normal", "update", "update_add", "update_sub", "variable",
]  # fmt: skip


# --- values and variables ---


def variable(value: Any, dtype: Any = None, name: str | None = None, constraint: Any = None) -> Any:
    """Create a variable from an initial value."""
    return Variable(value, dtype=dtype or config.floatx(), name=name, constraint=constraint)


def constant(value: Any, dtype: Any = None, shape: Any = None, name: Any = None) -> Any:
    """Create an array from a value, broadcast or reshaped to `shape` if given."""
    found = ops.convert_to_tensor(value, dtype or config.floatx())
    if shape is None:
        return found
    return (ops.broadcast_to if np.size(found) == 1 else ops.reshape)(found, tuple(shape))


def eval(x: Any) -> Any:
    """Copy the values of an array or a variable."""
    return np.array(x)


def update(x: Any, new_x: Any) -> Any:
    """Assign a value to a variable."""
    return x.assign(new_x)


def update_add(x: Any, increment: Any) -> Any:
    """Add a value to a variable."""
    return x.assign_add(increment)


def update_sub(x: Any, decrement: Any) -> Any:
    """Subtract a value from a variable."""
    return x.assign_sub(decrement)


def moving_average_update(x: Any, value: Any, momentum: float) -> Any:
    """Update a moving average: ``x * momentum + value * (1 - momentum)``."""
    return x.assign(x * momentum + value * (1.0 - momentum))


def batch_get_value(tensors: Sequence[Any]) -> list[Any]:
    """Copy the values of several variables."""
    return [np.array(each) for each in tensors]


def batch_set_value(tuples: Sequence[tuple[Any, Any]]) -> None:
    """Assign values to several variables, from pairs (variable, value)."""
    for x, value in tuples:
        x.assign(np.asarray(value))


def count_params(x: Any) -> int:
    """The number of elements of an array or variable."""
    return int(np.prod(x.shape))


def dtype(x: Any) -> str:
    """The name of the dtype."""
    return str(x.dtype)


def cast_to_floatx(x: Any) -> Any:
    """Cast an array to the configured float dtype."""
    return ops.cast(x if hasattr(x, "shape") else np.asarray(x), config.floatx())


def is_sparse(tensor: Any) -> bool:
    """Whether a tensor is sparse: False, as cdl has no sparse tensors."""
    return False


def to_dense(tensor: Any) -> Any:
    """Return the tensor, which is dense already."""
    return tensor


def learning_phase() -> int:
    """The learning phase: 0 (inference), since layers take `training` as an argument."""
    return 0


def name_scope(name: str) -> Any:
    """A context whose name is part of the paths of layers and variables created in it."""
    from cdl import name_scope as scope

    return scope(name) if name else contextlib.nullcontext()


def shape(x: Any) -> Any:
    """The shape of a tensor."""
    return ops.shape(x)


# --- random numbers ---


def _drawn(draw: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(draw)
    def call(shape: Any, *args: Any, dtype: Any = None, seed: Any = None, **kwargs: Any) -> Any:
        return draw(shape, *args, dtype=dtype or config.floatx(), seed=seed, **kwargs)

    return call


random_normal = _drawn(random.normal)
random_uniform = _drawn(random.uniform)
truncated_normal = _drawn(random.truncated_normal)


def random_bernoulli(shape: Any, p: float = 0.0, dtype: Any = None, seed: Any = None) -> Any:
    """Random zeros and ones: 1 with probability p."""
    return ops.cast(random_uniform(shape, seed=seed) <= p, dtype or config.floatx())


def random_normal_variable(
    shape: Any, mean: float, scale: float, dtype: Any = None, name: Any = None, seed: Any = None
) -> Any:
    """Create a variable with normally distributed values."""
    return variable(random.normal(shape, mean, scale, seed=seed), dtype, name)


def random_uniform_variable(
    shape: Any, low: float, high: float, dtype: Any = None, name: Any = None, seed: Any = None
) -> Any:
    """Create a variable with uniformly distributed values."""
    return variable(random.uniform(shape, low, high, seed=seed), dtype, name)


def dropout(x: Any, level: float, noise_shape: Any = None, seed: Any = None) -> Any:
    """Zero a random share `level` of the elements, and rescale the others by 1 / (1 - level)."""
    return random.dropout(x, level, noise_shape, seed)


# --- functions whose defaults differ from those of cdl.ops ---


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = "int32") -> Any:
    """Evenly spaced numbers, int32 by default."""
    return ops.arange(start, stop, step, dtype)


def argmax(x: Any, axis: int | None = -1) -> Any:
    """The index of the largest value along an axis, by default the last."""
    return ops.argmax(x, axis)


def argmin(x: Any, axis: int | None = -1) -> Any:
    """The index of the smallest value along an axis, by default the last."""
    return ops.argmin(x, axis)


def concatenate(tensors: Any, axis: int = -1) -> Any:
    """Concatenate tensors along an axis, by default the last."""
    return ops.concatenate(tensors, axis)


def cumsum(x: Any, axis: int = 0) -> Any:
    """The cumulative sum along an axis, by default the first."""
    return ops.cumsum(x, axis)


def cumprod(x: Any, axis: int = 0) -> Any:
    """The cumulative product along an axis, by default the first."""
    return ops.cumprod(x, axis)


def expand_dims(x: Any, axis: int = -1) -> Any:
    """Insert an axis of size 1, by default the last."""
    return ops.expand_dims(x, axis)


def eye(size: Any, dtype: Any = None, name: Any = None) -> Any:
    """The identity matrix of a size n or (rows, columns)."""
    rows, columns = size if isinstance(size, (list, tuple)) else (size, size)
    return ops.eye(rows, columns, dtype=dtype or config.floatx())


def transpose(x: Any) -> Any:
    """The transpose: axes in reverse order."""
    return ops.transpose(x)


def one_hot(indices: Any, num_classes: int) -> Any:
    """One-hot vectors of class indices, along a new last axis."""
    return ops.one_hot(indices, num_classes)


def elu(x: Any, alpha: float = 1.0) -> Any:
    """The exponential linear unit: `ops.elu`."""
    return ops.elu(x, alpha)


def relu(x: Any, alpha: float = 0.0, max_value: Any = None, threshold: float = 0.0) -> Any:
    """The rectified linear unit: `activations.relu`."""
    from cdl import activations

    return activations.relu(x, alpha, max_value, threshold)


# --- shapes ---


def repeat(x: Any, n: int) -> Any:
    """Repeat rows (batch, features) n times, to (batch, n, features)."""
    return ops.repeat(ops.expand_dims(x, 1), n, axis=1)


def repeat_elements(x: Any, rep: int, axis: int) -> Any:
    """Repeat each slice along an axis `rep` times."""
    return ops.repeat(x, rep, axis=axis)


def reverse(x: Any, axes: Any) -> Any:
    """Reverse the order of elements along axes."""
    return ops.flip(x, tuple(axes) if isinstance(axes, list) else axes)


def flatten(x: Any) -> Any:
    """Flatten a tensor to one axis."""
    return ops.reshape(x, (-1,))


def batch_flatten(x: Any) -> Any:
    """Flatten each sample, to (samples, elements)."""
    return ops.reshape(x, (-1, int(np.prod(x.shape[1:]))))


def gather(reference: Any, indices: Any) -> Any:
    """Slices along the first axis by index."""
    return ops.take(reference, indices, axis=0)


def _padded(x: Any, widths: Any, data_format: str | None) -> Any:
    first = (data_format or config.image_data_format()) == "channels_first"
    around = [(0, 0), (0, 0), *widths] if first else [(0, 0), *widths, (0, 0)]
    return ops.pad(x, around)


def temporal_padding(x: Any, padding: Any = (1, 1)) -> Any:
    """Pad sequences with zeros before the first and after the last step."""
    return _padded(x, [tuple(padding)], "channels_last")


def spatial_2d_padding(x: Any, padding: Any = ((1, 1), (1, 1)), data_format: Any = None) -> Any:
    """Pad images with zeros."""
    return _padded(x, [tuple(each) for each in padding], data_format)


def spatial_3d_padding(
    x: Any, padding: Any = ((1, 1), (1, 1), (1, 1)), data_format: Any = None
) -> Any:
    """Pad volumes with zeros."""
    return _padded(x, [tuple(each) for each in padding], data_format)


def resize_images(
    x: Any, height_factor: int, width_factor: int, data_format: str, interpolation: str = "nearest"
) -> Any:
    """Enlarge images by integer factors."""
    rows, columns = x.shape[2:4] if data_format == "channels_first" else x.shape[1:3]
    size = (rows * height_factor, columns * width_factor)
    return ops.image.resize(x, size, interpolation, data_format=data_format)


def resize_volumes(
    x: Any, depth_factor: int, height_factor: int, width_factor: int, data_format: str
) -> Any:
    """Enlarge volumes by integer factors, repeating voxels."""
    start = 2 if data_format == "channels_first" else 1
    for axis, factor in enumerate((depth_factor, height_factor, width_factor), start):
        x = ops.repeat(x, factor, axis=axis)
    return x


# --- products ---


def dot(x: Any, y: Any) -> Any:
    """The dot product along the last axis of x and the second to last of y."""
    return ops.dot(x, y)


def batch_dot(x: Any, y: Any, axes: Any = None) -> Any:
    """The dot product of each sample of x with that of y, along one axis of each.

    Args:
        x: a tensor with two or more axes.
        y: a tensor with two or more axes.
        axes: the axis of x and the axis of y, or one number for both; by default the last of x
            and the second to last of y (the last if y has two axes).
    """
    rank, other = len(x.shape), len(y.shape)
    if axes is None:
        axes = (rank - 1, other - 1 if other == 2 else other - 2)
    first, second = (axes, axes) if isinstance(axes, int) else axes
    first, second = first % rank, second % other
    if x.shape[first] != y.shape[second] and None not in (x.shape[first], y.shape[second]):
        raise ValueError(
            f"batch_dot: axes must be of one size, got {first} of {tuple(x.shape)} and {second} of "
            f"{tuple(y.shape)}"
        )
    left = "b" + "ijklm"[: rank - 1]
    right = "b" + "nopqr"[: other - 1]
    right = right[:second] + left[first] + right[second + 1 :]
    kept = left.replace(left[first], "") + right[1:].replace(left[first], "")
    found = ops.einsum(f"{left},{right}->{kept}", x, y)
    return ops.expand_dims(found, 1) if len(kept) == 1 else found


def bias_add(x: Any, bias: Any, data_format: str | None = None) -> Any:
    """Add a bias to each sample, of shape (channels,) or of the shape of a sample."""
    first = (data_format or config.image_data_format()) == "channels_first"
    more = len(x.shape) - 2
    if len(bias.shape) == 1 and first:
        bias = ops.reshape(bias, (1, -1, *(1,) * more))
    elif len(bias.shape) > 1:
        sizes = tuple(bias.shape)
        bias = ops.reshape(bias, (1, sizes[-1], *sizes[:-1]) if first else (1, *sizes))
    return x + bias


def l2_normalize(x: Any, axis: Any = None) -> Any:
    """Scale to an L2 norm of 1 along an axis, or over all elements for None."""
    return ops.normalize(x, axis, 2, 1e-6)


def batch_normalization(
    x: Any, mean: Any, var: Any, beta: Any, gamma: Any, axis: int = -1, epsilon: float = 1e-3
) -> Any:
    """Normalize by given statistics: `ops.batch_normalization`."""
    return ops.batch_normalization(x, mean, var, axis, beta, gamma, epsilon)


def in_top_k(predictions: Any, targets: Any, k: int) -> Any:
    """Whether targets are among the k largest predictions."""
    return ops.in_top_k(targets, predictions, k)


# --- losses ---


def _focal(name: str) -> Callable[..., Any]:
    def call(target: Any, output: Any, *args: Any, **kwargs: Any) -> Any:
        """The focal crossentropy of each sample."""
        from cdl import losses

        return getattr(losses, name)(target, output, *args, **kwargs)

    return call


binary_focal_crossentropy = _focal("binary_focal_crossentropy")
categorical_focal_crossentropy = _focal("categorical_focal_crossentropy")


def ctc_batch_cost(y_true: Any, y_pred: Any, input_length: Any, label_length: Any) -> Any:
    """The CTC loss of each sample, in a column; the last class is the blank.

    Args:
        y_true: labels, of shape (samples, longest label).
        y_pred: probabilities, of shape (samples, steps, classes).
        input_length: steps of each sample, of shape (samples, 1).
        label_length: length of each label, of shape (samples, 1).
    """
    classes = y_pred.shape[-1]
    labels, steps = (
        ops.cast(ops.squeeze(each, -1), "int32") for each in (label_length, input_length)
    )
    scores = ops.log(y_pred + config.epsilon())
    found = ops.ctc_loss(ops.cast(y_true, "int32"), scores, labels, steps, mask_index=classes - 1)
    return ops.expand_dims(found, 1)


def ctc_decode(
    y_pred: Any, input_length: Any, greedy: bool = True, beam_width: int = 100, top_paths: int = 1
) -> Any:
    """The most probable label sequences, padded with -1, and their scores (`ops.ctc_decode`).

    Args:
        y_pred: probabilities, of shape (samples, steps, classes); the last class is the blank.
        input_length: steps of each sample.
        greedy: whether to take the most probable class of each step, instead of a beam search.
        beam_width: width of the beam search.
        top_paths: number of label sequences to return for each sample.
    """
    strategy = "greedy" if greedy else "beam_search"
    return ops.ctc_decode(
        ops.log(y_pred + config.epsilon()),
        ops.cast(input_length, "int32"),
        strategy,
        beam_width,
        top_paths,
        mask_index=y_pred.shape[-1] - 1,
    )
