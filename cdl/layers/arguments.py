"""What layers take beside their own arguments, for type checkers and editors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict


class CommonArguments(TypedDict, total=False):
    """Those that every layer takes; see `Layer`."""

    trainable: bool
    dtype: Any
    autocast: bool
    name: str | None
    input_shape: Sequence[int | None] | None
    input_dim: int | None


class LayerArguments(CommonArguments, total=False):
    """The same, and the penalty that some layers have among their own arguments."""

    activity_regularizer: Any
