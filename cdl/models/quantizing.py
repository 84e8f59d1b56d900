"""What `Model.quantize` does: which layers it asks."""

from __future__ import annotations

import re
from typing import Any

from cdl._common.errors import warn
from cdl.quantizers.quantization_config import resolved


def quantize(model: Any, mode: Any, config: Any, filters: Any, type_check: bool) -> None:
    """Quantize the layers that the filters let through; warn of those that cannot be.

    Args:
        model: the model.
        mode: as in `Model.quantize`, as the others.
        config: likewise.
        filters: likewise.
        type_check: likewise.
    """
    if filters is not None and not (callable(filters) or isinstance(filters, (str, list, tuple))):
        raise ValueError(
            "The `filters` argument must be a regex string, a list of regex strings, or a "
            f"callable. Received: {type(filters)}"
        )
    config = resolved(mode, config)
    for layer in model._flatten_layers():
        if len(layer._flatten_layers()) > 1 or not _is_meant(layer, filters):
            continue
        try:
            layer.quantize(mode, type_check=type_check, config=config)
        except NotImplementedError as error:
            warn(str(error))


def _is_meant(layer: Any, filters: Any) -> bool:
    if filters is None:
        return True
    if callable(filters):
        return bool(filters(layer))
    patterns = [filters] if isinstance(filters, str) else filters
    return any(re.search(pattern, layer.name) for pattern in patterns)
