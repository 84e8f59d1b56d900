"""Tensors of sizes, such as `concatenate([expand_dims(shape(x)[0], -1), [1, 1]], 0)`.

The batch size has no value while tracing, but a tensor made of it and of integers can still be the
shape of another one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cdl import tree
from cdl._tracing.keras_tensor import KerasTensor, SymbolicBatch
from cdl._tracing.lowered_tensor import LoweredTensor


def sizes_in(x: Any) -> Any:
    """Size, or tuple of sizes, that x holds; None if it holds anything else.

    Args:
        x: a tensor of any kind, a number, or a list of them.
    """
    if isinstance(x, LoweredTensor):
        return x.spec.sizes
    if isinstance(x, KerasTensor):
        return x.sizes
    if isinstance(x, SymbolicBatch) or type(x) is int:
        return x
    if isinstance(x, (np.ndarray, np.generic)):
        whole = x.dtype.kind in "iu" and x.ndim < 2
        return (tuple(x.tolist()) if x.ndim else int(x)) if whole else None
    if isinstance(x, (list, tuple)):
        found = tuple(map(sizes_in, x))
        return None if any(each is None for each in found) else found
    return None


def _expanded(x: Any) -> Any:
    size = sizes_in(x)
    return None if size is None or isinstance(size, tuple) else (size,)


def _stacked(xs: Any) -> Any:
    sizes = sizes_in(xs)
    return sizes if sizes and not any(isinstance(each, tuple) for each in sizes) else None


def _concatenated(xs: Any) -> Any:
    sizes = sizes_in(xs)
    if not sizes or not all(isinstance(each, tuple) for each in sizes):
        return None
    return tuple(size for each in sizes for size in each)


_RULES = {
    "concatenate": _concatenated,
    "convert_to_tensor": sizes_in,
    "expand_dims": _expanded,
    "stack": _stacked,
}


def keep_sizes(name: str, args: tuple[Any, ...], result: Any) -> Any:
    """Result of an operation with the sizes that it holds.

    Args:
        args: the arguments of the call; the first one counts.
        result: symbolic.
    """
    rule = _RULES.get(name)
    if rule is None or not any(map(_has_batch, tree.flatten(args[:1]))):
        return result
    spec = result.spec if isinstance(result, LoweredTensor) else result
    if isinstance(spec, KerasTensor):
        spec.sizes = rule(args[0])
    return result


def _has_batch(leaf: Any) -> bool:
    return isinstance(leaf, SymbolicBatch) or (
        isinstance(leaf, (KerasTensor, LoweredTensor)) and sizes_in(leaf) is not None
    )
