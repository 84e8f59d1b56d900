"""DenseNet121, DenseNet169, DenseNet201: each convolution reads all before it in its block."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from cdl import layers, models
from cdl._common.public_names import publish
from cdl.applications.common import TENSORFLOW, constructor, head, norm, relu
from cdl.applications.imagenet_utils import decode_predictions, preprocessing

__all__ = ["DenseNet121", "DenseNet169", "DenseNet201", "decode_predictions", "preprocess_input"]

_norm = functools.partial(norm, epsilon=1.001e-5)
_conv = functools.partial(layers.Conv2D, use_bias=False)


def _densenet(title: str, *depths: int) -> Callable[..., models.Model]:
    def body(x: Any, net: SimpleNamespace) -> Any:
        x = layers.ZeroPadding2D(3)(x)
        x = _conv(64, 7, strides=2, name="conv1_conv")(x)
        x = relu(_norm(x, "conv1_bn"), "conv1_relu")
        x = layers.ZeroPadding2D(1)(x)
        x = layers.MaxPooling2D(3, strides=2, name="pool1")(x)
        for i, depth in enumerate(depths, 2):
            for j in range(depth):
                x = _block(x, f"conv{i}_block{j + 1}")
            if i < 5:
                x = relu(_norm(x, f"pool{i}_bn"), f"pool{i}_relu")
                x = _conv(x.shape[3] // 2, 1, name=f"pool{i}_conv")(x)
                x = layers.AveragePooling2D(2, strides=2, name=f"pool{i}_pool")(x)
        return head(relu(_norm(x, "bn"), "relu"), net, named=True)

    name = title.lower()
    file = f"{TENSORFLOW}/densenet/{name}_weights_tf_dim_ordering_tf_kernels{{top}}.h5"
    return constructor(title, body, file, name=name, last_only=True)


def _block(x: Any, name: str) -> Any:
    y = relu(_norm(x, f"{name}_0_bn"), f"{name}_0_relu")
    y = _conv(128, 1, name=f"{name}_1_conv")(y)
    y = relu(_norm(y, f"{name}_1_bn"), f"{name}_1_relu")
    y = _conv(32, 3, padding="same", name=f"{name}_2_conv")(y)
    return layers.Concatenate(axis=3, name=f"{name}_concat")([x, y])


DenseNet121 = _densenet("DenseNet121", 6, 12, 24, 16)
DenseNet169 = _densenet("DenseNet169", 6, 12, 32, 32)
DenseNet201 = _densenet("DenseNet201", 6, 12, 48, 32)
preprocess_input = preprocessing("torch")

publish(globals())
