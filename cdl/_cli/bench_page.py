"""`python -m cdl bench --html`: one self-contained page with plots."""

import os
from collections.abc import Mapping, Sequence
from datetime import date
from html import escape
from pathlib import Path

from cdl._common.html import bar, table

_STYLE = """
:root { color-scheme: light dark; --bar: #2a6f97; --other: #8d99ae; }
@media (prefers-color-scheme: dark) { :root { --bar: #61a5c2; --other: #6c757d; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 48rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 0.15rem 0 0.15rem 0.75rem; white-space: nowrap; }
tr > :first-child { text-align: left; padding-left: 0; width: 13rem; }
svg { color: var(--other); vertical-align: middle; }
tbody tr:first-child svg { color: var(--bar); }
div { overflow-x: auto; }
pre { overflow-x: auto; padding: 0.75rem; border: 1px solid var(--other); font-size: 0.85rem; }
"""
Figures = Sequence[tuple[str, float]]  # (whose, microseconds a step)


def shown(microseconds: float) -> str:
    """Three digits, or whole microseconds."""
    return f"{microseconds:,.0f}" if microseconds >= 100 else f"{microseconds:.3g}"


def write(
    path: str | os.PathLike[str],
    machine: str,
    words: Sequence[str],
    steps: Mapping[str, Figures],
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
) -> None:
    """Write the page.

    Args:
        machine: what `python -m cdl info` says.
        words: paragraphs, the last of which stands at the end.
        steps: for each net who takes how long for a step, cdl here first.
        heads: of the table of all figures.
        rows: of that table.
    """
    parts = []
    for net, figures in steps.items():
        longest = max(time for _, time in figures)
        bars = [
            [who, shown(time), f"{time / figures[0][1]:.1f}x", bar(time / longest, width=240)]
            for who, time in figures
        ]
        parts.append(f"<h3>{escape(net)}</h3>\n<div>{table(['', 'us/step', '', ''], bars)}</div>")
    first, *others = (f"<p>{escape(each)}</p>" for each in words)
    page = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>cdl on this machine</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>cdl on this machine</h1>
<p>{date.today()}. {first[3:]}
<h2>A step of training</h2>
{chr(10).join(parts)}
<h2>All figures</h2>
<div>{table(heads, rows)}</div>
{chr(10).join(others)}
<h2>Measured on</h2>
<pre>{escape(machine)}</pre>
</body>
</html>
"""
    Path(path).write_text(page, encoding="utf-8")
