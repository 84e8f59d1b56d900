"""Rearranging of named axes: split, permuted and joined by a pattern."""

from __future__ import annotations

import math
import re
from typing import Any

from numpy.typing import ArrayLike

from cdl._common.validation import expected
from cdl._tracing.operation import operation
from cdl.ops.core.tensors import shape
from cdl.ops.numpy.shapes import reshape, transpose

_SIDE = re.compile(r"[\w\s]*(\([\w\s]*\)[\w\s]*)*")


def _groups(pattern: str) -> list[list[str]]:
    """Names of each axis, several in brackets."""
    return [part.strip("()").split() for part in re.findall(r"\w+|\([^()]*\)", pattern)]


def _sizes(groups: list[list[str]], given: Any, lengths: dict[str, int]) -> dict[str, Any]:
    """Size of each name on the left side."""
    sizes: dict[str, Any] = {}
    for names, n in zip(groups, given, strict=True):
        known = {name: lengths[name] for name in names if name in lengths}
        left = [name for name in names if name not in lengths]
        product = math.prod(known.values())
        if len(left) > 1:
            raise ValueError(f"rearrange: give the length of all but one of {' '.join(names)}")
        if isinstance(n, int) and (n % product if left else n != product):
            raise ValueError(f"rearrange: ({' '.join(names)}) must fit an axis of {n}, got {known}")
        sizes.update(known)
        if left:
            sizes[left[0]] = n if product == 1 else n // product
    return sizes


@operation()
def rearrange(tensor: ArrayLike, pattern: str, **axes_lengths: int) -> Any:
    """Split, permute and join axes by a pattern, as einops writes it.

    Args:
        tensor: numbers.
        pattern: the names of its axes, "->", and those of the result's. Names in brackets are one
            axis, the last one running fastest: "b (h k) c -> b h (k c)".
        axes_lengths: how long the names in brackets on the left are; one of each axis may be left
            out.

    Raises:
        ValueError: names that do not stand once on both sides, or lengths that do not fit.
    """
    left, arrow, right = pattern.partition("->")
    before, after = _groups(left), _groups(right)
    names = [name for group in before for name in group]
    to = [name for group in after for name in group]
    if not all(map(_SIDE.fullmatch, (left, right))):
        raise expected("rearrange", "pattern", "names, alone or in brackets", pattern)
    if not arrow or len({*names}) != len(names) or sorted(names) != sorted(to):
        raise expected("rearrange", "pattern", "each name once on both sides of ->", pattern)
    given = shape(tensor)
    if len(given) != len(before):
        raise expected(
            "rearrange", "pattern", f"names for the {len(given)} axes of the tensor", pattern
        )
    unknown = sorted({*axes_lengths} - {*names})
    if unknown:
        raise expected("rearrange", "axes_lengths", f"for the names in {pattern!r}", unknown)
    sizes = _sizes(before, given, axes_lengths)
    if any(len(group) != 1 for group in before):
        tensor = reshape(tensor, tuple(sizes[name] for name in names))
    if to != names:
        tensor = transpose(tensor, tuple(names.index(name) for name in to))
    if any(len(group) != 1 for group in after):
        tensor = reshape(tensor, tuple(math.prod(sizes[n] for n in group) for group in after))
    return tensor
