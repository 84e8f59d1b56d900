"""InceptionV3: branches of convolutions of several sizes, side by side."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from cdl import layers
from cdl._common.public_names import publish
from cdl.applications.common import TENSORFLOW, channel_axis, constructor, head, norm, relu
from cdl.applications.imagenet_utils import decode_predictions, preprocessing

__all__ = ["InceptionV3", "decode_predictions", "preprocess_input"]


def conv(
    x: Any, filters: int, height: int, width: int, strides: int = 1, padding: str = "same"
) -> Any:
    """Convolution, batch normalization and ReLU."""
    x = layers.Conv2D(filters, (height, width), strides, padding=padding, use_bias=False)(x)
    return relu(norm(x, scale=False))


def _chain(x: Any, *convs: Any) -> Any:
    for each in convs:
        x = conv(x, *each)
    return x


def _mixed(name: str | None, *branches: Any) -> Any:
    return layers.concatenate(list(branches), axis=channel_axis(), name=name)


def _averaged(x: Any, filters: int) -> Any:
    return conv(layers.AveragePooling2D(3, strides=1, padding="same")(x), filters, 1, 1)


def _body(x: Any, net: SimpleNamespace) -> Any:
    x = _chain(x, (32, 3, 3, 2, "valid"), (32, 3, 3, 1, "valid"), (64, 3, 3))
    x = layers.MaxPooling2D(3, strides=2)(x)
    x = _chain(x, (80, 1, 1, 1, "valid"), (192, 3, 3, 1, "valid"))
    x = layers.MaxPooling2D(3, strides=2)(x)
    for i, filters in enumerate((32, 64, 64)):
        tensors = [
            _chain(x, (64, 1, 1)),
            _chain(x, (48, 1, 1), (64, 5, 5)),
            _chain(x, (64, 1, 1), (96, 3, 3), (96, 3, 3)),
            _averaged(x, filters),
        ]
        x = _mixed(f"mixed{i}", *tensors)
    tensors = [
        _chain(x, (384, 3, 3, 2, "valid")),
        _chain(x, (64, 1, 1), (96, 3, 3), (96, 3, 3, 2, "valid")),
        layers.MaxPooling2D(3, strides=2)(x),
    ]
    x = _mixed("mixed3", *tensors)
    for i, n in enumerate((128, 160, 160, 192), 4):
        tensors = [
            _chain(x, (192, 1, 1)),
            _chain(x, (n, 1, 1), (n, 1, 7), (192, 7, 1)),
            _chain(x, (n, 1, 1), (n, 7, 1), (n, 1, 7), (n, 7, 1), (192, 1, 7)),
            _averaged(x, 192),
        ]
        x = _mixed(f"mixed{i}", *tensors)
    tensors = [
        _chain(x, (192, 1, 1), (320, 3, 3, 2, "valid")),
        _chain(x, (192, 1, 1), (192, 1, 7), (192, 7, 1), (192, 3, 3, 2, "valid")),
        layers.MaxPooling2D(3, strides=2)(x),
    ]
    x = _mixed("mixed8", *tensors)
    for i in range(2):
        one = conv(x, 320, 1, 1)
        three = conv(x, 384, 1, 1)
        three = _mixed(f"mixed9_{i}", conv(three, 384, 1, 3), conv(three, 384, 3, 1))
        twice = _chain(x, (448, 1, 1), (384, 3, 3))
        twice = _mixed(None, conv(twice, 384, 1, 3), conv(twice, 384, 3, 1))
        x = _mixed(f"mixed{9 + i}", one, three, twice, _averaged(x, 192))
    return head(x, net)


InceptionV3 = constructor(
    "InceptionV3",
    _body,
    f"{TENSORFLOW}/inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels{{top}}.h5",
    name="inception_v3",
    size=299,
    least=75,
)
preprocess_input = preprocessing("tf")

publish(globals())
