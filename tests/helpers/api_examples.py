"""Runs the examples of docs/api_examples/, each in an empty folder and with new names.

python tests/helpers/api_examples.py [PAGE ...]  # writes what they print; read the difference
"""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import sys
import tempfile
import textwrap
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "docs" / "_site"), str(ROOT)]

import named_examples
from shown import alike

import cdl

SCALAR = re.compile(r"np\.float32\(([^()]+)\)")
MARGIN = re.compile(r"\s+(?=])|(?<=\[)\s+")  # of arrays, by the longest number


def printed(example: str, name: str) -> Iterator[tuple[doctest.Example, str]]:
    """Each statement, and what the console would print behind it."""
    names = {"__name__": "__main__", "np": np, "cdl": cdl}
    cdl.utils.clear_session()  # layers are numbered from the first one on
    for statement in doctest.DocTestParser().get_examples(example, name):
        out = io.StringIO()
        quiet = warnings.catch_warnings(action="ignore", category=UserWarning)  # by stderr
        digits = np.printoptions(precision=4, suppress=True)
        with contextlib.redirect_stdout(out), digits, quiet:
            try:
                exec(compile(statement.source, f"<{name}>", "single"), names)
            except Exception as error:
                told = traceback.format_exception_only(error)[-1]
                out.write("Traceback (most recent call last):\n  ...\n" + told)
        yield statement, SCALAR.sub(short, out.getvalue())


def short(scalar: re.Match[str]) -> str:
    """A scalar with four digits, as in printed arrays."""
    return f"np.float32({float(f'{float(scalar[1]):.4g}')})"


def differences(example: str, name: str) -> str:
    """The lines of an example whose printed result is not that shown; empty if there is none."""
    found = []
    for statement, got in printed(example, name):
        shown, told = (MARGIN.sub("", " ".join(each.split())) for each in (statement.want, got))
        if not alike(shown, told, 1e-3, 2e-4):
            found.append(f"{name}: {statement.source}shows\n{statement.want}not\n{got}")
    return "\n".join(found)


def written(example: str, name: str) -> str:
    """An example with its printed results; those that are shown well enough stay."""
    text = ""
    for statement, got in printed(example, name):
        first, *rest = statement.source.rstrip("\n").split("\n")
        text += "\n".join([f">>> {first}", *(f"... {line}".rstrip() for line in rest)]) + "\n"
        keep = alike(" ".join(statement.want.split()), " ".join(got.split()), 1e-3, 2e-4)
        text += statement.want if keep else got
    return text


@contextlib.contextmanager
def empty_folder() -> Iterator[None]:
    """An empty folder to run examples in that write files."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["KERAS_HOME"] = folder
        before = os.getcwd()
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


def main(pages: list[str]) -> None:
    """Write the files of these pages again, or of all."""
    for path in sorted(named_examples.FOLDER.glob("*.pycon")):
        if pages and path.stem not in pages:
            continue
        parts = []
        for names, example in named_examples.sections(path.read_text()):
            with empty_folder():
                text = written(textwrap.dedent(example), names[0])
            parts.append(f"# {', '.join(names)}\n{text}")
        path.write_text("\n".join(parts))


if __name__ == "__main__":
    main(sys.argv[1:])
