"""HTML of notebooks and reports: tables, bars and curves, without scripts or other files.

Colours are those of the text around, so that they are seen on dark and on light ground.
"""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

CURVE = 160, 32  # width and height of a curve, in pixels
_LONGEST = 60  # characters of a value in a cell
_WEIGHT = ("weight", "shape", "dtype", "trainable", "lowest", "mean", "highest")


class Html(str):
    """A text that is HTML already."""


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; cells are texts, or `Html`."""

    def row(cells: Sequence[str], kind: str) -> str:
        made = (cell if isinstance(cell, Html) else escape(cell) for cell in cells)
        return "<tr>" + "".join(f"<{kind}>{cell}</{kind}>" for cell in made) + "</tr>"

    head, body = row(heads, "th"), "\n".join(row(cells, "td") for cells in rows)
    return f"<table>\n<thead>{head}</thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def of_layer(layer: Any) -> str:
    """A layer in a notebook: its weights, and the arguments that it was made with."""
    count = f"{layer.count_params():,} parameters" if layer.built else "not built"
    weights = table(_WEIGHT, map(_weight_row, layer.weights)) if layer.weights else ""
    return f"{_title(layer)}, {count}</p>\n{weights}\n{_arguments(layer)}"


def of_optimizer(optimizer: Any) -> str:
    """An optimizer in a notebook: the arguments that it was made with, as they are now."""
    steps = f"{int(optimizer.iterations):,} steps" if optimizer.built else "no steps yet"
    return f"{_title(optimizer)}, {steps}</p>\n{_arguments(optimizer)}"


def of_weight(weight: Any) -> str:
    """A weight in a notebook: its shape, and the range of its values."""
    return table(_WEIGHT, [_weight_row(weight)])


def _title(thing: Any) -> str:
    return f"<p><b>{escape(type(thing).__name__)}</b> {escape(str(thing.name))}"


def _weight_row(weight: Any) -> list[str]:
    values = weight.numpy()
    floats = values.size and values.dtype.kind in "fiub"
    wide = values.astype("float64") if floats else None
    ends = ["", "", ""] if wide is None else [wide.min(), wide.mean(), wide.max()]
    numbers = [each if each == "" else f"{each:.4g}" for each in ends]
    facts = [weight.path, tuple(weight.shape), weight.dtype, weight.trainable]
    return [*map(str, facts), *numbers]


def _arguments(thing: Any) -> str:
    """Arguments in a thing's `get_config` that are not None; empty without a config."""
    try:
        config = dict(thing.get_config())
    except Exception:  # of a user's class, which says so where a config is needed
        return ""
    rows = []
    for name, value in config.items():
        if value is None or name in ("name", "dtype"):
            continue
        if isinstance(value, dict) and "class_name" in value:
            value = value["class_name"]
        text = f"{value:.6g}" if isinstance(value, float) else str(value)
        rows.append([name, text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."])
    return table(["argument", "value"], rows)


def bar(part: float, width: int = 120) -> Html:
    """A bar as long as a part, from 0 to 1, of the longest one, which has this width."""
    length = width * min(max(part, 0.0), 1.0)
    return Html(
        f'<svg width="{width}" height="10" role="img" aria-label="{100 * part:.0f} %">'
        f'<rect width="{length:.1f}" height="10" fill="currentColor" opacity="0.8"/></svg>'
    )


def curves(series: Sequence[Sequence[float]], label: str, size: tuple[int, int] = CURVE) -> Html:
    """Lines of numbers one step apart, which all end on the right; all but the first are dashed."""
    width, height = size
    numbers = [value for values in series for value in values if abs(value) < float("inf")]
    low, high = (min(numbers), max(numbers)) if numbers else (0.0, 0.0)
    most = max((len(values) for values in series), default=0)
    lines = []
    for i, values in enumerate(series):
        points = [
            f"{2 + (width - 4) * (most - len(values) + k) / max(most - 1, 1):.1f},"
            f"{2 + (height - 4) * (high - value) / ((high - low) or 1):.1f}"
            for k, value in enumerate(values)
            if abs(value) < float("inf")
        ]
        dashes = ' stroke-dasharray="3 2"' if i else ""
        lines.append(f'<polyline points="{" ".join(points)}"{dashes}/>')
    return Html(
        f'<svg width="{width}" height="{height}" role="img" aria-label="{escape(label)}" '
        f'fill="none" stroke="currentColor">{"".join(lines)}</svg>'
    )
