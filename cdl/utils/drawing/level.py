"""One level of a drawing: boxes in ranks from top to bottom, and arrows between them.

A frame is a level by itself and then a box of the level around it; an arrow that begins or ends
within it passes its border at a port.

Within the space of a rank an arrow is vertical, and between two ranks there is no box: so no arrow
runs through one, also if what lies between ranks is drawn as a curve.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cdl.utils.drawing.columns import Columns, Step
from cdl.utils.drawing.geometry import STUB, Box, Layout, Point, Rect
from cdl.utils.drawing.ranks import forward_order, ranks_of, sort_ranks

_GAP = 0.12  # between the stubs of two ranks, at least
_SLANT = 0.2  # more of it for each inch that an arrow in it goes aside,
_FURTHEST = 6.0  # up to so many inches
_PORTS = 0.12  # from one arrow at a box to the next, at least
_WIDE_PORTS = 0.3  # the same where there is room
_BESIDE_BOX, _BESIDE_ARROW = 0.14, 0.07  # free to the left and to the right
_LOOP = 0.25  # what an arrow from a box to itself takes beside it
_PAD = 0.15  # within a frame, left and right
_STRAIGHT = (3.0, 1.0, 8.0)  # how much a piece should be vertical that has so many bends as ends


class Link(NamedTuple):
    """Arrow, or the part of one in a level.

    Attributes:
        arrow: its number.
        start: the key of the box where it begins; None if it comes in through the upper border.
        end: the key of the box where it ends; None if it goes out through the lower border.
    """

    arrow: int
    start: str | None
    end: str | None


@dataclass
class _Spot:
    """Item of a rank: a box, a port in the border of a frame, or a bend of an arrow."""

    rank: int
    width: float = 0.0
    height: float = 0.0
    beside: float = _BESIDE_ARROW
    loop: float = 0.0  # what an arrow from it to itself takes beside it
    is_bend: bool = False


def place(boxes: Sequence[Box], links: Sequence[Link], frame: Box | None = None) -> Layout:
    """Lay out a level.

    Args:
        boxes: what is in it.
        links: the arrows that have a part in it.
        frame: the one around it; None for the outermost level.
    """
    level = _Level(boxes, links)
    level.set_ranks(frame is not None)
    level.set_order()
    level.set_columns()
    level.set_rows(frame)
    return level.layout(frame)


class _Level:
    """Level while it is laid out; frames in it are laid out first."""

    def __init__(self, boxes: Sequence[Box], links: Sequence[Link]) -> None:
        self.boxes = boxes
        home: dict[str | None, int] = {key: i for i, box in enumerate(boxes) for key in _keys(box)}
        placed: list[Link] = []
        within: list[list[Link]] = [[] for _ in boxes]
        self.loops: list[tuple[int, int]] = []  # arrow, box
        for link in links:
            start, end = home.get(link.start), home.get(link.end)
            if start is None or start != end:
                placed.append(link)
            elif boxes[start].within:
                within[start].append(link)
            else:
                self.loops.append((link.arrow, start))
        pairs = [(home[a], home[b]) for _, a, b in placed if a is not None and b is not None]
        self.order = forward_order(len(boxes), pairs)
        turn = {box: n for n, box in enumerate(self.order)}
        self.flipped = {
            arrow
            for arrow, a, b in placed
            if a is not None and b is not None and turn[home[a]] > turn[home[b]]
        }
        self.links = [Link(n, b, a) if n in self.flipped else Link(n, a, b) for n, a, b in placed]
        self.ends = [(home.get(a), home.get(b)) for _, a, b in self.links]
        for (arrow, a, b), (upper, lower) in zip(self.links, self.ends, strict=True):
            if upper is not None and boxes[upper].within:
                within[upper].append(Link(arrow, a, None))
            if lower is not None and boxes[lower].within:
                within[lower].append(Link(arrow, None, b))
        self.inner = [
            place(box.within, parts, box) if box.within else None
            for box, parts in zip(boxes, within, strict=True)
        ]
        self.spots: list[_Spot] = []
        self.chains: list[list[Step]] = []  # of each link, from its upper end to its lower one

    def set_ranks(self, framed: bool) -> None:
        """Assign ranks to boxes, ports and bends to arrows; the first rank has ports only."""
        pairs = [(a, b) for a, b in self.ends if a is not None and b is not None]
        ranks = ranks_of(self.order, pairs)
        for box, inner, rank in zip(self.boxes, self.inner, ranks, strict=True):
            size = box if inner is None else inner
            self.spots.append(_Spot(rank + framed, size.width, size.height, _BESIDE_BOX))
        for _, i in self.loops:
            self.spots[i].loop = _LOOP
        last = 1 + max(spot.rank for spot in self.spots)
        for link, (a, b) in zip(self.links, self.ends, strict=True):
            upper = self._add(_Spot(0)) if a is None else a
            lower = self._add(_Spot(last)) if b is None else b
            between = range(self.spots[upper].rank + 1, self.spots[lower].rank)
            bends = [self._add(_Spot(rank, is_bend=True)) for rank in between]
            chain = [
                Step(i, j, _STRAIGHT[self.spots[i].is_bend + self.spots[j].is_bend])
                for i, j in itertools.pairwise([upper, *bends, lower])
            ]
            chain[0].begin = self._port(a, link.arrow, -1)
            chain[-1].end = self._port(b, link.arrow, 0)
            self.chains.append(chain)
        self.steps = [step for chain in self.chains for step in chain]
        self.ranks: list[list[int]] = [[] for _ in range(last + framed)]
        for i, spot in enumerate(self.spots):
            self.ranks[spot.rank].append(i)

    def _add(self, spot: _Spot) -> int:
        self.spots.append(spot)
        return len(self.spots) - 1

    def _port(self, box: int | None, arrow: int, end: int) -> float:
        """Distance right of a frame's middle at which an arrow crosses its border."""
        inner = None if box is None else self.inner[box]
        return 0.0 if inner is None else inner.paths[arrow][end][0] - inner.width / 2

    def set_order(self) -> None:
        """Sort the ranks, then the arrows at each box."""

        def part(spot: int, aside: float) -> float:
            return aside / self.spots[spot].width if aside else 0.0

        sort_ranks(
            self.ranks,
            [(s.upper, part(s.upper, s.begin), s.lower, part(s.lower, s.end)) for s in self.steps],
        )
        place = {i: n for rank in self.ranks for n, i in enumerate(rank)}
        down: list[list[Step]] = [[] for _ in self.boxes]
        up: list[list[Step]] = [[] for _ in self.boxes]
        for step in self.steps:
            if step.upper < len(self.boxes):
                down[step.upper].append(step)
            if step.lower < len(self.boxes):
                up[step.lower].append(step)
        for i, (spot, inner) in enumerate(zip(self.spots, self.inner, strict=False)):
            if inner is None:
                down[i].sort(key=lambda s: place[s.lower] + part(s.lower, s.end))
                up[i].sort(key=lambda s: place[s.upper] + part(s.upper, s.begin))
                downs, ups = _ports(down[i], spot.width), _ports(up[i], spot.width)
                for step, port in zip(down[i], downs, strict=True):
                    step.begin = port
                for step, port in zip(up[i], ups, strict=True):
                    step.end = port
                spot.width = max([spot.width, *(2 * (abs(port) + _PORTS) for port in downs + ups)])

    def set_columns(self) -> None:
        """Set the x of each spot's middle."""
        left = [spot.width / 2 + spot.beside for spot in self.spots]
        right = [x + spot.loop for x, spot in zip(left, self.spots, strict=True)]
        self.x = Columns(self.ranks, self.steps, left, right).x

    def set_rows(self, frame: Box | None) -> None:
        """Set the top and bottom of ranks; ports of a frame need no space, its label does."""
        gaps = [0.0 for _ in self.ranks]
        for s in self.steps:
            aside = abs(self.x[s.upper] + s.begin - self.x[s.lower] - s.end)
            above = self.spots[s.upper].rank
            gaps[above] = max(gaps[above], min(aside, _FURTHEST))
        self.rows: list[tuple[float, float]] = []
        y = 0.0 if frame is not None else -STUB
        for number, rank in enumerate(self.ranks):
            height = max((self.spots[i].height for i in rank), default=0.0) + 2 * STUB
            if frame is not None and number in (0, len(self.ranks) - 1):
                height = 0.0 if number else frame.height
            self.rows.append((y, y + height))
            y += height + _GAP + _SLANT * gaps[number]

    def layout(self, frame: Box | None) -> Layout:
        """Layout of the level, with x from 0."""
        spots = list(zip(self.spots, self.x, strict=True))
        bottom = self.rows[-1][1]
        left = min(x - spot.width / 2 for spot, x in spots)
        right = max(x + spot.width / 2 + spot.loop for spot, x in spots)
        if frame is None:
            found = Layout(right - left, bottom - STUB, {}, {}, {}, {})
        else:  # its label stands to the left of all ports
            ports = min((self.x[i] - _BESIDE_ARROW for i in self.ranks[0]), default=right)
            label = min(left, ports - frame.width)
            left, right = label - _PAD, max(right, label + frame.width) + _PAD
            found = Layout(right - left, bottom, {}, {}, {}, {})
            found.frames[frame.key] = Rect(0.0, 0.0, found.width, found.height)
            found.labels[frame.key] = Rect(_PAD, 0.0, frame.width, frame.height)
        self.x = [x - left for x in self.x]
        for i, (box, inner) in enumerate(zip(self.boxes, self.inner, strict=True)):
            rect = self._rect(i)
            if inner is None:
                found.boxes[box.key] = rect
                continue
            for mine, theirs in zip(found[2:5], inner[2:5], strict=True):
                mine.update(
                    (k, r._replace(x=r.x + rect.x, y=r.y + rect.y)) for k, r in theirs.items()
                )
            found.paths.update((arrow, self._within(i, arrow)) for arrow in inner.paths)
        for link, (a, b), chain in zip(self.links, self.ends, self.chains, strict=True):
            path = [*self._within(a, link.arrow), *self._bent(chain), *self._within(b, link.arrow)]
            path = [at for i, at in enumerate(path) if not i or at != path[i - 1]]
            found.paths[link.arrow] = path[::-1] if link.arrow in self.flipped else path
        for arrow, i in self.loops:
            found.paths[arrow] = self._around(i)
        return found

    def _rect(self, i: int) -> Rect:
        """Rectangle of a box, in the middle of its rank."""
        spot, (top, bottom) = self.spots[i], self._row(i)
        y = (top + bottom - spot.height) / 2
        return Rect(self.x[i] - spot.width / 2, y, spot.width, spot.height)

    def _within(self, i: int | None, arrow: int) -> list[Point]:
        """Part of an arrow inside a frame."""
        inner = None if i is None else self.inner[i]
        if i is None or inner is None:
            return []
        rect = self._rect(i)
        return [(x + rect.x, y + rect.y) for x, y in inner.paths[arrow]]

    def _bent(self, chain: list[Step]) -> list[Point]:
        """Corners of an arrow, downwards: vertical in each rank, bent only between them."""
        corners: list[Point] = []
        for step in chain:
            x, (top, bottom) = self.x[step.upper] + step.begin, self._row(step.upper)
            if step.upper < len(self.boxes):
                rect = self._rect(step.upper)
                top = rect.y + rect.height
            corners += [(x, top), (x, bottom)]
        last = chain[-1].lower
        x = self.x[last] + chain[-1].end
        return [*corners, (x, self._row(last)[0]), (x, self._rect(last).y)]

    def _around(self, i: int) -> list[Point]:
        """Corners of an arrow from a box to itself, to the right of it."""
        rect = self._rect(i)
        near, third = rect.x + rect.width, rect.height / 3
        above, below, far = rect.y + third, rect.y + 2 * third, near + _LOOP
        return [(near, below), (far, below), (far, above), (near, above)]

    def _row(self, i: int) -> tuple[float, float]:
        return self.rows[self.spots[i].rank]


def _keys(box: Box) -> Iterator[str]:
    """Keys of a box and of all boxes inside it."""
    yield box.key
    for each in box.within:
        yield from _keys(each)


def _ports(steps: Sequence[Step], width: float) -> list[float]:
    """Positions of arrow ends at a box, from its middle.

    The one that goes from box to box, if there is one such, has the middle.
    """
    direct = [i for i, step in enumerate(steps) if step.weight == _STRAIGHT[0]]
    middle = direct[0] if len(direct) == 1 else (len(steps) - 1) / 2
    most = max(middle, len(steps) - 1 - middle)
    apart = min(_WIDE_PORTS, max(_PORTS, width / 2 / (most + 1)))
    return [(i - middle) * apart for i in range(len(steps))]
