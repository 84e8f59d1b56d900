"""VGG16: blocks of 3x3 convolutions, each half as wide as the one before."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from cdl import layers, models
from cdl._common.public_names import publish
from cdl.applications.common import TENSORFLOW, constructor, pooled, predictions
from cdl.applications.imagenet_utils import decode_predictions, preprocessing

__all__ = ["VGG16", "decode_predictions", "preprocess_input"]


def vgg(title: str, depths: tuple[int, ...]) -> Callable[..., models.Model]:
    """Create the constructor of a VGG with given numbers of convolutions in its blocks."""

    def body(x: Any, net: SimpleNamespace) -> Any:
        for i, depth in enumerate(depths):
            for j in range(depth):
                x = layers.Conv2D(
                    min(64 << i, 512),
                    3,
                    activation="relu",
                    padding="same",
                    name=f"block{i + 1}_conv{j + 1}",
                )(x)
            x = layers.MaxPooling2D(2, strides=2, name=f"block{i + 1}_pool")(x)
        if not net.include_top:
            return pooled(x, net)
        x = layers.Flatten(name="flatten")(x)
        for name in ("fc1", "fc2"):
            x = layers.Dense(4096, activation="relu", name=name)(x)
        return predictions(x, net)

    name = title.lower()
    file = f"{TENSORFLOW}/{name}/{name}_weights_tf_dim_ordering_tf_kernels{{top}}.h5"
    return constructor(title, body, file, name=name)


VGG16 = vgg("VGG16", (2, 2, 3, 3, 3))
preprocess_input = preprocessing("caffe")

publish(globals())
