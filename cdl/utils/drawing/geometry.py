"""Geometry of drawings: boxes, rectangles and layouts, in inches."""

from __future__ import annotations

from typing import NamedTuple

Point = tuple[float, float]

STUB = 0.14  # how far an arrow runs straight from and to a box: its head has room there


class Box(NamedTuple):
    """Box to be placed, or a frame around others.

    Attributes:
        key: its name.
        width: of the box; of a frame's label.
        height: likewise.
        within: what is in a frame.
    """

    key: str
    width: float
    height: float
    within: tuple[Box, ...] = ()


class Rect(NamedTuple):
    """Rectangle: its corner of least x and y, and its size."""

    x: float
    y: float
    width: float
    height: float


class Layout(NamedTuple):
    """Positions of all boxes and arrows; x is to the right, y downwards.

    Attributes:
        width: of the whole.
        height: likewise.
        boxes: the rectangles of boxes, by key.
        frames: those of frames.
        labels: those of the frames' labels.
        paths: the corners of each arrow, by its number, from the border of the box where it begins
            to that of the box where it ends.
    """

    width: float
    height: float
    boxes: dict[str, Rect]
    frames: dict[str, Rect]
    labels: dict[str, Rect]
    paths: dict[int, list[Point]]
