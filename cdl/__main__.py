"""`python -m cdl`: the command line."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

SCRIPTS = """\
Each command shows its options: python -m cdl bench --help

scripts:
  python -m cdl train.py --epochs 3 runs a script for Keras as it is: what it
  imports as keras, tensorflow.keras or tf.keras is cdl. In a script of your
  own, `import cdl as keras` is mostly enough.
"""


def info(options: argparse.Namespace) -> int:
    """Print details of the core on this machine."""
    from cdl._cli import info as info_command

    text = info_command.report()
    if text:
        print(text)
    return 0


def demo(options: argparse.Namespace) -> int:
    """Train the net of the demo."""
    from cdl._cli import demo as demo_command

    return demo_command.run(options.output, options.epochs, options.seed)


def bench(options: argparse.Namespace) -> int:
    """Time a few nets on this machine."""
    from cdl._cli import bench as bench_command

    return bench_command.run(options.seconds, options.beside, options.html)


def table(options: argparse.Namespace) -> int:
    """Train a net for a column of a CSV."""
    from cdl._cli import table as table_command

    given = {name: getattr(options, name) for name in table_command.Job._fields}
    return table_command.run(table_command.Job(**given))


def parser() -> argparse.ArgumentParser:
    """Parser of the commands and their options."""
    top = argparse.ArgumentParser(
        prog="python -m cdl",
        usage="python -m cdl COMMAND [OPTION ...]\n       python -m cdl SCRIPT.py [ARGUMENT ...]",
        description="Trains and runs neural networks on the CPU through the Keras API.",
        epilog=SCRIPTS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(required=True, title="commands", metavar="COMMAND", prog=top.prog)

    command = commands.add_parser("info", help="version, instruction set, threads and compiler")
    command.set_defaults(run=info)

    command = commands.add_parser("demo", help="train a net on handwritten digits and draw them")
    command.add_argument(
        "--output", type=Path, default=Path("demo.png"), metavar="PNG", help="default: %(default)s"
    )
    command.add_argument("--epochs", type=int, default=30, help="default: %(default)s")
    command.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    command.set_defaults(run=demo)

    command = commands.add_parser("bench", help="how fast four nets train and predict here")
    command.add_argument("--seconds", type=float, default=1.0, help="a net; default: %(default)s")
    command.add_argument(
        "--beside",
        nargs="*",
        choices=("keras", "torch", "sklearn"),
        metavar="LIBRARY",
        help="keras, torch, sklearn; default: those that are installed",
    )
    command.add_argument("--html", metavar="PAGE", help="a page to write, with plots")
    command.set_defaults(run=bench)

    command = commands.add_parser("table", help="train a net for a column of a CSV")
    command.add_argument("data", type=Path, metavar="CSV", help="a file with names of columns")
    command.add_argument("--target", required=True, metavar="COLUMN", help="what to predict")
    command.add_argument(
        "--leave-out", nargs="+", default=[], metavar="COLUMN", help="columns that are not read"
    )
    command.add_argument(
        "--task",
        choices=("classes", "numbers"),
        help="default: classes for text, truth values and up to 20 different whole numbers",
    )
    command.add_argument(
        "--recipe",
        choices=("realmlp", "tabm", "mlp"),
        default="realmlp",
        help="default: %(default)s",
    )
    command.add_argument(
        "--output", type=Path, metavar="FILE", help="a .pickle, .keras, .onnx or .c to write"
    )
    command.add_argument(
        "--text",
        choices=("refuse", "hash"),
        default="refuse",
        help="columns of text: an error, or counts of hashed words; default: %(default)s",
    )
    command.add_argument(
        "--report",
        type=Path,
        metavar="HTML",
        help="a page to write: curves, importance, calibration",
    )
    command.set_defaults(run=table)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the shell's exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and (given[0].endswith(".py") or (os.sep in given[0] and os.path.isfile(given[0]))):
        from cdl.scripts import run

        return run.run(given[0], given[1:])
    if not given:
        parser().print_help()
        return 0
    options = parser().parse_args(given)
    try:
        status: int = options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads the output, `head` say, has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main())
