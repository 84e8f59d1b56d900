"""EfficientNetV2B0 to B3, S, M, L: fused convolutions in the first blocks."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from cdl import layers, models
from cdl._common.public_names import publish
from cdl.applications import common
from cdl.applications.efficientnet import added, swish, weighed
from cdl.applications.imagenet_utils import decode_predictions, preprocessing
from cdl.initializers import Constant

__all__ = [
    "EfficientNetV2B0",
    "EfficientNetV2B1",
    "EfficientNetV2B2",
    "EfficientNetV2B3",
    "EfficientNetV2L",
    "EfficientNetV2M",
    "EfficientNetV2S",
    "decode_predictions",
    "preprocess_input",
]

_conv = functools.partial(
    layers.Conv2D, padding="same", kernel_initializer=common.CONV_INITIALIZER, use_bias=False
)
_norm = functools.partial(common.norm, momentum=0.9)
# Repeats and filters of each stack.
_REPEATS = {
    "b": [(1, 16), (2, 32), (2, 48), (3, 96), (5, 112), (8, 192)],
    "s": [(2, 24), (4, 48), (4, 64), (6, 128), (9, 160), (15, 256)],
    "m": [(3, 24), (5, 48), (5, 80), (7, 160), (14, 176), (18, 304), (5, 512)],
    "l": [(4, 32), (7, 64), (7, 96), (10, 192), (19, 224), (25, 384), (7, 640)],
}
_WIDEN = (1, 4, 4, 4, 6, 6, 6)
_STRIDES = (1, 2, 2, 2, 1, 2, 1)
_FUSED = 3  # stacks


def _efficientnet(
    kind: str, size: int, wider: float = 1.0, deeper: float = 1.0
) -> Callable[..., models.Model]:
    title, stacks = f"EfficientNetV2{kind}", _REPEATS[kind[0].lower()]

    def width(filters: int) -> int:
        return common.divisible(filters * wider, at_most_a_tenth=False)

    def body(x: Any, net: SimpleNamespace) -> Any:
        axis = common.channel_axis()
        if net.include_preprocessing and kind[0] == "B" and net.input_shape[axis - 1] == 3:
            x = layers.Rescaling(1 / 255)(x)
            deviations = (0.229, 0.224, 0.225)
            mean, variance = [0.485, 0.456, 0.406], [each**2 for each in deviations]
            x = layers.Normalization(axis=axis, mean=mean, variance=variance)(x)
        elif net.include_preprocessing:
            x = layers.Rescaling(1 / 128, offset=-1)(x)
        before = width(32 if kind[0] == "B" else stacks[0][1])
        x = _conv(before, 3, strides=2, name="stem_conv")(x)
        x = swish(_norm(x, "stem_bn"), "stem_activation")
        k, total = 0, sum(repeats for repeats, _ in stacks)
        for i, (repeats, filters) in enumerate(stacks):
            block = _fused if i < _FUSED else _block
            for j in range(math.ceil(deeper * repeats)):
                after, stride = width(filters), 1 if j else _STRIDES[i]
                name = f"block{i + 1}{chr(j + 97)}_"
                y = block(x, before, after, _WIDEN[i], stride, name)
                same = stride == 1 and before == after
                x = added(y, x, 0.2 * k / total, name) if same else y
                before = after
                k += 1
        x = _conv(width(1280), 1, name="top_conv")(x)
        x = swish(_norm(x, "top_bn"), "top_activation")
        options: dict[str, Any] = {
            "kernel_initializer": common.DENSE_INITIALIZER,
            "bias_initializer": Constant(0.0),
        }
        return common.head(x, net, named=True, dropout=0.2, **options)

    file = lambda net: f"{common.TENSORFLOW}/efficientnet_v2/{net.name}{{top}}.h5"  # noqa: E731
    arguments = {**common.COMMON, "include_preprocessing": True}
    name = f"efficientnetv2-{kind.lower()}"
    return common.constructor(title, body, file, name=name, size=size, arguments=arguments)


def _expanded(x: Any, filters: int, kernel: int, stride: int, name: str) -> Any:
    x = _conv(filters, kernel, strides=stride, name=f"{name}expand_conv")(x)
    return swish(_norm(x, f"{name}expand_bn"), f"{name}expand_activation")


def _block(x: Any, before: int, after: int, widen: int, stride: int, name: str) -> Any:
    x = _expanded(x, before * widen, 1, 1, name)
    x = layers.DepthwiseConv2D(
        3,
        strides=stride,
        padding="same",
        use_bias=False,
        depthwise_initializer=common.CONV_INITIALIZER,
        name=f"{name}dwconv2",
    )(x)
    x = swish(_norm(x, f"{name}bn"), f"{name}activation")
    x = weighed(x, before * widen, before // 4, name)
    return _norm(_conv(after, 1, name=f"{name}project_conv")(x), f"{name}project_bn")


def _fused(x: Any, before: int, after: int, widen: int, stride: int, name: str) -> Any:
    if widen != 1:
        x = _expanded(x, before * widen, 3, stride, name)
        return _norm(_conv(after, 1, name=f"{name}project_conv")(x), f"{name}project_bn")
    x = _conv(after, 3, strides=stride, name=f"{name}project_conv")(x)
    return swish(_norm(x, f"{name}project_bn"), f"{name}project_activation")


EfficientNetV2B0 = _efficientnet("B0", 224)
EfficientNetV2B1 = _efficientnet("B1", 240, 1.0, 1.1)
EfficientNetV2B2 = _efficientnet("B2", 260, 1.1, 1.2)
EfficientNetV2B3 = _efficientnet("B3", 300, 1.2, 1.4)
EfficientNetV2S = _efficientnet("S", 384)
EfficientNetV2M = _efficientnet("M", 480)
EfficientNetV2L = _efficientnet("L", 480)
preprocess_input = preprocessing(None)

publish(globals())
