"""Charts as SVG, legible on light and dark ground: in a page they take the colour of its text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, LEFT, ROW = 430, 130, 30
# Colours of peers, in the order of the legend; each has 3:1 against white and against black.
MARKS = {
    "cdl": ("#3b82c4", "circle"),
    "best of jax": ("#b7791f", "diamond"),
    "torch": ("#d0562f", "square"),
    "keras jax": ("#7a8a3c", "triangle"),
    "keras tensorflow": ("#8f6bb8", "cross"),
}
HEAD = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" \
font-family="system-ui, sans-serif" font-size="14" color="#222" fill="currentColor">
<style>@media (prefers-color-scheme: dark) {{ :root {{ color: #ddd }} }}</style>
"""


def text(x: float, y: float, words: str, anchor: str = "start", extra: str = "") -> str:
    """A line of text."""
    return f'<text x="{x:.4g}" y="{y:.4g}" text-anchor="{anchor}"{extra}>{escape(words)}</text>'


def document(parts: Sequence[str], height: float) -> str:
    """A whole file of SVG."""
    return HEAD.format(width=WIDTH, height=round(height)) + "\n".join(parts) + "\n</svg>\n"


def bars(title: str, rows: Sequence[tuple[str, float, str]]) -> str:
    """A bar a row (name, value, what stands behind it), the first one in colour."""
    longest = max(value for _, value, _ in rows)
    room = WIDTH - LEFT - 95
    parts = [text(0, 16, title, extra=' font-weight="600"')]
    for i, (name, value, words) in enumerate(rows):
        y, length = 32 + i * ROW, max(2.0, room * value / longest)
        bold = ' font-weight="700"' if i == 0 else ""
        parts.append(text(LEFT - 10, y + 15, name, "end", bold))
        colour = MARKS["cdl"][0] if i == 0 else "#8a8f98"
        parts.append(
            f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="20" rx="2" fill="{colour}"/>'
        )
        parts.append(text(LEFT + length + 8, y + 15, words, extra=bold))
    return document(parts, 36 + len(rows) * ROW)


def mark(peer: str, x: float, y: float) -> str:
    """The sign of a peer; shapes differ for those who do not see the colours."""
    colour, shape = MARKS[peer]
    lines = {
        "square": "M-5-5h10v10h-10z",
        "diamond": "M0-6.5L6.5 0L0 6.5L-6.5 0z",
        "triangle": "M0-6L6 5H-6z",
        "cross": "M-5-2h3v-3h4v3h3v4h-3v3h-4v-3h-3z",
        "circle": "M-6 0a6 6 0 1 0 12 0a6 6 0 1 0-12 0z",
    }
    return f'<path transform="translate({x:.1f} {y:.1f})" d="{lines[shape]}" fill="{colour}"/>'


def ratios(title: str, rows: Mapping[str, Mapping[str, float]]) -> str:
    """A chart of the peers' times as multiples of cdl's, row by row, on a logarithmic scale."""
    most = max(value for row in rows.values() for value in row.values())
    least = min(value for row in rows.values() for value in row.values())
    steps = (1, 3, 10, 30, 100, 300, 1000) if most > 100 else (1, 2, 5, 10, 20, 50)
    ticks = [step for step in steps if step < most * 1.1]
    low, high = math.log(min(0.9 * least, 0.9)), math.log(most * 1.2)

    def place(value: float) -> float:
        return LEFT + (math.log(value) - low) / (high - low) * (WIDTH - LEFT - 16)

    parts = [text(0, 16, title, extra=' font-weight="600"')]
    x = 0.0
    for peer in (each for each in MARKS if any(each in row for row in rows.values())):
        parts += [mark(peer, x + 7, 35), text(x + 18, 40, peer, extra=' font-size="13"')]
        x += 28 + 6.8 * len(peer)
    top, bottom = 56, 60 + len(rows) * ROW
    for tick in ticks:
        at = f'x1="{place(tick):.1f}" x2="{place(tick):.1f}" y1="{top}" y2="{bottom}"'
        parts.append(f'<line {at} stroke="currentColor" stroke-opacity="0.25"/>')
        parts.append(text(place(tick), bottom + 16, f"{tick:g}x", "middle", ' font-size="12"'))
    for i, (name, row) in enumerate(rows.items()):
        y = top + 18 + i * ROW
        parts.append(text(LEFT - 14, y + 5, name, "end"))
        parts += [mark(peer, place(value), y) for peer, value in reversed(row.items())]
    return document(parts, bottom + 24)


