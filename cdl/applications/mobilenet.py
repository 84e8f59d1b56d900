"""MobileNet: depthwise separable convolutions."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

from cdl import layers
from cdl._common.errors import warn
from cdl._common.public_names import publish
from cdl.applications.common import COMMON, TENSORFLOW, constructor, image_shape, norm, pooled
from cdl.applications.imagenet_utils import decode_predictions, preprocessing
from cdl.config import image_data_format

__all__ = ["MobileNet", "decode_predictions", "preprocess_input"]

_norm = functools.partial(norm, last=-1)
_conv = functools.partial(layers.Conv2D, padding="same", use_bias=False)
# Filters and strides of the blocks.
_BLOCKS = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5]
_BLOCKS += [(1024, 2), (1024, 1)]


def _relu6(x: Any, name: str) -> Any:
    return layers.ReLU(6.0, name=name)(x)


def _body(x: Any, net: SimpleNamespace) -> Any:
    x = _conv(int(32 * net.alpha), 3, strides=2, name="conv1")(x)
    x = _relu6(_norm(x, "conv1_bn"), "conv1_relu")
    for i, (filters, stride) in enumerate(_BLOCKS, 1):
        if stride == 2:
            x = layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"conv_pad_{i}")(x)
        x = layers.DepthwiseConv2D(
            3,
            padding="same" if stride == 1 else "valid",
            depth_multiplier=net.depth_multiplier,
            strides=stride,
            use_bias=False,
            name=f"conv_dw_{i}",
        )(x)
        x = _relu6(_norm(x, f"conv_dw_{i}_bn"), f"conv_dw_{i}_relu")
        x = _conv(int(filters * net.alpha), 1, name=f"conv_pw_{i}")(x)
        x = _relu6(_norm(x, f"conv_pw_{i}_bn"), f"conv_pw_{i}_relu")
    if not net.include_top:
        return pooled(x, net)
    x = layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = layers.Dropout(net.dropout, name="dropout")(x)
    x = layers.Conv2D(net.classes, 1, padding="same", name="conv_preds")(x)
    x = layers.Reshape((net.classes,), name="reshape_2")(x)
    return layers.Activation(net.classifier_activation, name="predictions")(x)


def rows_of(net: SimpleNamespace, known: tuple[int, ...]) -> Any:
    """Height of images; for weights of ImageNet one of the known ones, 224 if it is none."""
    rows, columns = net.input_shape[:2] if _last() else net.input_shape[1:]
    if net.weights == "imagenet" and (rows != columns or rows not in known):
        rows = 224
        warn(
            f"`input_shape` is undefined or non-square, or `rows` is not in {list(known)}. "
            "Weights for input shape (224, 224) will be loaded as the default."
        )
    return rows


def shape_of(title: str, known: tuple[int, ...]) -> Any:
    """Image shape rule: square shapes of known sizes count as the default."""

    def shape(net: SimpleNamespace) -> Any:
        size, given = 224, net.input_shape
        if given is not None and len(given) == 3:
            rows, columns = given[:2] if _last() else given[1:]
            size = rows if rows == columns and rows in known else 224
        return image_shape(title, net, size, 32)

    return shape


def _last() -> bool:
    return image_data_format() == "channels_last"


_KNOWN = (128, 160, 192, 224)


def _check(net: SimpleNamespace) -> None:
    if net.weights == "imagenet":
        if net.depth_multiplier != 1:
            raise ValueError(
                "MobileNet: If imagenet weights are being loaded, depth multiplier must be 1. "
                f"Received depth_multiplier={net.depth_multiplier}"
            )
        if net.alpha not in (0.25, 0.5, 0.75, 1.0):
            raise ValueError(
                "MobileNet: If imagenet weights are being loaded, alpha can be one of `0.25`, "
                f"`0.50`, `0.75` or `1.0` only. Received alpha={net.alpha}"
            )
    net.rows = rows_of(net, _KNOWN)
    net.name = net.name or f"mobilenet_{net.alpha:0.2f}_{net.rows}"


def _file(net: SimpleNamespace) -> str:
    alpha = "1_0" if net.alpha == 1 else f"{net.alpha * 10:.1f}".replace(".", "_")
    top = "" if net.include_top else "_no_top"
    return f"{TENSORFLOW}/mobilenet/mobilenet_{alpha}_{net.rows}_tf{top}.h5"


MobileNet = constructor(
    "MobileNet",
    _body,
    _file,
    name=None,
    arguments={
        "input_shape": None,
        "alpha": 1.0,
        "depth_multiplier": 1,
        "dropout": 0.001,
        **{name: COMMON[name] for name in COMMON if name != "input_shape"},
    },
    shape=shape_of("MobileNet", _KNOWN),
    check=_check,
)
preprocess_input = preprocessing("tf")

publish(globals())
