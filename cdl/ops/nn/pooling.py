"""Max and average pooling over windows of images, channel by channel."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from numpy.typing import ArrayLike

from cdl._common.shared_arguments import described_by
from cdl._common.validation import one_of, per_axis
from cdl._ir import windows
from cdl._ir.emit import reshape
from cdl._ir.lowering import Lowering
from cdl._ir.program import Value
from cdl._ir.windows import Window
from cdl._tracing.keras_tensor import KerasTensor
from cdl._tracing.operation import operation
from cdl.config import standardize_data_format
from cdl.ops.arrays import Ints
from cdl.ops.nn.convolution import axes_of_images, on_images, run_on_images, spec_of, symbolic

Pool = Callable[[Any, Any, int], Any]  # of a program, a value (n, columns), and the axis it is of


def _samples_first(inputs: Any, *_: Any) -> str:
    if getattr(inputs, "rows_per_sample", 0) and inputs.batch_axis:
        return "its samples must be along its first axis: use cdl.ops.moveaxis"
    return ""


def _by_axis(program: Lowering, x: Value, axes: int, pool: Pool) -> Value:
    """Pooling axis by axis, of values whose images have an axis in front of theirs."""
    for axis in range(axes):
        before, n, behind = x.shape[: axis + 1], x.shape[axis + 1], x.shape[axis + 2 :]
        y = pool(program, reshape(program, x, (prod(before), n, prod(behind))), axis)
        x = reshape(program, y, (*before, y.shape[1], *behind))
    return x


# --- windows of one size ---


def _prepared(name: str) -> Callable[..., tuple[Any, ...]]:
    """Arguments of a pooling with dependent defaults resolved."""

    def prepare(
        inputs: Any, pool_size: Ints, strides: Ints, padding: str, data_format: str
    ) -> tuple[Any, ...]:
        lower = padding.lower() if isinstance(padding, str) else padding
        padding = one_of(name, "padding", lower, ("valid", "same"))
        return inputs, pool_size, strides, padding, standardize_data_format(data_format, name)

    return prepare


def _window(name: str, inputs: ArrayLike, pool_size: Ints, strides: Ints, padding: str) -> Window:
    """Window, with a number for each axis of the images."""
    axes = axes_of_images(name, inputs)
    size = per_axis(name, "pool_size", pool_size, axes)
    steps = size if strides is None else per_axis(name, "strides", strides, axes)
    return Window(size, steps, (1,) * axes, padding)


def _shape(name: str) -> Callable[..., tuple[Any, ...]]:
    def shape(
        inputs: Any, size: Ints, strides: Ints, padding: str, data_format: str
    ) -> tuple[Any, ...]:
        window = _window(name, inputs, size, strides, padding)
        return spec_of(name, inputs, data_format, window.map)

    return shape


def _lowered(name: str, kind: str) -> Callable[..., Value]:
    def lower(
        program: Lowering,
        spec: KerasTensor,
        inputs: Any,
        pool_size: Ints,
        strides: Ints,
        padding: str,
        data_format: str,
    ) -> Value:
        window = _window(name, inputs, pool_size, strides, padding)

        def along(program: Lowering, x: Value, axis: int) -> Value:
            one = Window((1, window.size[axis]), (1, window.stride[axis]), (1, 1), padding)
            return windows.pool(program, kind, x, one)

        def emit(x: Value) -> Value:
            if len(x.shape) == len(window.size) + 1:
                return windows.pool(program, kind, x, window)
            return _by_axis(program, x, len(window.size), along)

        return on_images(program, inputs, data_format, emit)

    return lower


def _pooled(
    name: str,
    kind: str,
    inputs: ArrayLike,
    size: Ints,
    strides: Ints,
    padding: str,
    data_format: Any,
) -> Any:
    shape = _shape(name)(inputs, size, strides, padding, data_format)
    window = _window(name, inputs, size, strides, padding)
    return run_on_images(inputs, shape, data_format, lambda p, x: windows.pool(p, kind, x, window))


@operation(
    _lowered("max_pool", "max"),
    prepare=_prepared("max_pool"),
    untraced=_samples_first,
    shape=lambda inputs, *rest: symbolic(inputs, _shape("max_pool")(inputs, *rest)),
)
def max_pool(
    inputs: ArrayLike,
    pool_size: Ints,
    strides: Any = None,
    padding: str = "valid",
    data_format: str | None = None,
) -> Any:
    """Max pooling of each channel over windows.

    Args:
        inputs: images of shape (n, sizes..., channels), or (n, channels, sizes...).
        pool_size: the size of the window, an int or one for each axis.
        strides: how far apart windows are, likewise; None for `pool_size`.
        padding: "valid" or "same".
        data_format: "channels_last" or "channels_first"; None is the configured one.
    """
    return _pooled("max_pool", "max", inputs, pool_size, strides, padding, data_format)


@operation(
    _lowered("average_pool", "mean"),
    prepare=_prepared("average_pool"),
    untraced=_samples_first,
    shape=lambda inputs, *rest: symbolic(inputs, _shape("average_pool")(inputs, *rest)),
)
@described_by(max_pool)
def average_pool(
    inputs: ArrayLike,
    pool_size: Ints,
    strides: Any = None,
    padding: str = "valid",
    data_format: str | None = None,
) -> Any:
    """Average pooling of each channel over windows, of places within the image."""
    return _pooled("average_pool", "mean", inputs, pool_size, strides, padding, data_format)


# --- windows that share the image ---


def _sized(name: str) -> Callable[..., tuple[Any, ...]]:
    def prepare(inputs: Any, output_size: Ints, data_format: str) -> tuple[Any, ...]:
        return inputs, output_size, standardize_data_format(data_format, name)

    return prepare


def _sizes(name: str, inputs: ArrayLike, output_size: Ints) -> tuple[int, ...]:
    return per_axis(name, "output_size", output_size, axes_of_images(name, inputs))


def _sized_shape(name: str) -> Callable[..., tuple[Any, ...]]:
    def shape(inputs: Any, output_size: Ints, data_format: str) -> tuple[Any, ...]:
        size = _sizes(name, inputs, output_size)
        return spec_of(name, inputs, data_format, lambda _: size)

    return shape


def _lowered_to(name: str, kind: str) -> Callable[..., Value]:
    def lower(
        program: Lowering, spec: KerasTensor, inputs: Any, output_size: Ints, data_format: str
    ) -> Value:
        size = _sizes(name, inputs, output_size)

        def along(program: Lowering, x: Value, axis: int) -> Value:
            return windows.adaptive_pool(program, kind, x, (x.shape[0], size[axis]))

        def emit(x: Value) -> Value:
            if len(x.shape) == len(size) + 1:
                return windows.adaptive_pool(program, kind, x, size)
            return _by_axis(program, x, len(size), along)

        return on_images(program, inputs, data_format, emit)

    return lower


def _pooled_to(name: str, kind: str, inputs: ArrayLike, output_size: Ints, data_format: Any) -> Any:
    shape = _sized_shape(name)(inputs, output_size, data_format)
    size = _sizes(name, inputs, output_size)
    return run_on_images(
        inputs, shape, data_format, lambda p, x: windows.adaptive_pool(p, kind, x, size)
    )


@operation(
    _lowered_to("adaptive_max_pool", "max"),
    prepare=_sized("adaptive_max_pool"),
    untraced=_samples_first,
    shape=lambda inputs, *rest: symbolic(inputs, _sized_shape("adaptive_max_pool")(inputs, *rest)),
)
@described_by(max_pool)
def adaptive_max_pool(inputs: ArrayLike, output_size: Ints, data_format: str | None = None) -> Any:
    """Adaptive max pooling: windows divide the image into a given number of places.

    Args:
        output_size: how many windows there are along an axis, an int or one for each axis.
    """
    return _pooled_to("adaptive_max_pool", "max", inputs, output_size, data_format)


@operation(
    _lowered_to("adaptive_average_pool", "mean"),
    prepare=_sized("adaptive_average_pool"),
    untraced=_samples_first,
    shape=lambda inputs, *rest: symbolic(
        inputs, _sized_shape("adaptive_average_pool")(inputs, *rest)
    ),
)
@described_by(max_pool, adaptive_max_pool)
def adaptive_average_pool(
    inputs: ArrayLike, output_size: Ints, data_format: str | None = None
) -> Any:
    """Adaptive average pooling: windows divide the image into a given number of places."""
    return _pooled_to("adaptive_average_pool", "mean", inputs, output_size, data_format)
