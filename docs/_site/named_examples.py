"""Examples of public names that stand beside the docstrings, so that the wheel need not carry them.

docs/api_examples/PAGE.pycon has those of a page of the reference: below `# Name`, or `# One, other`
where one example serves several names, what a Python console shows.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "api_examples"
HEADING = re.compile(r"^# ([\w.]+(?:, [\w.]+)*)\n", re.MULTILINE)


def sections(text: str) -> list[tuple[list[str], str]]:
    """The names and the example of each section of a file."""
    parts = HEADING.split(text)
    assert not parts[0].strip(), f"before the first heading: {parts[0]}"
    return [
        (names.split(", "), example.strip("\n") + "\n")
        for names, example in zip(parts[1::2], parts[2::2], strict=True)
    ]


@cache
def examples() -> dict[str, str]:
    """The example of each name, written out as cdl.layers.Flatten."""
    found: dict[str, str] = {}
    for path in sorted(FOLDER.glob("*.pycon")):
        module = path.stem.partition("-")[0]
        for names, example in sections(path.read_text()):
            for name in names:
                whole = f"{module}.{name}"
                assert whole not in found, f"two examples of {whole}"
                found[whole] = example
    return found


def lines(name: str) -> list[str]:
    """The section of examples at the end of a name's docstring on its page."""
    example = examples().get(name)
    return ["", "Examples:", *(f"    {line}" for line in example.splitlines())] if example else []
