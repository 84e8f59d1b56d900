"""EfficientNetB0 to B7: one table of blocks, scaled in width and depth."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from cdl import layers, models
from cdl._common.public_names import publish
from cdl.applications import common
from cdl.applications.imagenet_utils import decode_predictions, preprocessing

__all__ = [
    "EfficientNetB0",
    "EfficientNetB1",
    "EfficientNetB2",
    "EfficientNetB3",
    "EfficientNetB4",
    "EfficientNetB5",
    "EfficientNetB6",
    "EfficientNetB7",
    "decode_predictions",
    "preprocess_input",
]

_conv = functools.partial(layers.Conv2D, padding="same", kernel_initializer=common.CONV_INITIALIZER)
# Kernel, repeats, filters, how much blocks widen, strides.
_STACKS = [
    (3, 1, 16, 1, 1),
    (3, 2, 24, 6, 2),
    (5, 2, 40, 6, 2),
    (3, 3, 80, 6, 2),
    (5, 3, 112, 6, 1),
    (5, 4, 192, 6, 2),
    (3, 1, 320, 6, 1),
]


def swish(x: Any, name: str) -> Any:
    """Swish as an Activation layer."""
    return layers.Activation("swish", name=name)(x)


def weighed(x: Any, filters: int, few: int, name: str) -> Any:
    """Squeeze-and-excite: channels scaled by weights computed from their means."""
    y = layers.GlobalAveragePooling2D(name=f"{name}se_squeeze")(x)
    shape = (1, 1, filters) if common.channel_axis() == 3 else (filters, 1, 1)
    y = layers.Reshape(shape, name=f"{name}se_reshape")(y)
    y = _conv(max(1, few), 1, activation="swish", name=f"{name}se_reduce")(y)
    y = _conv(filters, 1, activation="sigmoid", name=f"{name}se_expand")(y)
    return layers.multiply([x, y], name=f"{name}se_excite")


def added(x: Any, shortcut: Any, rate: float, name: str) -> Any:
    """Sum, with stochastic depth in training."""
    if rate:
        x = layers.Dropout(rate, noise_shape=(None, 1, 1, 1), name=f"{name}drop")(x)
    return layers.add([x, shortcut], name=f"{name}add")


def _efficientnet(
    title: str, wider: float, deeper: float, size: int, dropout: float
) -> Callable[..., models.Model]:
    def width(filters: int) -> int:
        return common.divisible(filters * wider)

    def body(x: Any, net: SimpleNamespace) -> Any:
        x = layers.Rescaling(1 / 255)(x)
        x = layers.Normalization(axis=common.channel_axis())(x)
        if net.weights == "imagenet":  # these weights are for pixels divided twice
            x = layers.Rescaling([1 / math.sqrt(each) for each in (0.229, 0.224, 0.225)])(x)
        x = common.pad_for_stride(x, 3, "stem_conv_pad")
        stem: dict[str, Any] = {
            "strides": 2,
            "padding": "valid",
            "use_bias": False,
            "name": "stem_conv",
        }
        x = _conv(width(32), 3, **stem)(x)
        x = swish(common.norm(x, "stem_bn"), "stem_activation")
        rows = [row for row in enumerate(_STACKS, 1)]
        blocks = [(i, j, row) for i, row in rows for j in range(math.ceil(deeper * row[1]))]
        before = width(32)
        for k, (i, j, (kernel, _, filters, widen, strides)) in enumerate(blocks):
            after = width(filters)
            stride = 1 if j else strides
            rate = 0.2 * k / len(blocks)
            x = _block(x, rate, f"block{i}{chr(j + 97)}_", before, after, kernel, stride, widen)
            before = after
        x = _conv(width(1280), 1, use_bias=False, name="top_conv")(x)
        x = swish(common.norm(x, "top_bn"), "top_activation")
        options: dict[str, Any] = {"kernel_initializer": common.DENSE_INITIALIZER}
        return common.head(x, net, named=True, dropout=dropout, **options)

    file = lambda net: f"keras-applications/{net.name}{{top}}.h5"  # noqa: E731
    return common.constructor(title, body, file, name=title.lower(), size=size)


def _block(
    x: Any, rate: float, name: str, before: int, after: int, kernel: int, stride: int, widen: int
) -> Any:
    shortcut = x
    filters = before * widen
    if widen != 1:
        x = _conv(filters, 1, use_bias=False, name=f"{name}expand_conv")(x)
        x = swish(common.norm(x, f"{name}expand_bn"), f"{name}expand_activation")
    if stride == 2:
        x = common.pad_for_stride(x, kernel, f"{name}dwconv_pad")
    x = layers.DepthwiseConv2D(
        kernel,
        strides=stride,
        padding="valid" if stride == 2 else "same",
        use_bias=False,
        depthwise_initializer=common.CONV_INITIALIZER,
        name=f"{name}dwconv",
    )(x)
    x = swish(common.norm(x, f"{name}bn"), f"{name}activation")
    x = weighed(x, filters, before // 4, name)
    x = _conv(after, 1, use_bias=False, name=f"{name}project_conv")(x)
    x = common.norm(x, f"{name}project_bn")
    return added(x, shortcut, rate, name) if stride == 1 and before == after else x


EfficientNetB0 = _efficientnet("EfficientNetB0", 1.0, 1.0, 224, 0.2)
EfficientNetB1 = _efficientnet("EfficientNetB1", 1.0, 1.1, 240, 0.2)
EfficientNetB2 = _efficientnet("EfficientNetB2", 1.1, 1.2, 260, 0.3)
EfficientNetB3 = _efficientnet("EfficientNetB3", 1.2, 1.4, 300, 0.3)
EfficientNetB4 = _efficientnet("EfficientNetB4", 1.4, 1.8, 380, 0.4)
EfficientNetB5 = _efficientnet("EfficientNetB5", 1.6, 2.2, 456, 0.4)
EfficientNetB6 = _efficientnet("EfficientNetB6", 1.8, 2.6, 528, 0.5)
EfficientNetB7 = _efficientnet("EfficientNetB7", 2.0, 3.1, 600, 0.5)
preprocess_input = preprocessing(None)

publish(globals())
