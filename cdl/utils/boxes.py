"""boxes.py - boxes and arrows, drawn by matplotlib where Graphviz is not there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

from cdl._extras import needed


class Box(NamedTuple):
    """A layer: what stands in its box, and what within it."""

    key: str
    lines: tuple[str, ...]
    within: tuple[Box, ...] = ()

    @property
    def first(self) -> str:
        """The key of the box at which arrows to it end."""
        return self.within[0].first if self.within else self.key

    @property
    def last(self) -> str:
        """The key of the box at which arrows from it begin."""
        return self.within[-1].last if self.within else self.key


def draw(drawing: Any, path: str | os.PathLike[str], form: str) -> None:
    """Draw boxes in rows by their longest way from an input."""
    figures = needed("matplotlib.figure", "plot", "plot_model without Graphviz")
    boxes = [inner for box in drawing.boxes for inner in leaves(box)]
    rows = rows_of(boxes, drawing.arrows)
    width = 0.11 * max(len(line) for box in boxes for line in box.lines) + 0.4
    height = 0.25 * max(len(box.lines) for box in boxes) + 0.2
    turned = drawing.rankdir in ("LR", "RL")
    across, along = (height + 0.3, width + 0.6) if turned else (width + 0.3, height + 0.5)
    most = max(len(row) for row in rows)
    size = (along * len(rows), across * most) if turned else (across * most, along * len(rows))
    figure = figures.Figure(figsize=size)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    ax.set_xlim(0, size[0])
    ax.set_ylim(0, size[1])
    places = {}
    for r, row in enumerate(rows):
        for c, box in enumerate(row):
            a, b = across * (c + 0.5 + (most - len(row)) / 2), along * (r + 0.5)
            x, y = (b, a) if turned else (a, b)
            places[box.key] = (
                size[0] - x if drawing.rankdir == "RL" else x,
                y if drawing.rankdir == "BT" else size[1] - y,
            )
    frame = {"boxstyle": "square,pad=0.4", "facecolor": "white", "edgecolor": "black"}
    for box in boxes:
        ax.text(*places[box.key], "\n".join(box.lines), ha="center", va="center", bbox=frame,
                fontsize=10, zorder=2)  # fmt: skip
    for start, end in drawing.arrows:
        style = {"arrowstyle": "-|>", "shrinkA": 18, "shrinkB": 22, "color": "black"}
        ax.annotate("", places[end], places[start], arrowprops=style, zorder=1)
    figure.savefig(path, dpi=drawing.dpi, format=form)


def leaves(box: Box) -> Iterator[Box]:
    """The boxes that have nothing in them."""
    if not box.within:
        yield box
    for each in box.within:
        yield from leaves(each)


def rows_of(boxes: list[Box], arrows: list[tuple[str, str]]) -> list[list[Box]]:
    """Boxes by the number of arrows on the longest way to them."""
    depth = {box.key: 0 for box in boxes}
    for _ in boxes:
        before = dict(depth)
        for start, end in arrows:
            depth[end] = max(depth[end], min(depth[start] + 1, len(boxes)))
        if depth == before:
            break
    found: dict[int, list[Box]] = {}
    for box in boxes:
        found.setdefault(depth[box.key], []).append(box)
    return [found[level] for level in sorted(found)]
