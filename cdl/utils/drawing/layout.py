"""Layered layout of graphs: no two boxes overlap, no arrow crosses a box."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cdl.utils.drawing.geometry import Box, Layout, Point, Rect
from cdl.utils.drawing.level import Link, place


def lay_out(boxes: Sequence[Box], arrows: Sequence[tuple[str, str]], rankdir: str) -> Layout:
    """Place boxes and arrows; equal ones always alike.

    Args:
        boxes: all of them, with their sizes.
        arrows: pairs of keys of boxes that are no frames, each pair once.
        rankdir: where arrows point: "TB" downwards, "BT" upwards, "LR" to the right, "RL" to the
            left.
    """
    turned = rankdir in ("LR", "RL")
    links = [Link(i, start, end) for i, (start, end) in enumerate(arrows)]
    layout = place([_turned(box) for box in boxes] if turned else boxes, links)
    height = layout.height
    if rankdir in ("BT", "RL"):
        layout = _mapped(layout, lambda r: Rect(r.x, height - r.y - r.height, r.width, r.height))
    return _mapped(layout, lambda r: Rect(r.y, r.x, r.height, r.width)) if turned else layout


def _turned(box: Box) -> Box:
    return Box(box.key, box.height, box.width, tuple(map(_turned, box.within)))


def _mapped(layout: Layout, to: Callable[[Rect], Rect]) -> Layout:
    """Layout with each rectangle replaced by `to`; a point is one without a size."""

    def point(at: Point) -> Point:
        return to(Rect(*at, 0.0, 0.0))[:2]

    whole = to(Rect(0.0, 0.0, layout.width, layout.height))
    return Layout(
        whole.width,
        whole.height,
        {key: to(rect) for key, rect in layout.boxes.items()},
        {key: to(rect) for key, rect in layout.frames.items()},
        {key: to(rect) for key, rect in layout.labels.items()},
        {arrow: [point(at) for at in path] for arrow, path in layout.paths.items()},
    )
