"""NASNetMobile, NASNetLarge: searched cells, each on the outputs of the two before it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from cdl import layers, models
from cdl._common.public_names import publish
from cdl.applications import common
from cdl.applications.common import relu
from cdl.applications.imagenet_utils import decode_predictions, preprocessing

__all__ = ["NASNetLarge", "NASNetMobile", "decode_predictions", "preprocess_input"]

_norm = functools.partial(common.norm, last=-1, momentum=0.9997, epsilon=1e-3)
_conv = functools.partial(layers.Conv2D, use_bias=False, kernel_initializer="he_normal")


def _separable(x: Any, filters: int, kernel: int, name: str, stride: int = 1) -> Any:
    """Two times ReLU, separable convolution and normalization."""
    for i in (1, 2):
        x = relu(x)
        strided = i == 1 and stride == 2
        if strided:
            x = common.pad_for_stride(x, kernel, f"separable_conv_1_pad_{name}")
        x = layers.SeparableConv2D(
            filters,
            kernel,
            strides=stride if i == 1 else 1,
            padding="valid" if strided else "same",
            use_bias=False,
            name=f"separable_conv_{i}_{name}",
        )(x)
        x = _norm(x, f"separable_conv_{i}_bn_{name}")
    return x


def _adjusted(p: Any, x: Any, filters: int, name: str) -> Any:
    """Output of the cell before the last, with the sizes and channels of the last one's."""
    if p is None:
        return x
    if p.shape[2] != x.shape[2]:
        p = relu(p, f"adjust_relu_1_{name}")
        halves = []
        for i in (1, 2):
            y = p
            if i == 2:
                y = layers.ZeroPadding2D(((0, 1), (0, 1)))(y)
                y = layers.Cropping2D(((1, 0), (1, 0)))(y)
            y = layers.AveragePooling2D(1, strides=2, name=f"adjust_avg_pool_{i}_{name}")(y)
            halves.append(_conv(filters // 2, 1, padding="same", name=f"adjust_conv_{i}_{name}")(y))
        p = layers.concatenate(halves, axis=-1)
    elif p.shape[3] != filters:
        p = _conv(filters, 1, padding="same", name=f"adjust_conv_projection_{name}")(relu(p))
    else:
        return p
    return _norm(p, f"adjust_bn_{name}")


def _pool(x: Any, kind: str, name: str, stride: int = 1) -> Any:
    layer = layers.AveragePooling2D if kind == "average" else layers.MaxPooling2D
    return layer(3, strides=stride, padding="same" if stride == 1 else "valid", name=name)(x)


def _normal(x: Any, p: Any, filters: int, name: str) -> Any:
    p = _adjusted(p, x, filters, name)
    h = _conv(filters, 1, padding="same", name=f"normal_conv_1_{name}")(relu(x))
    h = _norm(h, f"normal_bn_1_{name}")

    def separable(x: Any, kernel: int, side: str) -> Any:
        return _separable(x, filters, kernel, f"normal_{side}_{name}")

    pairs: list[Callable[[], Any]] = [
        lambda: (separable(h, 5, "left1"), separable(p, 3, "right1")),
        lambda: (separable(p, 5, "left2"), separable(p, 3, "right2")),
        lambda: (_pool(h, "average", f"normal_left3_{name}"), p),
        lambda: tuple(_pool(p, "average", f"normal_{s}4_{name}") for s in ("left", "right")),
        lambda: (separable(h, 3, "left5"), h),
    ]
    sums = [
        layers.add(list(pair()), name=f"normal_add_{i}_{name}") for i, pair in enumerate(pairs, 1)
    ]
    return layers.concatenate([p, *sums], axis=-1, name=f"normal_concat_{name}")


def _reduction(x: Any, p: Any, filters: int, name: str) -> Any:
    p = _adjusted(p, x, filters, name)
    h = _conv(filters, 1, padding="same", name=f"reduction_conv_1_{name}")(relu(x))
    h = _norm(h, f"reduction_bn_1_{name}")
    padded = common.pad_for_stride(h, 3, f"reduction_pad_1_{name}")

    def separable(x: Any, kernel: int, side: str, stride: int = 2) -> Any:
        return _separable(x, filters, kernel, f"reduction_{side}_{name}", stride)

    def added(a: Any, b: Any, which: str | None) -> Any:
        return layers.add([a, b], name=which and f"reduction_{which}_{name}")

    def pool(kind: str, side: str) -> Any:
        return _pool(padded, kind, f"reduction_{side}_{name}", 2)

    x1 = added(separable(h, 5, "left1"), separable(p, 7, "right1"), "add_1")
    x2 = added(pool("max", "left2"), separable(p, 7, "right2"), "add_2")
    x3 = added(pool("average", "left3"), separable(p, 5, "right3"), "add3")
    x4 = added(x2, _pool(x1, "average", f"reduction_left4_{name}"), None)
    x5 = added(separable(x1, 3, "left4", 1), pool("max", "right5"), "add4")
    return layers.concatenate([x2, x3, x4, x5], axis=-1, name=f"reduction_concat_{name}")


def _nasnet(
    title: str, size: int, filters: int, cells: int, stem: int
) -> Callable[..., models.Model]:
    large = size == 331

    def body(x: Any, net: SimpleNamespace) -> Any:
        x = _conv(stem, 3, strides=2, name="stem_conv1")(x)
        x, p = _norm(x, "stem_bn1"), None
        for i, part in ((1, 4), (2, 2)):
            x, p = _reduction(x, p, filters // part, f"stem_{i}"), x
        for i in range(3):
            if i:
                name = f"reduce_{i * cells}"
                reduced = _reduction(x, p, filters << i, name)
                x, p = reduced, p if large else x
            for j in range(cells):
                x, p = _normal(x, p, filters << i, f"{i * cells + j + (i > 0)}"), x
        return common.head(relu(x), net, average=None)

    def shape(net: SimpleNamespace) -> Any:
        given = net.input_shape
        if given is None and not net.include_top and not large:
            net.input_shape = (224, 224, 3)
        found = common.image_shape(title, net, size, 32)
        if None in found:
            raise ValueError(
                f"{title}: input_shape must be three ints, since the cells are joined by sizes, "
                f"got {given}"
            )
        return found

    def file(net: SimpleNamespace) -> str:
        kind, top = title.removeprefix("NASNet").lower(), "" if net.include_top else "_no_top"
        there = f"NASNet-{kind}{top.replace('_', '-')}.h5"
        return f"{common.TENSORFLOW}/nasnet/nasnet_{kind}{top}.h5|{there}"

    common_ones = {name: common.COMMON[name] for name in common.COMMON if name != "input_shape"}
    return common.constructor(
        title,
        body,
        file,
        name=f"nasnet_{title.removeprefix('NASNet').lower()}",
        size=size,
        arguments={"input_shape": None, **common_ones},
        shape=shape,
        last_only=True,
    )


NASNetMobile = _nasnet("NASNetMobile", 224, 44, 4, 32)
NASNetLarge = _nasnet("NASNetLarge", 331, 168, 6, 96)
preprocess_input = preprocessing("tf")

publish(globals())
