"""Mypy --strict and pyright on the programs of tests/typing: what users see.

programs.py must pass both; in mistakes.py both must find an error on each line that is marked
`# wrong`, and on no other.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "tests" / "typing"
BIN = Path(sys.executable).parent
Lines = dict[tuple[str, int], str]  # what is said of a line of a file


def by_mypy() -> Lines:
    """The errors that mypy finds, by file and line."""
    command = [BIN / "mypy", "--strict", "--follow-imports=silent", "--no-error-summary", FOLDER]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode > 1:
        sys.exit(done.stdout + done.stderr)
    found = re.findall(r"^(\S+?):(\d+): error: (.*)", done.stdout, re.MULTILINE)
    return {(Path(file).name, int(line)): text for file, line, text in found}


def by_pyright() -> Lines:
    """The errors that pyright finds; basedpyright is pyright that brings its own node along."""
    done = subprocess.run(
        [BIN / "basedpyright", "--outputjson", "--pythonpath", sys.executable],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode > 1:
        sys.exit(done.stdout + done.stderr)
    return {
        (Path(each["file"]).name, each["range"]["start"]["line"] + 1): each["message"]
        for each in json.loads(done.stdout)["generalDiagnostics"]
        if each["severity"] == "error"
    }


def wanted() -> set[tuple[str, int]]:
    """The lines that are marked with `# wrong`."""
    return {
        (file.name, number)
        for file in FOLDER.glob("*.py")
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if line.endswith("# wrong")
    }


def main() -> int:
    """Print what is not as marked; 1 if there is such a line."""
    faults = []
    for tool, found in (("mypy", by_mypy()), ("pyright", by_pyright())):
        for file, line in sorted(found.keys() ^ wanted()):
            said = found.get((file, line), "nothing is said of this line")
            faults.append(f"{FOLDER.relative_to(ROOT) / file}:{line}: {tool}: {said}")
    print("\n".join(faults) or f"user types: {len(wanted())} mistakes seen by mypy and by pyright")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
