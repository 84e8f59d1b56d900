"""Windows that move over an image: where each place of a map looks, and the instructions for it.

An image is a value of shape (sizes..., columns), and so is the map, whose places each have a
window. Where the windows lie is as in Keras.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from cdl._ir.instruction import Value
    from cdl._ir.program import Program
    from cdl._tracing.variable import Variable

Sizes = tuple[int, ...]
OpenSizes = tuple[int | None, ...]  # None for a size that is not known


class Window(NamedTuple):
    """A window, with a number for each axis of the image.

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
        """How long the window is from its first to its last tap."""
        return tuple((n - 1) * r + 1 for n, r in zip(self.size, self.dilation, strict=True))

    def map(self, image: Sequence[int | None]) -> OpenSizes:
        """The sizes of the map of an image; below 1 where no window lies within it."""
        if self.padding != "valid":
            return each_known(lambda n, stride: -(-n // stride), image, self.stride)
        return each_known(lambda n, ke, s: (n - ke) // s + 1, image, self.reach(), self.stride)

    def before(self, image: Sequence[int]) -> Sizes:
        """How far before the image the first window begins."""
        if self.padding == "valid":
            return (0,) * len(image)
        if self.padding == "causal":
            return tuple(ke - 1 for ke in self.reach())
        axes = zip(image, self.reach(), self.stride, strict=True)
        return tuple(max((-(-n // s) - 1) * s + ke - n, 0) // 2 for n, ke, s in axes)

    def numbers(self, before: Sequence[int]) -> list[int]:
        """What an instruction is told of the window."""
        axes = zip(self.size, self.stride, self.dilation, before, strict=True)
        return [number for axis in axes for number in axis]


def each_known(
    function: Callable[..., int], sizes: Sequence[int | None], *numbers: Sequence[int]
) -> OpenSizes:
    """What a function gives for each size and the numbers of its axis; None where no size is."""
    axes = zip(sizes, *numbers, strict=True)
    return tuple(None if size is None else function(size, *rest) for size, *rest in axes)


def _mapped(window: Window, x: Value) -> tuple[list[int], list[int]]:
    """The sizes of the map of a value, and the numbers of an instruction that gives it."""
    image = x.shape[:-1]
    return [n for n in window.map(image) if n is not None], window.numbers(window.before(image))


def conv(
    program: Program,
    x: Value,
    kernel: Variable,
    bias: Variable | None,
    window: Window,
    groups: int = 1,
) -> Value:
    """A convolution, with a kernel of shape (window..., columns / groups, filters), a matrix."""
    sizes, numbers = _mapped(window, x)
    shape = (*sizes, kernel.shape[-1])
    return program.emit("conv", (x,), shape, (kernel, bias), numbers=(*numbers, groups))


def pool(program: Program, kind: str, x: Value, window: Window) -> Value:
    """The "max", "mean" or "sum" of what each window sees, column by column."""
    sizes, numbers = _mapped(window, x)
    return program.emit("pool", (x,), (*sizes, x.shape[-1]), numbers=numbers, kind=kind)
