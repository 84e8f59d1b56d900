"""All benchmarks, one after the other, and their report: `python -m benchmarks`.

    python -m benchmarks                         everything; tables here, records in results/
    python -m benchmarks training inference      some of them
    python -m benchmarks --short                 fewer rounds, for a look
    python -m benchmarks --report                no run: results/ into README.md and charts

Each also runs alone, with options of its own: `python -m benchmarks.training --help`.
"""

from __future__ import annotations

import argparse
import importlib
import re
import sys

from benchmarks.harness import command, machine, records, svg

NAMES = (
    "training",
    "phases",
    "inference",
    "images",
    "sequences",
    "wide_and_deep",
    "normalized",
    "workflow",
    "precision",
    "custom_loss",
    "matmul",
    "kernels",
    "accuracy",
    "startup",
    "memory",
    "concurrency",
    "many",
    "one_model",
    "estimators",
    "tables",
    "growth",
    "builds",
)
PLOTTING = ("training", "growth")
TITLES = {"tables": "Normalized scores of methods for tables over CPU seconds of a fit"}
CHARTS = machine.ROOT / "docs" / "benchmarks"
README = machine.ROOT / "benchmarks" / "README.md"


def report() -> None:
    """Puts the tables of the last kept runs between the README's marks."""
    text = README.read_text()
    for name in NAMES:
        runs = records.recent(name)
        if not runs:
            continue
        module = importlib.import_module(f"benchmarks.{name}")
        chapter = "\n".join(command.text(name, *run, module.tables) for run in runs)
        if chart := svg.chart(name, runs):
            path = CHARTS / f"{name}.svg"
            path.write_text(chart)
            title = TITLES.get(name, f"Time beside the peers', a chart of the {name} table")
            chapter = f"![{title}](../docs/benchmarks/{name}.svg)\n\n{chapter}"
        mark = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        text = mark.sub(lambda found, new=chapter: f"{found[1]}{new}{found[2]}", text)
    README.write_text(text)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--short", action="store_true", help="3 short rounds, nothing kept")
    parser.add_argument("--report", action="store_true", help="write README.md from results/")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(NAMES))
    if unknown:
        parser.error(f"no benchmark {unknown[0]!r}; there are: {', '.join(NAMES)}")
    if options.report:
        report()
        return 0
    for name in options.names or NAMES:
        arguments = ["--rounds", "3", "--seconds", "0.02"] if options.short else ["--keep"]
        if name in PLOTTING and not options.short:
            arguments.append("--plot")
        importlib.import_module(f"benchmarks.{name}").main(arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
