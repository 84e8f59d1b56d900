"""Einsum, by permutations, products and sums."""

from __future__ import annotations

from math import prod
from typing import Any

from numpy.typing import ArrayLike

from cdl._tracing.operation import operation
from cdl.ops.arrays import shape_of
from cdl.ops.numpy.arithmetic import multiply
from cdl.ops.numpy.diagonals import diagonal
from cdl.ops.numpy.products import matmul, truths
from cdl.ops.numpy.reductions import sum as total
from cdl.ops.numpy.shapes import expand_dims, reshape, transpose


def _parsed(subscripts: str, shapes: list[tuple[Any, ...]]) -> tuple[list[str], str]:
    """Letters of each operand and of the result; `...` become letters that are free.

    ValueError if the subscripts do not fit the operands.
    """
    left, arrow, result = subscripts.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(shapes):
        raise ValueError(f"einsum: subscripts must name {len(shapes)} operands, got {subscripts!r}")
    free = [c for c in "ZYXWVUTSRQPONMLKJIHGFEDCBA" if c not in subscripts]
    longest = 0
    found = []
    for term, shape in zip(terms, shapes, strict=True):
        n = len(shape) - len(term.replace("...", ""))
        if n < 0 or ("..." not in term and n):
            raise ValueError(
                f"einsum: subscripts {term!r} must name the axes of an operand of shape {shape}"
            )
        longest = max(longest, n)
        found.append(term.replace("...", "".join(reversed(free[:n]))))
    dots = "".join(reversed(free[:longest]))
    if not arrow:
        letters = "".join(found)
        result = dots + "".join(
            sorted(c for c in set(letters) if letters.count(c) == 1 and c not in dots)
        )
    return found, result.replace("...", dots)


def _check_sizes(subscripts: str, terms: list[str], shapes: list[tuple[Any, ...]]) -> None:
    """Check that a letter's axes have one size, or 1; ValueError."""
    sizes: dict[str, set[Any]] = {}
    for term, shape in zip(terms, shapes, strict=True):
        for letter, size in zip(term, shape, strict=True):
            sizes.setdefault(letter, set()).add(size)
    for letter, found in sizes.items():
        if len(found - {1, None}) > 1:
            raise ValueError(
                f"einsum: axes of one letter must have one size, got {sorted(found - {1, None})} "
                f"for {letter!r} in {subscripts!r} of shapes {' and '.join(map(str, shapes))}"
            )


def _aligned(x: ArrayLike, letters: str, order: str) -> Any:
    """Operand x with its axes in an order, and axes of size 1 for missing letters."""
    present = [c for c in order if c in letters]
    x = transpose(x, [letters.index(c) for c in present])
    for place, c in enumerate(order):
        if c not in letters:
            x = expand_dims(x, place)
    return x


def _without_repeats(x: ArrayLike, letters: str) -> tuple[Any, str]:
    """Diagonal where a letter stands twice."""
    for c in dict.fromkeys(letters):
        while letters.count(c) > 1:
            first = letters.index(c)
            second = letters.index(c, first + 1)
            x = diagonal(x, 0, first, second)
            letters = letters[:first] + letters[first + 1 : second] + letters[second + 1 :] + c
    return x, letters


def _pair(a: ArrayLike, la: str, b: ArrayLike, lb: str, kept: str) -> tuple[Any, str]:
    """Sum of products over the letters of both that are not kept."""
    a, la = _summed(a, la, lb + kept)
    b, lb = _summed(b, lb, la + kept)
    batch = [c for c in la if c in lb and c in kept]
    over = [c for c in la if c in lb and c not in kept]
    left = [c for c in la if c not in lb]
    right = [c for c in lb if c not in la]
    sizes = dict(zip(la + lb, shape_of(a) + shape_of(b), strict=True))
    if not over or any(
        getattr(x, "rows_per_sample", 0) and n[0] in over for x, n in ((a, la), (b, lb))
    ):
        # nothing to sum, or samples, over which only `sum` can
        first = [n[0] for x, n in ((a, la), (b, lb)) if getattr(x, "rows_per_sample", 0)][:1]
        order = "".join(dict.fromkeys([*first, *batch, *left, *right, *over]))
        y = multiply(_aligned(a, la, order), _aligned(b, lb, order))
        return _summed(y, order, kept)
    if getattr(b, "rows_per_sample", 0) and lb[0] in right:  # the samples lead the result
        a, la, b, lb, left, right = b, lb, a, la, right, left
    x = _merged(a, la, [batch, left, over], sizes)
    y = _merged(b, lb, [batch, over, right], sizes)
    order = "".join([*batch, *left, *right])
    z = reshape(matmul(x, y), [_size(sizes[c]) for c in order])
    return z, order


def _size(n: int) -> Any:
    return -1 if n is None else n


def _merged(x: ArrayLike, letters: str, groups: list[list[str]], sizes: dict[str, Any]) -> Any:
    """Operand x with the axes of the first group in front, and one axis for each other group."""
    order = [c for group in groups for c in group]
    x = transpose(x, [letters.index(c) for c in order])
    several = [(-1 if None in map(sizes.get, g) else prod(sizes[c] for c in g)) for g in groups[1:]]
    return reshape(x, [*(_size(sizes[c]) for c in groups[0]), *several])


def _summed(x: ArrayLike, letters: str, kept: str) -> tuple[Any, str]:
    """Operand x summed over the axes that nothing else has."""
    gone = tuple(i for i, c in enumerate(letters) if c not in kept)
    if gone:
        x = total(x, gone)
    return x, "".join(c for c in letters if c in kept)


@operation()
def einsum(subscripts: str, *operands: Any) -> Any:
    """Einstein summation by a formula such as "bij,bjk->bik".

    Args:
        subscripts: letters for the axes of each operand, and, behind "->", for those of the
            result; without an arrow it has those that stand once, in alphabetical order. `...`
            stands for axes that are not named.
        operands: arrays.

    Raises:
        ValueError: the letters do not fit the shapes.
    """
    shapes = [shape_of(x) for x in operands]
    terms, result = _parsed(subscripts, shapes)
    _check_sizes(subscripts, terms, shapes)
    pairs = [_without_repeats(x, term) for x, term in zip(operands, terms, strict=True)]
    y, letters = pairs[0]
    for i, (x, term) in enumerate(pairs[1:], 2):
        y, letters = _pair(y, letters, x, term, result + "".join(t for _, t in pairs[i:]))
    y, letters = _summed(y, letters, result)
    y = truths(y, *operands)
    return transpose(y, [letters.index(c) for c in result])
