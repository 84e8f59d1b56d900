"""MobileNetV2: inverted residual blocks, which widen, convolve each channel, and narrow."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

from cdl import layers
from cdl._common.public_names import publish
from cdl._tracing.keras_tensor import KerasTensor
from cdl.applications import common
from cdl.applications.imagenet_utils import decode_predictions, preprocessing
from cdl.applications.mobilenet import rows_of, shape_of

__all__ = ["MobileNetV2", "decode_predictions", "preprocess_input"]

_norm = functools.partial(common.norm, last=-1, epsilon=1e-3, momentum=0.999)
_conv = functools.partial(layers.Conv2D, use_bias=False)
_KNOWN = (96, 128, 160, 192, 224)
# Filters, and the strides of as many blocks.
_STACKS = [(16, "1"), (24, "21"), (32, "211"), (64, "2111"), (96, "111"), (160, "211"), (320, "1")]


def _relu6(x: Any, name: str) -> Any:
    return layers.ReLU(6.0, name=name)(x)


def _body(x: Any, net: SimpleNamespace) -> Any:
    x = _conv(common.divisible(32 * net.alpha), 3, strides=2, padding="same", name="Conv1")(x)
    x = _relu6(_norm(x, "bn_Conv1"), "Conv1_relu")
    blocks = [(filters, int(stride)) for filters, strides in _STACKS for stride in strides]
    for i, (filters, stride) in enumerate(blocks):
        filters = common.divisible(int(filters * net.alpha))
        x = _block(x, filters, stride, f"block_{i}_" if i else "expanded_conv_", i > 0)
    x = _conv(common.divisible(1280 * max(net.alpha, 1)), 1, name="Conv_1")(x)
    x = _relu6(_norm(x, "Conv_1_bn"), "out_relu")
    return common.head(x, net, average=None)


def _block(x: Any, filters: int, stride: int, name: str, widen: bool) -> Any:
    shortcut = x
    channels = x.shape[common.channel_axis(-1)]
    if widen:
        x = _conv(6 * channels, 1, padding="same", name=f"{name}expand")(x)
        x = _relu6(_norm(x, f"{name}expand_BN"), f"{name}expand_relu")
    if stride == 2:
        x = common.pad_for_stride(x, 3, f"{name}pad")
    x = layers.DepthwiseConv2D(
        3,
        strides=stride,
        use_bias=False,
        padding="same" if stride == 1 else "valid",
        name=f"{name}depthwise",
    )(x)
    x = _relu6(_norm(x, f"{name}depthwise_BN"), f"{name}depthwise_relu")
    x = _conv(filters, 1, padding="same", name=f"{name}project")(x)
    x = _norm(x, f"{name}project_BN")
    if channels == filters and stride == 1:
        return layers.Add(name=f"{name}add")([shortcut, x])
    return x


def check_tensor(title: str, net: SimpleNamespace) -> None:
    """Check that a shape agrees with the tensor given beside it; ValueError."""
    x, shape = net.input_tensor, net.input_shape
    if x is None or shape is None:
        return
    if not isinstance(x, KerasTensor):
        raise ValueError(f"{title}: input_tensor must be a symbolic tensor, got {type(x).__name__}")
    axis = 2 if common.channel_axis() == 3 else 1
    if x.shape[axis] != shape[1]:
        raise ValueError(
            f"{title}: input_tensor.shape[{axis}] must equal input_shape[1]; Received "
            f"`input_tensor.shape={x.shape}`, `input_shape={shape}`"
        )


def _shape(net: SimpleNamespace) -> Any:
    check_tensor("MobileNetV2", net)
    return shape_of("MobileNetV2", _KNOWN)(net)


def _check(net: SimpleNamespace) -> None:
    if net.weights == "imagenet" and net.alpha not in (0.35, 0.5, 0.75, 1.0, 1.3, 1.4):
        raise ValueError(
            "MobileNetV2: If imagenet weights are being loaded, alpha must be one of `0.35`, "
            f"`0.50`, `0.75`, `1.0`, `1.3` or `1.4` only; Received `alpha={net.alpha}`"
        )
    net.rows = rows_of(net, _KNOWN)
    net.name = net.name or f"mobilenetv2_{net.alpha:0.2f}_{net.rows}"


def _file(net: SimpleNamespace) -> str:
    name = f"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{float(net.alpha)}_{net.rows}"
    return f"{common.TENSORFLOW}/mobilenet_v2/{name}{'' if net.include_top else '_no_top'}.h5"


_ORDER = ["include_top", "weights", "input_tensor", "pooling", "classes", "classifier_activation"]
MobileNetV2 = common.constructor(
    "MobileNetV2",
    _body,
    _file,
    name=None,
    arguments={"input_shape": None, "alpha": 1.0, **{name: common.COMMON[name] for name in _ORDER}},
    shape=_shape,
    check=_check,
)
preprocess_input = preprocessing("tf")

publish(globals())
