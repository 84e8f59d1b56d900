"""get_source_inputs: the inputs of a symbolic tensor."""

from __future__ import annotations

from typing import Any

from cdl._tracing.keras_tensor import KerasTensor


def get_source_inputs(tensor: Any) -> Any:
    """Inputs from which a symbolic tensor is computed.

    Args:
        tensor: a `KerasTensor`; anything else is given back as it is.

    Returns:
        A list of the tensors of `Input`, each once, in the order in which the calls name them.
    """
    if not isinstance(tensor, KerasTensor):
        return tensor
    found: list[KerasTensor] = []
    seen: set[int] = set()
    to_do = [tensor]
    while to_do:
        each = to_do.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if each.node is None or not each.node.inputs:
            found.append(each)
        else:
            to_do += reversed(each.node.inputs)
    return found
