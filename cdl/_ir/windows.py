"""Sliding windows over images (convolution, pooling) and their instructions.

An image is a value of shape (sizes..., columns), and so is the map, whose places each have a
window. Where the windows lie is as in Keras.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from cdl._ir.emit import biased, permute, pick

if TYPE_CHECKING:
    from cdl._ir.instruction import Value
    from cdl._ir.lowering import Lowering
    from cdl._ir.program import Program
    from cdl._tracing.variable import Variable

Sizes = tuple[int, ...]
OpenSizes = tuple[int | None, ...]  # None for a size that is not known


class Window(NamedTuple):
    """Sliding window: size, stride, dilation and padding of each axis.

    Attributes:
        size: how many places of the image it sees, its taps.
        stride: how far apart the windows of neighbouring places are.
        dilation: how far apart the taps are.
        padding: "valid": all windows lie within the image; "same": there are size / stride of
            them, rounded up, which see as many zeros behind the image as before it or one more;
            "causal": likewise, and none sees what is behind its place.
    """

    size: Sizes
    stride: Sizes
    dilation: Sizes
    padding: str = "valid"

    def reach(self) -> Sizes:
        """Extent of the window from its first to its last tap."""
        return tuple((n - 1) * r + 1 for n, r in zip(self.size, self.dilation, strict=True))

    def map(self, image: Sequence[int | None]) -> OpenSizes:
        """Sizes of an image's map; below 1 where no window lies within it."""
        if self.padding != "valid":
            return each_known(lambda n, stride: -(-n // stride), image, self.stride)
        return each_known(lambda n, ke, s: (n - ke) // s + 1, image, self.reach(), self.stride)

    def before(self, image: Sequence[int]) -> Sizes:
        """Padding before the image."""
        if self.padding == "valid":
            return (0,) * len(image)
        if self.padding == "causal":
            return tuple(ke - 1 for ke in self.reach())
        axes = zip(image, self.reach(), self.stride, strict=True)
        return tuple(max((-(-n // s) - 1) * s + ke - n, 0) // 2 for n, ke, s in axes)

    def numbers(self, before: Sequence[int]) -> list[int]:
        """Numbers of an instruction for the window."""
        axes = zip(self.size, self.stride, self.dilation, before, strict=True)
        return [number for axis in axes for number in axis]

    @staticmethod
    def of_numbers(numbers: Sequence[int]) -> tuple[Window, Sizes]:
        """Window of an instruction with such numbers, and the padding before the image."""
        size, stride, dilation, before = (tuple(numbers[k::4]) for k in range(4))
        return Window(size, stride, dilation), before


class Transposed(NamedTuple):
    """Window of a transposed convolution.

    Attributes:
        window: how the places that it is given to would see the image.
        output_padding: how much larger than it must be the result is along each axis; None for
            size * stride with "same", and with "valid" for room for a stride behind each place.
    """

    window: Window
    output_padding: Sizes | None = None

    def map(self, image: Sequence[int | None]) -> OpenSizes:
        """Sizes of the result for an image; below 1 for no places."""
        _, strides, _, padding = self.window
        numbers = self.window.reach(), strides, self.output_padding or (0,) * len(strides)
        if padding == "valid":
            if self.output_padding is None:
                return each_known(lambda n, ke, s, _: (n - 1) * s + max(ke, s), image, *numbers)
            return each_known(lambda n, ke, s, more: (n - 1) * s + ke + more, image, *numbers)
        if self.output_padding is None:
            return each_known(lambda n, ke, s, _: n * s, image, *numbers)
        return each_known(lambda n, ke, s, more: (n - 1) * s + ke % 2 + more, image, *numbers)

    def before(self) -> Sizes:
        """Padding removed before the result."""
        reach, strides = self.window.reach(), self.window.stride
        if self.window.padding == "valid":
            return (0,) * len(reach)
        if self.output_padding is None:
            return tuple(max((ke - s) // 2, 0) for ke, s in zip(reach, strides, strict=True))
        totals = [ke + ke % 2 - 2 + n for ke, n in zip(reach, self.output_padding, strict=True)]
        return tuple(
            ke - 1 - min((n + 1) // 2, ke - 1) for ke, n in zip(reach, totals, strict=True)
        )


def each_known(
    function: Callable[..., int], sizes: Sequence[int | None], *numbers: Sequence[int]
) -> OpenSizes:
    """Function of each size and the numbers of its axis; None where the size is unknown."""
    axes = zip(sizes, *numbers, strict=True)
    return tuple(None if size is None else function(size, *rest) for size, *rest in axes)


def with_channels_last(
    program: Program, x: Value, data_format: str, emit: Callable[[Value], Value], leading: int = 0
) -> Value:
    """Result of `emit` on an image with channels last, in the image's data format.

    Args:
        x: the image, (channels, sizes...) if the format is "channels_first".
        data_format: that of `x` and of the result.
        emit: appends what gives another image.
        leading: how many axes the value has in front of those.
    """
    if data_format == "channels_last":
        return emit(x)
    before, n = range(leading), len(x.shape)
    y = emit(permute(program, x, [*before, *range(leading + 1, n), leading]))
    return permute(program, y, [*before, n - 1, *range(leading, n - 1)])


def _mapped(window: Window, x: Value) -> tuple[list[int], list[int]]:
    """Sizes of a value's map, and the numbers of the instruction for it."""
    image = x.shape[:-1]
    return [n for n in window.map(image) if n is not None], window.numbers(window.before(image))


def _by_taps(
    name: str, program: Lowering, x: Value, kernel: Variable, window: Window | Transposed
) -> Value:
    """Convolution by what was assigned to a kernel, which is no weight in its layout."""
    from cdl._ir import taps  # which are made of windows

    made: Value = getattr(taps, name)(program, x, program.param(kernel), window)
    return made


def conv(
    program: Lowering,
    x: Value,
    kernel: Variable,
    bias: Variable | None,
    window: Window,
    groups: int = 1,
) -> Value:
    """Convolution with a kernel of shape (window..., columns / groups, filters), a matrix."""
    if program.is_assigned(kernel):
        return biased(program, _by_taps("conv", program, x, kernel, window), bias)
    sizes, numbers = _mapped(window, x)
    shape = (*sizes, kernel.shape[-1])
    return program.emit("conv", (x,), shape, (kernel, bias), numbers=numbers, groups=groups)


def conv_transpose(
    program: Lowering, x: Value, kernel: Variable, bias: Variable | None, window: Transposed
) -> Value:
    """Transposed convolution with a kernel of shape (window..., filters, columns), a matrix."""
    if program.is_assigned(kernel):
        return biased(program, _by_taps("conv_transpose", program, x, kernel, window), bias)
    sizes = [n for n in window.map(x.shape[:-1]) if n is not None]
    numbers = window.window.numbers(window.before())
    shape = (*sizes, kernel.shape[-2])
    return program.emit("conv_transpose", (x,), shape, (kernel, bias), numbers=numbers)


def depthwise_conv(
    program: Lowering, x: Value, kernel: Variable, bias: Variable | None, window: Window
) -> Value:
    """Depthwise convolution with a kernel of shape (window..., columns, m).

    Column j * m + k of the map comes from column j of the image.
    """
    if program.is_assigned(kernel):
        return biased(program, _by_taps("depthwise_conv", program, x, kernel, window), bias)
    columns, multiplier = kernel.shape[-2:]
    if multiplier > 1:
        x = pick(program, x, -1, [j for j in range(columns) for _ in range(multiplier)])
    sizes, numbers = _mapped(window, x)
    shape = (*sizes, columns * multiplier)
    return program.emit("depthwise_conv", (x,), shape, (kernel, bias), numbers=numbers)


def pointwise(axes: int) -> Window:
    """Window of one place."""
    return Window(*((1,) * axes,) * 3)


def pool(program: Program, kind: str, x: Value, window: Window) -> Value:
    """Pooling by "max", "mean" or "sum" over each window, column by column."""
    sizes, numbers = _mapped(window, x)
    return program.emit("pool", (x,), (*sizes, x.shape[-1]), numbers=numbers, kind=kind)


def adaptive_pool(program: Program, kind: str, x: Value, sizes: Sequence[int]) -> Value:
    """Adaptive pooling: windows for a given number of places of the output."""
    numbers = [0, 1, 1, 0] * len(sizes)
    return program.emit("pool", (x,), (*sizes, x.shape[-1]), numbers=numbers, kind=kind)
