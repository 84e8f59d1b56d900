"""ResNet50, ResNet101, ResNet152: blocks with residual connections."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from cdl import layers, models
from cdl._common.public_names import publish
from cdl.applications.common import TENSORFLOW, constructor, head, norm, relu
from cdl.applications.imagenet_utils import decode_predictions, preprocessing

__all__ = ["ResNet50", "ResNet101", "ResNet152", "decode_predictions", "preprocess_input"]

_norm = functools.partial(norm, epsilon=1.001e-5)


def resnet(title: str, *depths: int) -> Callable[..., models.Model]:
    """Create the constructor of a ResNet, or of a V2 by its name, with stacks of such depths."""
    name = title.lower()
    first_norm = name.endswith("v2")  # normalizes ahead of each convolution
    block = _block_v2 if first_norm else _block

    def body(x: Any, net: SimpleNamespace) -> Any:
        x = layers.ZeroPadding2D(3, name="conv1_pad")(x)
        x = layers.Conv2D(64, 7, strides=2, name="conv1_conv")(x)
        if not first_norm:
            x = relu(_norm(x, "conv1_bn"), "conv1_relu")
        x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
        x = layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)
        for i, depth in enumerate(depths):
            # Sizes are halved by the first block of a stack, of V2 by the last one.
            strided = depth - 1 if first_norm else 0
            halved = i < 3 if first_norm else i > 0
            for j in range(depth):
                stride = 2 if halved and j == strided else 1
                x = block(x, 64 << i, stride, j == 0, f"conv{i + 2}_block{j + 1}")
        if first_norm:
            x = relu(_norm(x, "post_bn"), "post_relu")
        return head(x, net, named=True)

    file = f"{TENSORFLOW}/resnet/{name}_weights_tf_dim_ordering_tf_kernels{{top}}.h5"
    return constructor(title, body, file, name=name)


def _block(x: Any, filters: int, stride: int, first: bool, name: str) -> Any:
    shortcut = x
    if first:
        shortcut = layers.Conv2D(4 * filters, 1, strides=stride, name=f"{name}_0_conv")(x)
        shortcut = _norm(shortcut, f"{name}_0_bn")
    x = layers.Conv2D(filters, 1, strides=stride, name=f"{name}_1_conv")(x)
    x = relu(_norm(x, f"{name}_1_bn"), f"{name}_1_relu")
    x = layers.Conv2D(filters, 3, padding="same", name=f"{name}_2_conv")(x)
    x = relu(_norm(x, f"{name}_2_bn"), f"{name}_2_relu")
    x = layers.Conv2D(4 * filters, 1, name=f"{name}_3_conv")(x)
    x = _norm(x, f"{name}_3_bn")
    x = layers.Add(name=f"{name}_add")([shortcut, x])
    return relu(x, f"{name}_out")


def _block_v2(x: Any, filters: int, stride: int, first: bool, name: str) -> Any:
    shortcut = x
    x = relu(_norm(x, f"{name}_preact_bn"), f"{name}_preact_relu")
    if first:
        shortcut = layers.Conv2D(4 * filters, 1, strides=stride, name=f"{name}_0_conv")(x)
    elif stride > 1:
        shortcut = layers.MaxPooling2D(1, strides=stride)(shortcut)
    x = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_1_conv")(x)
    x = relu(_norm(x, f"{name}_1_bn"), f"{name}_1_relu")
    x = layers.ZeroPadding2D(1, name=f"{name}_2_pad")(x)
    x = layers.Conv2D(filters, 3, strides=stride, use_bias=False, name=f"{name}_2_conv")(x)
    x = relu(_norm(x, f"{name}_2_bn"), f"{name}_2_relu")
    x = layers.Conv2D(4 * filters, 1, name=f"{name}_3_conv")(x)
    return layers.Add(name=f"{name}_out")([shortcut, x])


ResNet50 = resnet("ResNet50", 3, 4, 6, 3)
ResNet101 = resnet("ResNet101", 3, 4, 23, 3)
ResNet152 = resnet("ResNet152", 3, 8, 36, 3)
preprocess_input = preprocessing("caffe")

publish(globals())
