"""InceptionResNetV2: Inception branches with residual connections."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from cdl import layers
from cdl._common.public_names import publish
from cdl._configs.serialization import register_public
from cdl.applications.common import TENSORFLOW, channel_axis, constructor, head, norm
from cdl.applications.imagenet_utils import decode_predictions, preprocessing

__all__ = ["InceptionResNetV2", "decode_predictions", "preprocess_input"]

# The convolutions of each branch: filters, kernel, strides, padding.
_BLOCKS: dict[str, Any] = {
    "block35": [[(32, 1)], [(32, 1), (32, 3)], [(32, 1), (48, 3), (64, 3)]],
    "block17": [[(192, 1)], [(128, 1), (160, [1, 7]), (192, [7, 1])]],
    "block8": [[(192, 1)], [(192, 1), (224, [1, 3]), (256, [3, 1])]],
    "mixed_5b": [[(96, 1)], [(48, 1), (64, 5)], [(64, 1), (96, 3), (96, 3)]],
    "mixed_6a": [[(384, 3, 2, "valid")], [(256, 1), (256, 3), (384, 3, 2, "valid")]],
    "mixed_7a": [
        [(256, 1), (384, 3, 2, "valid")],
        [(256, 1), (288, 3, 2, "valid")],
        [(256, 1), (288, 3), (320, 3, 2, "valid")],
    ],
}


class CustomScaleLayer(layers.Layer):
    """Sum of the first input and the second one times a constant.

    Args:
        scale: the constant.
    """

    def __init__(self, scale: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = scale

    def call(self, inputs: Any) -> Any:
        return inputs[0] + inputs[1] * self.scale

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale}


register_public("keras.src.applications.inception_resnet_v2", CustomScaleLayer)


def _conv(
    x: Any, filters: int, kernel: Any, strides: int = 1, padding: str = "same", name: Any = None
) -> Any:
    x = layers.Conv2D(filters, kernel, strides, padding=padding, use_bias=False, name=name)(x)
    x = norm(x, name and f"{name}_bn", scale=False)
    return layers.Activation("relu", name=name and f"{name}_ac")(x)


def _branches(x: Any, kind: str, name: str, pool: Any = None) -> Any:
    tensors = []
    for branch in _BLOCKS[kind]:
        y = x
        for each in branch:
            y = _conv(y, *each)
        tensors.append(y)
    if pool is not None:
        y = pool(x)
        tensors.append(_conv(y, 64, 1) if kind == "mixed_5b" else y)
    return layers.Concatenate(axis=channel_axis(), name=name)(tensors)


def _block(x: Any, scale: float, kind: str, i: int, active: bool = True) -> Any:
    name = f"{kind}_{i}"
    up = _branches(x, kind, f"{name}_mixed")
    channels = x.shape[channel_axis()]
    up = layers.Conv2D(channels, 1, padding="same", name=f"{name}_conv")(up)
    x = CustomScaleLayer(scale)([x, up])
    return layers.Activation("relu", name=f"{name}_ac")(x) if active else x


def _body(x: Any, net: SimpleNamespace) -> Any:
    x = _conv(_conv(x, 32, 3, 2, "valid"), 32, 3, padding="valid")
    x = layers.MaxPooling2D(3, strides=2)(_conv(x, 64, 3))
    x = _conv(_conv(x, 80, 1, padding="valid"), 192, 3, padding="valid")
    x = layers.MaxPooling2D(3, strides=2)(x)
    average = layers.AveragePooling2D(3, strides=1, padding="same")
    x = _branches(x, "mixed_5b", "mixed_5b", average)
    for i in range(10):
        x = _block(x, 0.17, "block35", i + 1)
    x = _branches(x, "mixed_6a", "mixed_6a", layers.MaxPooling2D(3, strides=2))
    for i in range(20):
        x = _block(x, 0.1, "block17", i + 1)
    x = _branches(x, "mixed_7a", "mixed_7a", layers.MaxPooling2D(3, strides=2))
    for i in range(9):
        x = _block(x, 0.2, "block8", i + 1)
    x = _block(x, 1.0, "block8", 10, active=False)
    return head(_conv(x, 1536, 1, name="conv_7b"), net)


_NAME = "inception_resnet_v2"
InceptionResNetV2 = constructor(
    "InceptionResNetV2",
    _body,
    f"{TENSORFLOW}/{_NAME}/{_NAME}_weights_tf_dim_ordering_tf_kernels{{top}}.h5",
    name=_NAME,
    size=299,
    least=75,
)
preprocess_input = preprocessing("tf")

publish(globals())
