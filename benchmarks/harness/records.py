"""records.py - measurements as JSON lines, and as tables in Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.harness.machine import ROOT

RESULTS = ROOT / "benchmarks" / "results"


def save(benchmark: str, facts: dict, records: Sequence[dict], path: Path | None = None) -> None:
    """Appends a run: a line of facts, then a line a measurement."""
    path = path or RESULTS / f"{benchmark}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        for line in [{"run": benchmark, **facts}, *records]:
            file.write(json.dumps(line) + "\n")


def last(benchmark: str) -> tuple[dict, list[dict]] | None:
    """Facts and measurements of the last run that was kept."""
    path = RESULTS / f"{benchmark}.jsonl"
    if not path.exists():
        return None
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    start = max(i for i, line in enumerate(lines) if "run" in line)
    return lines[start], lines[start + 1 :]


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Markdown that is also aligned for a terminal; numbers to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]

    def line(row: Sequence[str]) -> str:
        first, *others = row
        padded = [first.ljust(widths[0])]
        padded += [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        return f"| {' | '.join(padded)} |"

    marks = [f"{'-' * (w - 1)}{'-' if i == 0 else ':'}" for i, w in enumerate(widths)]
    return "\n".join([line(head), line(marks), *map(line, cells)])


def number(value: float | None, unit: str = "") -> str:
    """Three figures, with thousands; a dash for what was not measured."""
    if value is None:
        return "-"
    if value >= 100:
        return f"{value:,.0f}{unit}"
    return f"{value:.3g}{unit}" if value < 10 else f"{value:.1f}{unit}"


def ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}x" if value < 10 else f"{value:.0f}x"
