"""Pictures by matplotlib, without Graphviz."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Sequence
from typing import Any

from cdl._common.optional_imports import needed
from cdl.utils.drawing.contents import Arrow, Block
from cdl.utils.drawing.geometry import Box, Layout, Point
from cdl.utils.drawing.graphviz import HEADER
from cdl.utils.drawing.layout import lay_out

_FONT = 10  # points
_LINE = 0.24  # inches from one line of a text to the next
_MARGIN = 0.1  # beside a text, and around the picture
_HEAD, _HALF = 0.11, 0.04  # the length of an arrow's head, and half its width
# Metadata left out, so that a model always gives the same file.
_DATES = {"svg": "Date", "svgz": "Date", "pdf": "CreationDate"}


def figure_of(blocks: Sequence[Block], arrows: Sequence[Arrow], rankdir: str, curved: bool) -> Any:
    """Matplotlib figure of a layout.

    Args:
        blocks: what is in boxes and frames.
        arrows: from box to box.
        rankdir: where they point.
        curved: whether they are round where they turn aside.

    Raises:
        ImportError: there is no matplotlib.
    """
    figures = needed("matplotlib.figure", "plot", "plot_model without Graphviz")
    layout = lay_out([_sized(block) for block in blocks], arrows, rankdir)
    width, height = layout.width + 2 * _MARGIN, layout.height + 2 * _MARGIN
    figure = figures.Figure(figsize=(width, height))
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    ax.set_xlim(-_MARGIN, width - _MARGIN)
    ax.set_ylim(height - _MARGIN, -_MARGIN)
    for block in blocks:
        _draw_block(ax, block, layout)
    for corners in layout.paths.values():
        _draw_arrow(ax, corners, curved, rankdir in ("LR", "RL"))
    return figure


def save(figure: Any, path: str | os.PathLike[str], form: str, dpi: int) -> None:
    """Write a figure to a file; its PNG, SVG and PDF are reproducible."""
    from matplotlib import rc_context

    undated = {_DATES[form]: None} if form in _DATES else None
    with rc_context({"svg.hashsalt": "cdl"}):  # without it, identifiers are random
        figure.savefig(path, dpi=dpi, format=form, metadata=undated)


def _sized(block: Block) -> Box:
    """Box with room for its text; of a frame, room for the label."""
    from matplotlib.textpath import TextPath

    lines = block.lines[:1] if block.within else block.lines
    widths = [TextPath((0, 0), line, size=_FONT).get_extents().width / 72 for line in lines]
    within = tuple(map(_sized, block.within))
    return Box(block.key, max(widths) + 2 * _MARGIN, _LINE * len(lines), within)


def _draw_block(ax: Any, block: Block, layout: Layout) -> None:
    """Draw a table of its lines; or a frame with its contents."""
    from matplotlib.patches import Rectangle

    if block.within:
        label, (x, y, width, height) = layout.labels[block.key], layout.frames[block.key]
        ax.add_patch(Rectangle((x, y), width, height, fill=False, linestyle="--", linewidth=0.8))
        _write(ax, label.x + label.width / 2, label.y + label.height / 2, block.lines[0])
        for each in block.within:
            _draw_block(ax, each, layout)
        return
    x, y, width, height = layout.boxes[block.key]
    row = height / len(block.lines)
    for i, line in enumerate(block.lines):
        color = "white" if i else HEADER
        ax.add_patch(
            Rectangle(
                (x, y + i * row), width, row, facecolor=color, edgecolor="black", linewidth=0.8
            )
        )
        _write(ax, x + width / 2, y + (i + 0.5) * row, line)


def _write(ax: Any, x: float, y: float, text: str) -> None:
    ax.text(x, y, text, ha="center", va="center_baseline", fontsize=_FONT, parse_math=False)


def _draw_arrow(ax: Any, corners: Sequence[Point], curved: bool, sideways: bool) -> None:
    """Draw a line with a head at the last corner."""
    from matplotlib.patches import PathPatch, Polygon
    from matplotlib.path import Path

    (x, y), (x_tip, y_tip) = corners[-2:]
    length = math.hypot(x_tip - x, y_tip - y)
    dx, dy = (x_tip - x) / length, (y_tip - y) / length
    x, y = x_tip - _HEAD * dx, y_tip - _HEAD * dy
    head = [(x_tip, y_tip), (x - _HALF * dy, y + _HALF * dx), (x + _HALF * dy, y - _HALF * dx)]
    points, codes = [corners[0]], [Path.MOVETO]
    for (x1, y1), (x2, y2) in itertools.pairwise([*corners[:-1], (x, y)]):
        if curved and x1 != x2 and y1 != y2:
            middle = (x1 + x2) / 2, (y1 + y2) / 2
            if sideways:
                points += [(middle[0], y1), (middle[0], y2)]
            else:
                points += [(x1, middle[1]), (x2, middle[1])]
            codes += [Path.CURVE4] * 3
        else:
            codes.append(Path.LINETO)
        points.append((x2, y2))
    ax.add_patch(PathPatch(Path(points, codes), fill=False, linewidth=0.9, capstyle="butt"))
    ax.add_patch(Polygon(head, closed=True, facecolor="black", linewidth=0, zorder=2))
