"""Variables that calls of layers change."""

from __future__ import annotations

from typing import Any


def moved_variables(layer: Any, only_read: bool = False) -> list[Any]:
    """Variables of a layer and of the layers within that calls may change, each once.

    They are moving averages, counts, states between batches: what is never trained.

    Args:
        only_read: whether those alone are wanted that such a call reads too.
    """
    layers = [each for each in layer._flatten_layers() if each._reads_moved or not only_read]
    found = [each for part in layers for each in part._own_moved()]
    return list({id(each): each for each in found}.values())
