"""Ranks of a graph's boxes, so that arrows run from rank to rank and cross little.

What Sugiyama, Tagawa and Toda (1981) call a layered drawing, in its usual steps: circles are
broken, each box gets the rank of its longest way from a source, arrows across several ranks get a
bend in each, and the ranks are sorted by the mean places of their neighbours.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence

Pair = tuple[int, int]

_SWEEPS = 16  # through the ranks, down and up in turn; more changed none of the tests' graphs


def forward_order(count: int, pairs: Sequence[Pair]) -> list[int]:
    """Boxes 0 to `count - 1` so that arrows point forward; cycles start at their first box.

    Args:
        count: of boxes.
        pairs: the arrows; from a box to itself they do not matter.
    """
    below: list[list[int]] = [[] for _ in range(count)]
    waits = [0] * count  # for so many arrows
    for start, end in pairs:
        if start != end:
            below[start].append(end)
            waits[end] += 1
    order: list[int] = []
    left = list(range(count))
    while left:
        box = next((box for box in left if not waits[box]), left[0])
        left.remove(box)
        order.append(box)
        for other in below[box]:
            waits[other] -= 1
    return order


def ranks_of(order: Sequence[int], pairs: Sequence[Pair]) -> list[int]:
    """Rank of each box, from 0.

    It is the number of arrows on the longest way to the box. A box with more arrows from it than to
    it, such as an input, stands right above the first one that reads it.

    Args:
        order: the boxes, so that all arrows point forward.
        pairs: the arrows.
    """
    above: list[list[int]] = [[] for _ in order]
    below: list[list[int]] = [[] for _ in order]
    for start, end in pairs:
        above[end].append(start)
        below[start].append(end)
    rank = [0] * len(order)
    for box in order:
        rank[box] = max((rank[other] + 1 for other in above[box]), default=0)
    for box in reversed(order):
        if len(below[box]) > len(above[box]):
            rank[box] = min(rank[other] for other in below[box]) - 1
    return rank


def sort_ranks(ranks: list[list[int]], steps: Sequence[tuple[int, float, int, float]]) -> None:
    """Sort each rank so that few arrows cross.

    Args:
        ranks: the boxes and bends of each rank, in any order.
        steps: the pieces of arrows, each from a rank to the next: upper box, where on it the piece
            begins (between -0.5 and 0.5, 0 for its middle), lower box, and where it ends.
    """
    above: dict[int, list[tuple[int, float]]] = {box: [] for rank in ranks for box in rank}
    below: dict[int, list[tuple[int, float]]] = {box: [] for box in above}
    for upper, begin, lower, end in steps:
        above[lower].append((upper, begin))
        below[upper].append((lower, end))
    place = {box: float(i) for rank in ranks for i, box in enumerate(rank)}
    best = _crossings(ranks, below, place), [list(rank) for rank in ranks]
    for sweep in range(_SWEEPS):
        near = below if sweep % 2 else above
        for rank in reversed(ranks) if sweep % 2 else ranks:
            means = {box: _mean(box, near[box], place) for box in rank}
            rank.sort(key=means.__getitem__)
            place.update((box, float(i)) for i, box in enumerate(rank))
        found = _crossings(ranks, below, place)
        if found < best[0]:
            best = found, [list(rank) for rank in ranks]
    ranks[:] = best[1]


def _mean(box: int, near: list[tuple[int, float]], place: dict[int, float]) -> float:
    if not near:
        return place[box]
    return sum(place[other] + where for other, where in near) / len(near)


def _crossings(
    ranks: list[list[int]],
    below: dict[int, list[tuple[int, float]]],
    place: dict[int, float],
) -> int:
    """Number of crossings between arrow segments."""
    count = 0
    for rank in ranks:
        ends: list[float] = []
        for box in rank:
            new = sorted(place[lower] + where for lower, where in below[box])
            count += sum(len(ends) - bisect_left(ends, end + 1e-9) for end in new)
            for end in new:
                insort(ends, end)
    return count
