"""MobileNetV3Small, MobileNetV3Large: with hard swish and squeeze-and-excite.

Keras has them one module above; this one has what prepares images for them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from cdl import layers, models
from cdl._common.errors import warn
from cdl._common.public_names import publish
from cdl.applications import common
from cdl.applications.common import divisible
from cdl.applications.imagenet_utils import decode_predictions, preprocessing
from cdl.applications.mobilenet_v2 import check_tensor
from cdl.config import image_data_format

__all__ = ["decode_predictions", "preprocess_input"]

_norm = functools.partial(common.norm, last=-1, epsilon=1e-3, momentum=0.999)
_conv = functools.partial(layers.Conv2D, padding="same")
# Rows of blocks: expansion, filters, kernel, stride, squeeze-and-excitation, hard swish.
_SMALL = [
    (1, 16, 3, 2, 1, 0),
    (72 / 16, 24, 3, 2, 0, 0),
    (88 / 24, 24, 3, 1, 0, 0),
    (4, 40, 5, 2, 1, 1),
    *[(6, 40, 5, 1, 1, 1)] * 2,
    *[(3, 48, 5, 1, 1, 1)] * 2,
    (6, 96, 5, 2, 1, 1),
    *[(6, 96, 5, 1, 1, 1)] * 2,
]
_LARGE = [
    (1, 16, 3, 1, 0, 0),
    (4, 24, 3, 2, 0, 0),
    (3, 24, 3, 1, 0, 0),
    (3, 40, 5, 2, 1, 0),
    *[(3, 40, 5, 1, 1, 0)] * 2,
    (6, 80, 3, 2, 0, 1),
    (2.5, 80, 3, 1, 0, 1),
    *[(2.3, 80, 3, 1, 0, 1)] * 2,
    *[(6, 112, 3, 1, 1, 1)] * 2,
    (6, 160, 5, 2, 1, 1),
    *[(6, 160, 5, 1, 1, 1)] * 2,
]


def _relu(x: Any) -> Any:
    return layers.ReLU()(x)


def _hard_swish(x: Any) -> Any:
    return layers.Activation("hard_swish")(x)


def _mobilenet(title: str, blocks: list[Any], last: int) -> Callable[..., models.Model]:
    def body(x: Any, net: SimpleNamespace) -> Any:
        swish = _relu if net.minimalistic else _hard_swish
        if net.include_preprocessing:
            x = layers.Rescaling(1 / 127.5, offset=-1.0)(x)
        x = _conv(16, 3, strides=2, use_bias=False, name="conv")(x)
        x = swish(_norm(x, "conv_bn"))
        for i, (widen, filters, kernel, stride, weigh, hard) in enumerate(blocks):
            x = _block(
                x,
                widen,
                divisible(filters * net.alpha),
                3 if net.minimalistic else kernel,
                stride,
                weigh and not net.minimalistic,
                swish if hard else _relu,
                f"expanded_conv_{i}_" if i else "expanded_conv_",
            )
        wide = divisible(x.shape[common.channel_axis(-1)] * 6)
        x = _conv(wide, 1, use_bias=False, name="conv_1")(x)
        x = swish(_norm(x, "conv_1_bn"))
        if not net.include_top:
            return common.pooled(x, net, named=True)
        x = layers.GlobalAveragePooling2D(keepdims=True)(x)
        point = divisible(last * net.alpha) if net.alpha > 1 else last
        x = swish(_conv(point, 1, name="conv_2")(x))
        if net.dropout_rate > 0:
            x = layers.Dropout(net.dropout_rate)(x)
        x = layers.Flatten()(_conv(net.classes, 1, name="logits")(x))
        return layers.Activation(net.classifier_activation, name="predictions")(x)

    def file(net: SimpleNamespace) -> str:
        kind = title.removeprefix("MobileNetV3").lower() + "_minimalistic" * net.minimalistic
        name = f"weights_mobilenet_v3_{kind}_224_{float(net.alpha)}_float"
        return (
            f"{common.TENSORFLOW}/mobilenet_v3/{name}{'' if net.include_top else '_no_top_v2'}.h5"
        )

    def shape(net: SimpleNamespace) -> Any:
        check_tensor(title, net)
        last_axis = image_data_format() == "channels_last"
        given, x = net.input_shape, net.input_tensor
        if given is None:
            height, width = (
                (None, None) if x is None else x.shape[1:3] if last_axis else x.shape[2:]
            )
            return (height, width, 3) if last_axis else (3, height, width)
        rows, columns = given[:2] if last_axis else given[1:]
        if rows and columns and min(rows, columns) < 32:
            raise ValueError(
                f"{title}: Input size must be at least 32x32; Received `input_shape={given}`"
            )
        return tuple(given)

    def check(net: SimpleNamespace) -> None:
        if net.weights == "imagenet":
            if net.alpha not in ((1.0,) if net.minimalistic else (0.75, 1.0)):
                raise ValueError(
                    f"{title}: If imagenet weights are being loaded, alpha can be one of `0.75`, "
                    f"`1.0` for non minimalistic or `1.0` for minimalistic only, got {net.alpha}"
                )
            if 224 not in net.input_shape or len(set(net.input_shape)) != 2:
                warn(
                    "`input_shape` is undefined or non-square, or `rows` is not 224. Weights for "
                    "input shape (224, 224) will be loaded as the default."
                )

    arguments = {
        "input_shape": None,
        "alpha": 1.0,
        "minimalistic": False,
        "include_top": True,
        "weights": "imagenet",
        "input_tensor": None,
        "classes": 1000,
        "pooling": None,
        "dropout_rate": 0.2,
        "classifier_activation": "softmax",
        "include_preprocessing": True,
    }
    return common.constructor(
        title, body, file, name=title, arguments=arguments, shape=shape, check=check
    )


def _block(
    x: Any,
    widen: float,
    filters: int,
    kernel: int,
    stride: int,
    weigh: bool,
    active: Callable[[Any], Any],
    name: str,
) -> Any:
    shortcut = x
    channels = x.shape[common.channel_axis(-1)]
    wide = divisible(channels * widen)
    if name != "expanded_conv_":
        x = _conv(wide, 1, use_bias=False, name=f"{name}expand")(x)
        x = active(_norm(x, f"{name}expand_bn"))
    if stride == 2:
        x = common.pad_for_stride(x, kernel, f"{name}depthwise_pad")
    x = layers.DepthwiseConv2D(
        kernel,
        strides=stride,
        padding="same" if stride == 1 else "valid",
        use_bias=False,
        name=f"{name}depthwise",
    )(x)
    x = active(_norm(x, f"{name}depthwise_bn"))
    if weigh:
        name_of = f"{name}squeeze_excite_".__add__
        y = layers.GlobalAveragePooling2D(keepdims=True, name=name_of("avg_pool"))(x)
        y = _conv(divisible(wide * 0.25), 1, name=name_of("conv"))(y)
        y = layers.ReLU(name=name_of("relu"))(y)
        y = _conv(wide, 1, name=name_of("conv_1"))(y)
        y = layers.ReLU(6.0)(y + 3.0) * (1 / 6)
        x = layers.Multiply(name=name_of("mul"))([x, y])
    x = _norm(_conv(filters, 1, use_bias=False, name=f"{name}project")(x), f"{name}project_bn")
    if stride == 1 and channels == filters:
        return layers.Add(name=f"{name}add")([shortcut, x])
    return x


MobileNetV3Small = _mobilenet("MobileNetV3Small", _SMALL, 1024)
MobileNetV3Large = _mobilenet("MobileNetV3Large", _LARGE, 1280)
preprocess_input = preprocessing(None)

publish(globals())
