"""`Model.quantize`: integer weights of the layers that support them."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cdl._common.errors import warn
from cdl._common.overriding import overrides
from cdl.layers.quantizing import prepared
from cdl.quantizers.quantization_config import resolved

if TYPE_CHECKING:
    from cdl.models.model import Model


def quantize(
    model: Model,
    mode: Any = None,
    config: Any = None,
    filters: Any = None,
    *,
    type_check: bool = True,
    **kwargs: Any,
) -> None:
    """Replace weights of Dense, EinsumDense and Embedding by integers, for predictions.

    A layer that cannot is left as it is, with a warning.

    Args:
        mode: "int8", or "int4"; may be left out with a config.
        config: a `cdl.quantizers.QuantizationConfig`; None is that of the mode.
        filters: which layers: a regular expression that is found in a name, a list of such, or
            a function from a layer to whether it is meant; None: all.
        type_check: whether subclasses of these layers are left as they are.
        kwargs: nothing.

    Raises:
        ValueError: a layer that is not built or is quantized, a mode or config that is none,
            other filters or arguments.
        NotImplementedError: a mode of Keras's that cdl does not have.
    """
    if kwargs:
        raise ValueError(
            f"Unrecognized keyword arguments passed to {type(model).__name__}: {kwargs}"
        )
    if filters is not None and not (callable(filters) or isinstance(filters, (str, list, tuple))):
        raise ValueError(
            "The `filters` argument must be a regex string, a list of regex strings, or a "
            f"callable. Received: {type(filters)}"
        )
    config = resolved(mode, config)
    replacements: list[Callable[[], None]] = []
    left_out: list[str] = []
    for layer in model._flatten_layers():
        if len(layer._flatten_layers()) > 1 or not _is_meant(layer, filters):
            continue
        try:
            if overrides(type(layer), "quantize"):
                own = functools.partial(layer.quantize, mode, type_check=type_check)
                replacements.append(functools.partial(own, config=config))
            else:
                replacements.append(prepared(layer, mode, config, type_check))
        except NotImplementedError as error:
            left_out.append(str(error))
    for replace in replacements:  # all of them or, after an error, none
        try:
            replace()
        except NotImplementedError as error:  # of a class of the user's
            left_out.append(str(error))
    for text in left_out:
        warn(text)


def _is_meant(layer: Any, filters: Any) -> bool:
    if filters is None:
        return True
    if callable(filters):
        return bool(filters(layer))
    patterns = [filters] if isinstance(filters, str) else filters
    return any(re.search(pattern, layer.name) for pattern in patterns)
