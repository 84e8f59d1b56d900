"""The command line of every benchmark: options, run, table, caption, keeping."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.harness import machine, records


def add_options(parser: argparse.ArgumentParser, rounds: int, threads: bool = True) -> None:
    """Add the options that all benchmarks share."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    if threads:
        every = [n for n in (1, 2) if n <= len(machine.cores())]
        parser.add_argument("--threads", nargs="+", type=int, default=every, metavar="N")
    parser.add_argument("--rounds", type=int, default=rounds, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=0.1, help="a round; default: %(default)s")
    parser.add_argument("--keep", action="store_true", help="append to benchmarks/results/")
    parser.add_argument("--output", type=Path, metavar="JSONL", help="append to this file instead")


def run(
    benchmark: str,
    measure: Callable[[], list[dict]],
    tables: Callable[[list[dict]], str],
    options: argparse.Namespace,
    left_out: dict[str, str] | None = None,
) -> None:
    """Measures, prints the tables with what belongs beside them, and keeps the records."""
    facts = {**machine.facts(), "left_out": left_out or {}}
    found = measure()
    print(text(benchmark, facts, found, tables))
    if options.keep or options.output:
        records.save(benchmark, facts, found, options.output)


def text(
    benchmark: str, facts: dict, found: list[dict], tables: Callable[[list[dict]], str]
) -> str:
    """A chapter of benchmarks/README.md."""
    parts = [f"## {benchmark}\n", tables(found)]
    if facts.get("left_out"):
        parts.append(f"Left out: {'; '.join(f'{k} ({v})' for k, v in facts['left_out'].items())}.")
    if facts.get("note"):
        parts.append(facts["note"])
    return "\n".join([*parts, machine.caption(facts), ""])


def progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
