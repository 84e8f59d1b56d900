"""Types of the common arguments of layers, for type checkers and editors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict


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