def beside(x: float, y: float, width: float, taken: list) -> tuple[float, float]:
    """Place of a text by a mark at (x, y) which leaves free what is taken, (x, y, width) each."""
    sides = [(x + 9, y), (x - 9 - width, y), (x + 5, y - 14), (x + 5, y + 14), (x - width, y - 14)]
    sides += [(x - width, y + 14), (x - width / 2, y - 26), (x - width / 2, y + 26)]

    def free(at: tuple[float, float]) -> bool:
        inside = at[0] > 45 and at[0] + width < WIDTH
        return inside and not any(
            abs(at[1] - b) < 12 and at[0] < a + w and a < at[0] + width for a, b, w in taken
        )

    found = next(filter(free, sides), sides[0])
    taken.append((*found, width))
    return found


def points(title: str, given: Mapping[str, tuple[float, float, float]]) -> str:
    """Marks with their names at (x, y), x on a logarithmic scale, and an error of y as a line."""
    right, top, bottom = WIDTH - 30, 40, 320
    xs = [x for x, _, _ in given.values()]
    first, last = math.floor(math.log10(min(xs))), math.ceil(math.log10(max(xs)))
    low = min(y - e for _, y, e in given.values())
    high = max(y + e for _, y, e in given.values())

    def across(x: float) -> float:
        return 50 + (math.log10(x) - first) / (last - first) * (right - 50)

    def up(y: float) -> float:
        return bottom - 20 - (y - low) / (high - low) * (bottom - top - 40)

    parts = [text(0, 16, title, extra=' font-weight="600"')]
    line = '<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" stroke="{}" stroke-opacity="{}"/>'
    for power in range(first, last + 1):
        x = across(10.0**power)
        parts.append(line.format(x, top, x, bottom, "currentColor", 0.25))
        parts.append(text(x, bottom + 16, f"{10.0**power:g} s", "middle", ' font-size="12"'))
    for y in (each / 10 for each in range(11) if low <= each / 10 <= high):
        parts.append(line.format(50, up(y), right, up(y), "currentColor", 0.25))
        parts.append(text(42, up(y) + 4, f"{y:g}", "end", ' font-size="12"'))
    taken = [(across(x) - 6, up(y), 12.0) for x, y, _ in given.values()]
    for name, (x, y, error) in given.items():
        ours = name.startswith("cdl")
        colour = MARKS["cdl"][0] if ours else "#8a8f98"
        parts.append(line.format(across(x), up(y - error), across(x), up(y + error), colour, 1))
        parts.append(f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" r="5" fill="{colour}"/>')
        weight = ' font-size="12" font-weight="700"' if ours else ' font-size="12"'
        at = beside(across(x), up(y), 7 * len(name), taken)
        parts.append(text(at[0], at[1] + 4, name, extra=weight))
    return document(parts, bottom + 24)


def times(found: Sequence[dict], key: str) -> dict:
    """Multiples of cdl's time by row and peer, of records with the row's name under a key."""
    rows: dict[str, dict[str, float]] = {}
    for record in found:
        if "us" not in record or record.get("sample", "fit") != "fit":
            continue
        peer = "best of jax" if record["peer"].startswith("jax ") else record["peer"]
        if peer in MARKS:
            row = rows.setdefault(record[key], {})
            row[peer] = min(record["us"], row.get(peer, math.inf))
    return {
        name: {peer: row[peer] / row["cdl"] for peer in MARKS if peer in row}
        for name, row in rows.items()
        if "cdl" in row
    }


def chart(benchmark: str, runs: Sequence[tuple[dict, list[dict]]]) -> str | None:
    """The chart of a benchmark's last runs, or None if it has none: of one thread."""
    if benchmark == "tables":
        from benchmarks.harness import scores

        return scores.chart(runs[-1][1])
    found = [record for _, records in runs for record in records if record.get("threads") == 1]
    if benchmark == "workflow" and found:
        ours = found[0]["s"]
        rows = [(r["peer"], r["s"]) for r in sorted(found, key=lambda r: r["s"])]
        named = {"keras jax": "Keras on JAX", "keras torch": "Keras on PyTorch", "torch": "PyTorch"}
        return bars(
            "Two epochs over a data frame, seconds of CPU",
            [
                (named.get(p, p), s, f"{s:.1f} s" + (f", {s / ours:.0f}x" if s > ours else ""))
                for p, s in rows
            ],
        )
    if benchmark in {"training", "images", "sequences"} and found:
        rows = times(found, "case" if benchmark == "training" else "net")
        return ratios("Time of a training step, cdl = 1; one thread", rows)
    return None
