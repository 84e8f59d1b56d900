"""Operations with windows over images, as nodes of ONNX, which has channels first."""

from collections.abc import Callable
from typing import Any

import numpy as np

from cdl._ir.instruction import Instruction
from cdl.export.numbers import Windows
from cdl.export.onnx_formulas import activation
from cdl.export.to_onnx import Graph


def _channels_first(g: Graph, i: Instruction, write: Callable[[str], str]) -> str:
    """Result of a function of the input with channels first, with channels last again."""
    n = len(i.inputs[0].shape)
    x = g.node("Transpose", g.ref(i.inputs[0]), perm=[0, n, *range(1, n)])
    return g.node("Transpose", write(x), perm=[0, *range(2, n + 1), 1])


def _window(windows: Windows) -> dict[str, Any]:
    """Attributes of a node with such windows."""
    behind = [max(-n, 0) for n in windows.left_over]
    return {
        "kernel_shape": windows.taps,
        "strides": windows.stride,
        "dilations": windows.dilation,
        "pads": [*windows.before, *behind],
    }


def _kernel(i: Instruction, windows: Windows, columns: int) -> Any:
    """Kernel (taps..., a, columns) as (columns, a, taps...)."""
    assert i.params[0] is not None
    w = i.params[0].numpy().reshape(*windows.taps, -1, columns)
    return np.moveaxis(w, [-1, -2], [0, 1])


def _biased(g: Graph, i: Instruction) -> list[str]:
    return [] if i.params[1] is None else [g.weight(i.params[1])]


def _activated(g: Graph, i: Instruction, y: str) -> str:
    return activation(g, str(i.attributes.get("activation", "linear")), i.attributes, y)


def _conv(g: Graph, i: Instruction) -> str:
    windows = Windows(i, i.inputs[0], i.outputs[0])
    kernel = g.constant(_kernel(i, windows, i.outputs[0].shape[-1]))
    given = _window(windows)

    def write(x: str) -> str:
        return g.node("Conv", x, kernel, *_biased(g, i), group=i.attributes["groups"], **given)

    return _activated(g, i, _channels_first(g, i, write))


def _depthwise_conv(g: Graph, i: Instruction) -> str:
    windows, n = Windows(i, i.inputs[0], i.outputs[0]), i.inputs[0].shape[-1]
    kernel = g.constant(_kernel(i, windows, n))
    given = _window(windows)

    def write(x: str) -> str:
        return g.node("Conv", x, kernel, *_biased(g, i), group=n, **given)

    return _activated(g, i, _channels_first(g, i, write))


def _conv_transpose(g: Graph, i: Instruction) -> str:
    windows, n = Windows(i, i.outputs[0], i.inputs[0]), i.inputs[0].shape[-1]
    kernel = g.constant(_kernel(i, windows, n))
    given = _window(windows)
    given["output_padding"] = [max(n, 0) for n in windows.left_over]

    def write(x: str) -> str:
        return g.node("ConvTranspose", x, kernel, *_biased(g, i), **given)

    return _activated(g, i, _channels_first(g, i, write))


def _pool(g: Graph, i: Instruction) -> str:
    windows, kind = Windows(i, i.inputs[0], i.outputs[0]), str(i.attributes["kind"])
    if all(windows.shares):
        return _shared(g, i, windows)
    given = _window(windows)
    if kind == "max":
        return _channels_first(g, i, lambda x: g.node("MaxPool", x, **given))
    del given["dilations"]  # that of pooling is 1, and older opsets have none
    given["count_include_pad"] = int(kind == "sum")
    y = _channels_first(g, i, lambda x: g.node("AveragePool", x, **given))
    if kind == "mean":
        return y
    return g.node("Mul", y, g.constant(float(np.prod(windows.taps))))


def _shared(g: Graph, i: Instruction, windows: Windows) -> str:
    """Adaptive pooling, axis by axis, by the places that each window sees."""
    y, sizes = g.ref(i.inputs[0]), list(i.inputs[0].shape)
    for axis, seen in enumerate(windows.shares):
        outer, n, inner = int(np.prod(sizes[:axis])), sizes[axis], int(np.prod(sizes[axis + 1 :]))
        y = g.node("Reshape", y, g.constant([-1, outer, n, inner], "int64"))
        if i.attributes["kind"] == "max":
            widest = max(map(len, seen))
            places = [[*each, *[each[-1]] * (widest - len(each))] for each in seen]
            y = g.node("Gather", y, g.constant(places, "int64"), axis=2)
            y = g.reduced("ReduceMax", y, 3, keep=False)
        else:
            factor = np.zeros((len(seen), n))
            for row, each in zip(factor, seen, strict=True):
                row[each] = 1.0 / len(each) if i.attributes["kind"] == "mean" else 1.0
            y = g.node("MatMul", g.constant(factor), y)
        sizes[axis] = len(seen)
    return g.reshaped(y, sizes)


ROWS: dict[str, Callable[[Graph, Instruction], str]] = {
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "depthwise_conv": _depthwise_conv,
    "pool": _pool,
}
