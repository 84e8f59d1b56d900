"""Xception: separable convolutions with residual connections."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

from cdl import layers
from cdl._common.public_names import publish
from cdl.applications.common import TENSORFLOW, constructor, head, norm, relu
from cdl.applications.imagenet_utils import decode_predictions, preprocessing

__all__ = ["Xception", "decode_predictions", "preprocess_input"]

_norm = functools.partial(norm, last=-1)
# Filters of the two separable convolutions of a block that halves the sizes.
_HALVING = {2: (128, 128), 3: (256, 256), 4: (728, 728), 13: (728, 1024)}


def _separable(x: Any, filters: int, name: str) -> Any:
    x = layers.SeparableConv2D(filters, 3, padding="same", use_bias=False, name=name)(x)
    return _norm(x, f"{name}_bn")


def _body(x: Any, net: SimpleNamespace) -> Any:
    for i, (filters, strides) in enumerate(((32, 2), (64, 1)), 1):
        name = f"block1_conv{i}"
        x = layers.Conv2D(filters, 3, strides, use_bias=False, name=name)(x)
        x = relu(_norm(x, f"{name}_bn"), f"{name}_act")
    for i in range(2, 14):
        shortcut, halving = x, i in _HALVING
        widths = _HALVING.get(i, (728, 728, 728))
        if halving:
            shortcut = layers.Conv2D(widths[-1], 1, 2, padding="same", use_bias=False)(x)
            shortcut = _norm(shortcut)
        for j, filters in enumerate(widths, 1):
            name = f"block{i}_sepconv{j}"
            if (i, j) != (2, 1):
                x = relu(x, f"{name}_act")
            x = _separable(x, filters, name)
        if halving:
            x = layers.MaxPooling2D(3, strides=2, padding="same", name=f"block{i}_pool")(x)
        x = layers.add([x, shortcut])
    for i, filters in enumerate((1536, 2048), 1):
        name = f"block14_sepconv{i}"
        x = relu(_separable(x, filters, name), f"{name}_act")
    return head(x, net)


Xception = constructor(
    "Xception",
    _body,
    f"{TENSORFLOW}/xception/xception_weights_tf_dim_ordering_tf_kernels{{top}}.h5",
    name="xception",
    size=299,
    least=71,
)
preprocess_input = preprocessing("tf")

publish(globals())
