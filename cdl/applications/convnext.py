"""ConvNeXtTiny to ConvNeXtXLarge: convolutional nets in the form of transformers."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from cdl import layers, models
from cdl._common.public_names import publish
from cdl._configs.serialization import register_public
from cdl.applications import common
from cdl.applications.imagenet_utils import decode_predictions, preprocessing
from cdl.initializers import Constant

__all__ = [
    "ConvNeXtBase",
    "ConvNeXtLarge",
    "ConvNeXtSmall",
    "ConvNeXtTiny",
    "ConvNeXtXLarge",
    "decode_predictions",
    "preprocess_input",
]


class LayerScale(layers.Layer):
    """Scaling of the input by a weight per channel.

    Args:
        init_values: what the weights begin with.
        projection_dim: the number of channels.
    """

    def __init__(self, init_values: float, projection_dim: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.init_values, self.projection_dim = init_values, projection_dim

    def build(self, _: Any) -> None:
        start = Constant(self.init_values)
        self.gamma = self.add_weight(shape=(self.projection_dim,), initializer=start)

    def call(self, x: Any) -> Any:
        return x * self.gamma

    def get_config(self) -> dict[str, Any]:
        own = {"init_values": self.init_values, "projection_dim": self.projection_dim}
        return {**super().get_config(), **own}


register_public("keras.src.applications.convnext", LayerScale)


def _convnext(kind: str, depth: int, width: int) -> Callable[..., models.Model]:
    widths = [width << i for i in range(4)]

    def body(x: Any, net: SimpleNamespace) -> Any:
        name = net.name
        if net.include_preprocessing and net.input_shape[common.channel_axis() - 1] == 3:
            deviations = (0.229, 0.224, 0.225)
            x = layers.Normalization(
                mean=[each * 255 for each in (0.485, 0.456, 0.406)],
                variance=[(each * 255) ** 2 for each in deviations],
                name=f"{name}_prestem_normalization",
            )(x)
        steps = [_down(name, i, channels) for i, channels in enumerate(widths)]
        for i, (step, channels) in enumerate(zip(steps, widths, strict=True)):
            x = step(x)
            for j in range(depth if i == 2 else 3):
                x = _block(x, channels, f"{name}_stage_{i}_block_{j}")
        if not net.include_top:
            return layers.LayerNormalization(epsilon=1e-6)(common.pooled(x, net))
        x = layers.GlobalAveragePooling2D(name=f"{name}_head_gap")(x)
        x = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_head_layernorm")(x)
        active = net.classifier_activation
        return layers.Dense(net.classes, activation=active, name=f"{name}_head_dense")(x)

    own = common.COMMON.items()
    arguments = {"include_top": True, "include_preprocessing": True, **dict(own)}
    file = lambda net: f"{common.TENSORFLOW}/convnext/{net.name}{{top}}.h5"  # noqa: E731
    return common.constructor(
        f"ConvNeXt{kind}",
        body,
        file,
        name=f"convnext_{kind.lower()}",
        arguments=arguments,
        last_only=True,
    )


def _down(name: str, i: int, channels: int) -> Any:
    """Downsampling: the stem, or a step between stages."""
    part, number = ("downsampling", f"_{i - 1}") if i else ("stem", "")
    size = 2 if i else 4
    conv = layers.Conv2D(channels, size, strides=size, name=f"{name}_{part}_conv{number}")
    scale = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_{part}_layernorm{number}")
    whole = f"{name}_downsampling_block{number}" if i else f"{name}_stem"
    return models.Sequential([scale, conv] if i else [conv, scale], name=whole)


def _block(x: Any, channels: int, name: str) -> Any:
    y = layers.Conv2D(channels, 7, padding="same", groups=channels, name=f"{name}_depthwise_conv")(
        x
    )
    y = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_layernorm")(y)
    y = layers.Dense(4 * channels, name=f"{name}_pointwise_conv_1")(y)
    y = layers.Activation("gelu", name=f"{name}_gelu")(y)
    y = layers.Dense(channels, name=f"{name}_pointwise_conv_2")(y)
    y = LayerScale(1e-6, channels, name=f"{name}_layer_scale")(y)
    return x + layers.Activation("linear", name=f"{name}_identity")(y)


ConvNeXtTiny = _convnext("Tiny", 9, 96)
ConvNeXtSmall = _convnext("Small", 27, 96)
ConvNeXtBase = _convnext("Base", 27, 128)
ConvNeXtLarge = _convnext("Large", 27, 192)
ConvNeXtXLarge = _convnext("XLarge", 27, 256)
preprocess_input = preprocessing(None)

publish(globals())
