"""Variables that calls of layers change."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cdl.layers.layer import Layer


def moved_variables(owners: Iterable[Any], only_read: bool = False) -> list[Any]:
    """Variables of layers, and of the layers within, that calls may change, each once.

    They are moving averages, counts, states between batches: what is never trained. Losses and
    other owners of calls have none.

    Args:
        only_read: whether those alone are wanted that such a call reads too.
    """
    layers = [e for owner in owners if isinstance(owner, Layer) for e in owner._flatten_layers()]
    parts = [each for each in layers if each._reads_moved or not only_read]
    found = [each for part in parts for each in part._own_moved()]
    return list({id(each): each for each in found}.values())
