"""Types that signatures of layers name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self, TypedDict, Unpack

from numpy.typing import NDArray

from cdl._configs.identifiers import Identifier
from cdl._ir.lowering import Lowering
from cdl._ir.program import Value
from cdl._tracing.keras_tensor import KerasTensor
from cdl._tracing.variable import Variable
from cdl.layers.shapes import Shape

__all__ = [
    "CommonArguments", "Identifier", "KerasTensor", "LayerArguments", "Lowering", "NDArray",
    "Self", "Shape", "Unpack", "Value", "Variable",
]  # fmt: skip


class CommonArguments(TypedDict, total=False):
    """Arguments that every layer takes; see `Layer`."""

    trainable: bool
    dtype: Any
    autocast: bool
    name: str | None
    input_shape: Sequence[int | None] | None
    input_dim: int | None


class LayerArguments(CommonArguments, total=False):
    """Arguments that every layer takes, and the activity regularizer."""

    activity_regularizer: Any
