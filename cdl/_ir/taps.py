"""Convolutions tap by tap, whose kernels are values, not weights.

What the core's ops of windows take are weights and images of each sample. Where a kernel is
computed, or an image is the same for all samples, each tap of the window is taken by itself: the
places that it sees are picked, and products and sums do the rest. It takes more memory and time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product as every
from math import prod

from cdl._ir.emit import broadcast, concat, pick, product, reshape
from cdl._ir.instruction import Value
from cdl._ir.program import Program
from cdl._ir.windows import Sizes, Transposed, Window


def taps_of(window: Window) -> Iterator[tuple[int, ...]]:
    """Places of a window, each a number along each axis, in order."""
    return every(*map(range, window.size))


def seen_by(
    program: Program, x: Value, window: Window, before: Sizes, sizes: Sizes, tap: Sizes, first: int
) -> Value:
    """Part of an image that a tap sees from each place of the map; axes begin with `first`."""
    for axis, (k, n) in enumerate(zip(tap, sizes, strict=True)):
        start = k * window.dilation[axis] - before[axis]
        places = [start + place * window.stride[axis] for place in range(n)]
        limit = x.shape[first + axis]
        x = pick(program, x, first + axis, [p if 0 <= p < limit else -1 for p in places])
    return x


def given_to(
    program: Program, x: Value, window: Window, before: Sizes, sizes: Sizes, tap: Sizes, first: int
) -> Value:
    """Image of which a tap sees these places: the transpose of `seen_by`."""
    for axis, (k, n) in enumerate(zip(tap, sizes, strict=True)):
        stride, start = window.stride[axis], before[axis] - k * window.dilation[axis]
        limit = x.shape[first + axis] * stride
        places = [start + place for place in range(n)]
        found = [p // stride if 0 <= p < limit and p % stride == 0 else -1 for p in places]
        x = pick(program, x, first + axis, found)
    return x


def _image(x: Value, window: Window) -> tuple[Sizes, int]:
    """Sizes of the image, and the first of its axes in the value."""
    first = len(x.shape) - 1 - len(window.size)
    return x.shape[first:-1], first


def _sizes(found: Sequence[int | None]) -> Sizes:
    return tuple(n for n in found if n is not None)


def _columns(program: Program, x: Value, start: int, n: int) -> Value:
    return pick(program, x, -1, range(start, start + n))


def total(program: Program, values: Sequence[Value]) -> Value:
    """Sum of values of one shape, in their order."""
    found = values[0]
    for value in values[1:]:
        found = program.map("add", [found, value])
    return found


def conv(program: Program, x: Value, kernel: Value, window: Window) -> Value:
    """Convolution as in `windows.conv`; the value may have axes in front of those of the image."""
    image, first = _image(x, window)
    before, sizes = window.before(image), _sizes(window.map(image))
    *taps, each, filters = kernel.shape
    rows, groups = prod(taps) * each, x.shape[-1] // each
    kernel = reshape(program, kernel, (rows, filters))
    seen = [seen_by(program, x, window, before, sizes, tap, first) for tap in taps_of(window)]
    outputs = []
    for group in range(groups):
        columns = [_columns(program, part, group * each, each) for part in seen]
        n = filters // groups
        factor = _columns(program, kernel, group * n, n)
        outputs.append(product(program, concat(program, columns, -1), factor))
    return concat(program, outputs, -1)


def conv_transpose(program: Program, x: Value, kernel: Value, transposed: Transposed) -> Value:
    """Transposed convolution as in `windows.conv_transpose`."""
    window, (image, first) = transposed.window, _image(x, transposed.window)
    before, sizes = transposed.before(), _sizes(transposed.map(image))
    *taps, filters, columns = kernel.shape
    kernel = reshape(program, kernel, (prod(taps) * filters, columns))
    every_tap = product(program, x, kernel, transpose_b=True)
    parts = []
    for i, tap in enumerate(taps_of(window)):
        part = _columns(program, every_tap, i * filters, filters)
        parts.append(given_to(program, part, window, before, sizes, tap, first))
    return total(program, parts)


def depthwise_conv(program: Program, x: Value, kernel: Value, window: Window) -> Value:
    """Depthwise convolution as in `windows.depthwise_conv`."""
    image, first = _image(x, window)
    before, sizes = window.before(image), _sizes(window.map(image))
    *taps, columns, multiplier = kernel.shape
    x = pick(program, x, -1, [j for j in range(columns) for _ in range(multiplier)])
    kernel = reshape(program, kernel, (prod(taps), columns * multiplier))
    parts = []
    for i, tap in enumerate(taps_of(window)):
        seen = seen_by(program, x, window, before, sizes, tap, first)
        row = reshape(program, pick(program, kernel, 0, [i]), (columns * multiplier,))
        factor = broadcast(program, row, seen.shape)
        if not seen.shared:
            factor = program.broadcast_batch(factor)
        parts.append(program.map("multiply", [seen, factor]))
    return total(program, parts)
