"""Quantization of layers, in two steps: all that can fail, then the change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cdl.quantizers.quantization_config import QuantizationConfig


def prepared(
    layer: Any, mode: Any, config: QuantizationConfig, type_check: bool
) -> Callable[[], None]:
    """Function that replaces a layer's weights, after all that can fail has been done.

    Raises:
        ValueError: as `Layer.quantize`.
        NotImplementedError: likewise.
    """
    name = type(layer).__name__
    what = f"Layer '{layer.name}' (of type '{name}')"
    if not layer.built:
        raise ValueError(f"Cannot quantize a layer that isn't yet built. {what} is not built.")
    if layer._is_quantized:
        raise ValueError(
            f"{what} is already quantized with dtype_policy='{layer.dtype_policy.name}'. "
            f"Received: mode={mode}"
        )
    replacement: Callable[[], None] | None = layer._quantizing(config, type_check)
    if replacement is None:
        raise NotImplementedError(f"Layer {name} does not have a `quantize` method implemented.")
    return replacement
