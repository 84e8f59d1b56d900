"""Convolutions over one to three axes.

In compiled code a kernel that is a weight of a layer, or an array, is an instruction of the core,
as in the layers; one that is computed is taken apart tap by tap (cdl/_ir/taps.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from cdl._common.shared_arguments import described_by
from cdl._common.validation import one_of, per_axis
from cdl._ir import taps, windows
from cdl._ir.lowering import Lowering
from cdl._ir.program import Value
from cdl._ir.windows import Transposed, Window, with_channels_last
from cdl._tracing import eager
from cdl._tracing.keras_tensor import KerasTensor
from cdl._tracing.operation import operation
from cdl._tracing.variable import Variable
from cdl.config import standardize_data_format
from cdl.ops.arrays import Ints, real, shape_of
from cdl.ops.lowering import value_of

Emit = Callable[[Any, Any, Any], Any]  # of a program, an image and a kernel
F = TypeVar("F", bound=Callable[..., Any])


class _Kind(NamedTuple):
    """Convolution of given arguments: the shape of its result, and its lowering.

    Attributes:
        shape: of the result, batch axis included.
        data_format: of the images.
        matrix: whether a weight of it is kept as a matrix.
        at_once: emits the one instruction that reads a weight.
        by_taps: emits what a kernel needs that is a value of the program.
    """

    shape: tuple[Any, ...]
    data_format: str
    matrix: bool
    at_once: Emit
    by_taps: Emit


# --- arguments ---


def axes_of_images(name: str, inputs: ArrayLike) -> int:
    """Number of axes of a batch's images: 1 to 3.

    Raises:
        ValueError: inputs of another rank.
    """
    shape = shape_of(inputs)
    if not 3 <= len(shape) <= 5:
        raise ValueError(f"{name}: inputs must have 3 to 5 axes, got shape {shape}")
    return len(shape) - 2


def _padding(name: str, padding: str) -> str:
    lower = padding.lower() if isinstance(padding, str) else padding
    return str(one_of(name, "padding", lower, ("valid", "same")))


def _prepared(name: str) -> Callable[..., tuple[Any, ...]]:
    """Arguments of a convolution with dependent defaults resolved."""

    def prepare(
        inputs: Any, kernel: Any, strides: Ints, padding: str, *rest: Any
    ) -> tuple[Any, ...]:
        *others, data_format, dilation_rate = rest
        form = standardize_data_format(data_format, name)
        return inputs, kernel, strides, _padding(name, padding), *others, form, dilation_rate

    return prepare


def _window(
    name: str, kernel: ArrayLike, strides: Ints, padding: str, dilation_rate: Ints
) -> Window:
    """Window of a kernel, with a number for each axis of the images."""
    size = shape_of(kernel)[:-2]
    return Window(
        size,
        per_axis(name, "strides", strides, len(size)),
        per_axis(name, "dilation_rate", dilation_rate, len(size)),
        padding,
    )


def _samples_first(inputs: Any, *rest: Any) -> str:
    """Reason why a symbolic image cannot be convolved; "" if it can."""
    if getattr(inputs, "rows_per_sample", 0) and inputs.batch_axis:
        return "its samples must be along its first axis: use cdl.ops.moveaxis"
    if any(getattr(each, "rows_per_sample", 0) for each in rest):
        return "its kernel must be the same for all samples"
    return ""


def _channels(
    name: str, inputs: ArrayLike, kernel: ArrayLike, data_format: str, axis: int = -2
) -> int:
    """Number of channels of the images, checked against the kernel."""
    shape, of_kernel = shape_of(inputs), shape_of(kernel)
    axes_of_images(name, inputs)
    if len(of_kernel) != len(shape):
        raise ValueError(
            f"{name}: kernel must have as many axes as inputs, got shape {of_kernel} for inputs "
            f"of shape {shape}"
        )
    channels = shape[-1] if data_format == "channels_last" else shape[1]
    if channels is None:  # only a batch tells
        channels = of_kernel[axis]
    if name == "conv":
        fits = channels % of_kernel[axis] == 0
        fits = fits and of_kernel[-1] % (channels // of_kernel[axis]) == 0
    else:
        fits = channels == of_kernel[axis]
    if not fits:
        raise ValueError(
            f"{name}: input channels must match the kernel, got shape {of_kernel} for inputs "
            f"of shape {shape} with data_format={data_format!r}"
        )
    return int(channels)


def spec_of(
    name: str,
    inputs: ArrayLike,
    data_format: str,
    sizes: Callable[[Any], Any],
    channels: int | None = None,
) -> tuple[Any, ...]:
    """Shape of the images' result, with sizes by `sizes`.

    Args:
        name: of the function, for errors.
        inputs: of any kind.
        data_format: theirs.
        sizes: from the sizes of the images to those of the results.
        channels: how many the results have; None for as many as the inputs.

    Raises:
        ValueError: nothing would be left.
    """
    shape = tuple(inputs.shape) if hasattr(inputs, "shape") else np.shape(inputs)
    last = data_format == "channels_last"
    new = sizes(shape[1:-1] if last else shape[2:])
    if any(n is not None and n < 1 for n in new):
        raise ValueError(
            f"{name}: windows must fit into inputs, got sizes {tuple(new)} of the result for "
            f"inputs of shape {shape}"
        )
    n_channels = shape[-1 if last else 1] if channels is None else channels
    return (shape[0], *new, n_channels) if last else (shape[0], n_channels, *new)


def symbolic(inputs: ArrayLike, shape: tuple[Any, ...]) -> KerasTensor:
    """Symbolic result with the batch axis of the inputs."""
    if isinstance(inputs, KerasTensor):
        return inputs.like(shape, "float32")
    return KerasTensor(shape, rows_per_sample=0)


# --- values ---


def on_images(program: Lowering, inputs: ArrayLike, data_format: str, emit: Any) -> Value:
    """Result of `emit` for images with channels last, in their data format."""
    leading = int(getattr(inputs, "rows_per_sample", 0) != 1)
    return with_channels_last(program, value_of(program, inputs), data_format, emit, leading)


def _convolved(program: Any, inputs: ArrayLike, kernel: ArrayLike, kind: _Kind) -> Value:
    """Append one instruction for a weight in its layout, or an array; else tap by tap."""
    weight: Variable | None = getattr(kernel, "variable", None)
    if isinstance(kernel, np.ndarray):
        weight = frozen(kernel, kind.matrix)
    whole = getattr(inputs, "rows_per_sample", 0) == 1 and weight is not None
    if whole and weight.storage.matrix == kind.matrix and not program.is_assigned(weight):  # type: ignore[union-attr]

        def emit(x: Value) -> Value:
            return kind.at_once(program, x, weight)  # type: ignore[no-any-return]

    else:
        factor = value_of(program, kernel)

        def emit(x: Value) -> Value:
            return kind.by_taps(program, x, factor)  # type: ignore[no-any-return]

    return on_images(program, inputs, kind.data_format, emit)


def _on_arrays(inputs: ArrayLike, kernel: ArrayLike, kind: _Kind) -> Any:
    """Convolution of arrays by an array, at once."""
    weight = frozen(kernel, kind.matrix)

    def emit(program: Lowering, x: Value) -> Any:
        return kind.at_once(program, x, weight)

    return run_on_images(inputs, kind.shape, kind.data_format, emit)


def _convolution(name: str, kind_of: Callable[..., _Kind]) -> Callable[[F], F]:
    """Decorator of a convolution, by its kind for the arguments of a call."""

    def lower(
        program: Lowering, spec: KerasTensor, inputs: ArrayLike, kernel: ArrayLike, *rest: Any
    ) -> Value:
        return _convolved(program, inputs, kernel, kind_of(inputs, kernel, *rest))

    return operation(
        lower,
        prepare=_prepared(name),
        untraced=lambda inputs, kernel, *_: _samples_first(inputs, kernel),
        shape=lambda inputs, *rest: symbolic(inputs, kind_of(inputs, *rest).shape),
    )


def frozen(kernel: ArrayLike, matrix: bool) -> Variable:
    """Numbers as a weight that does not train."""
    array = real(kernel)
    return Variable(array.shape, lambda _: array, name="constant", trainable=False, matrix=matrix)


def run_on_images(inputs: ArrayLike, shape: tuple[Any, ...], data_format: str, emit: Any) -> Any:
    """Result of `emit` for arrays of images with channels last, at once."""
    x = real(inputs)
    if 0 in shape or x.size == 0:
        return np.zeros(shape, np.float32)
    program = Lowering()
    value = program.input(x.shape[1:])
    program.output(with_channels_last(program, value, data_format, lambda v: emit(program, v)))
    return eager.run(program, [x])


# --- the functions ---


def _conv(
    inputs: ArrayLike,
    kernel: ArrayLike,
    strides: Ints,
    padding: str,
    data_format: str,
    dilation_rate: Ints,
) -> _Kind:
    groups = _channels("conv", inputs, kernel, data_format) // shape_of(kernel)[-2]
    window = _window("conv", kernel, strides, padding, dilation_rate)
    return _Kind(
        spec_of("conv", inputs, data_format, window.map, shape_of(kernel)[-1]),
        data_format,
        True,
        lambda p, x, weight: windows.conv(p, x, weight, None, window, groups),
        lambda p, x, value: taps.conv(p, x, value, window),
    )


@_convolution("conv", _conv)
def conv(
    inputs: ArrayLike,
    kernel: ArrayLike,
    strides: Ints = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Ints = 1,
) -> Any:
    """Convolution over one to three axes, as of `layers.Conv2D` without bias and activation.

    Args:
        inputs: images of shape (n, sizes..., channels), or (n, channels, sizes...).
        kernel: of shape (window..., channels / groups, filters).
        strides: how far apart windows are, an int or one for each axis.
        padding: "valid" or "same".
        data_format: "channels_last" or "channels_first"; None is the configured one.
        dilation_rate: how far apart the numbers are that a window sees, as `strides`.
    """
    kind = _conv(inputs, kernel, strides, padding, str(data_format), dilation_rate)
    return _on_arrays(inputs, kernel, kind)


def _conv_transpose(
    inputs: ArrayLike,
    kernel: ArrayLike,
    strides: Ints,
    padding: str,
    output_padding: Any,
    data_format: str,
    dilation_rate: Ints,
) -> _Kind:
    name = "conv_transpose"
    _channels(name, inputs, kernel, data_format, -1)
    window = _window(name, kernel, strides, padding, dilation_rate)
    if output_padding is not None:
        output_padding = per_axis(name, "output_padding", output_padding, len(window.size), least=0)
    transposed = Transposed(window, output_padding)
    return _Kind(
        spec_of(name, inputs, data_format, transposed.map, shape_of(kernel)[-2]),
        data_format,
        True,
        lambda p, x, weight: windows.conv_transpose(p, x, weight, None, transposed),
        lambda p, x, value: taps.conv_transpose(p, x, value, transposed),
    )


@_convolution("conv_transpose", _conv_transpose)
@described_by(conv)
def conv_transpose(
    inputs: ArrayLike,
    kernel: ArrayLike,
    strides: Ints = 1,
    padding: str = "valid",
    output_padding: Any = None,
    data_format: str | None = None,
    dilation_rate: Ints = 1,
) -> Any:
    """Transposed convolution, as of `layers.Conv2DTranspose` without bias and activation.

    Args:
        kernel: of shape (window..., filters, channels).
        strides: how far apart the windows of neighbouring numbers are.
        output_padding: how much is added to each size; None for the sizes of the layer.
    """
    rest = (strides, padding, output_padding, str(data_format), dilation_rate)
    return _on_arrays(inputs, kernel, _conv_transpose(inputs, kernel, *rest))


def _depthwise_conv(
    inputs: ArrayLike,
    kernel: ArrayLike,
    strides: Ints,
    padding: str,
    data_format: str,
    dilation_rate: Ints,
) -> _Kind:
    filters = _channels("depthwise_conv", inputs, kernel, data_format) * shape_of(kernel)[-1]
    window = _window("depthwise_conv", kernel, strides, padding, dilation_rate)
    return _Kind(
        spec_of("depthwise_conv", inputs, data_format, window.map, filters),
        data_format,
        False,
        lambda p, x, weight: windows.depthwise_conv(p, x, weight, None, window),
        lambda p, x, value: taps.depthwise_conv(p, x, value, window),
    )


@_convolution("depthwise_conv", _depthwise_conv)
@described_by(conv)
def depthwise_conv(
    inputs: ArrayLike,
    kernel: ArrayLike,
    strides: Ints = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Ints = 1,
) -> Any:
    """Depthwise convolution of each channel by itself, as of `layers.DepthwiseConv2D`.

    Args:
        kernel: of shape (window..., channels, multiplier).
    """
    kind = _depthwise_conv(inputs, kernel, strides, padding, str(data_format), dilation_rate)
    return _on_arrays(inputs, kernel, kind)


@operation()
@described_by(conv)
def separable_conv(
    inputs: ArrayLike,
    depthwise_kernel: Any,
    pointwise_kernel: Any,
    strides: Ints = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Ints = 1,
) -> Any:
    """Depthwise separable convolution: `depthwise_conv`, then `conv` with a window of one place.

    Args:
        depthwise_kernel: of shape (window..., channels, multiplier).
        pointwise_kernel: of shape (1..., channels * multiplier, filters).
        strides: as of `conv`, of the first.
        dilation_rate: as of `conv`, of the first.
    """
    y = depthwise_conv(inputs, depthwise_kernel, strides, padding, data_format, dilation_rate)
    return conv(y, pointwise_kernel, data_format=data_format)
