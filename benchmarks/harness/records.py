"""Measurements as JSON lines, and as tables in Markdown."""

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


def recent(benchmark: str, path: Path | None = None) -> list[tuple[dict, list[dict]]]:
    """Facts and measurements of the last kept run of each case, oldest first.

    A run may have measured some cases only; an older one counts if none of its cases came again.
    """
    path = path or RESULTS / f"{benchmark}.jsonl"
    runs: list[tuple[dict, list[dict]]] = []
    for line in map(json.loads, path.read_text().splitlines() if path.exists() else ()):
        if "run" in line:
            runs.append((line, []))
        else:
            runs[-1][1].append(line)
    seen: set[tuple] = set()
    kept = []
    for facts, records in reversed(runs):
        cases = {(record.get("case"), record.get("threads")) for record in records}
        if not cases & seen:
            kept.append((facts, records))
        seen |= cases
    return kept[::-1]


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
