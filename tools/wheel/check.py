"""Check that dist/ may be released, and print all faults; `make release-check` calls it.

One version in pyproject.toml, in the names of the files, in `cdl.__version__` and as the first
heading of CHANGELOG.md, with a date; a small wheel for this machine, with the licence; in a new
environment it runs every block of Python in README.md, and `python -m cdl info`.
"""

import os
import platform
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
import zipfile
from pathlib import Path

from zopfli_zip import LARGEST

ROOT = Path(__file__).resolve().parent.parent.parent
NEEDED = ["scikit-learn"]  # by README's blocks


def faults_of_names(version: str) -> list[str]:
    """The names and versions outside the wheel that disagree with the version."""
    heading = re.search(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    first = heading.group(1) if heading else "nothing"
    found = []
    if not re.fullmatch(rf"{re.escape(version)} \(\d{{4}}-\d\d-\d\d\)", first):
        found.append(f"CHANGELOG.md: its first version must be {version} (YYYY-MM-DD), is {first}")
    if not (ROOT / f"dist/cdl_nn-{version}.tar.gz").exists():
        found.append(f"dist: there is no cdl_nn-{version}.tar.gz")
    return found


def faults_of_wheel(made: Path, version: str) -> list[str]:
    """The faults within a wheel: its size, its tag, its licences."""
    found = []
    if made.stat().st_size >= LARGEST:
        found.append(f"{made.name}: {made.stat().st_size:,} bytes, must be below {LARGEST:,}")
    if "-cp311-abi3-manylinux_2_" not in made.name:
        found.append(f"{made.name}: must be for CPython 3.11 and later and any Linux")
    with zipfile.ZipFile(made) as archive:
        names = archive.namelist()
        home = f"cdl_nn-{version}.dist-info"
        if f"{home}/licenses/LICENSE" not in names:
            found.append(f"{made.name}: LICENSE is missing")
        elif archive.read(f"{home}/licenses/LICENSE") != (ROOT / "LICENSE").read_bytes():
            found.append(f"{made.name}: its LICENSE is not that of the tree")
        if carried := [name for name in names if ".libs/" in name]:
            found.append(f"{made.name}: {carried} need licences of their own")
    return found


def faults_of_use(made: Path, version: str) -> list[str]:
    """The errors of README's programs where only the wheel and its dependencies are installed."""
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    with tempfile.TemporaryDirectory() as name:
        venv.create(Path(name, "venv"), with_pip=True)
        python = Path(name, "venv/bin/python")
        program = Path(name, "readme.py")
        program.write_text("\n".join(blocks))
        found = []
        for words in (
            ["-m", "pip", "install", "-q", str(made), *NEEDED],
            ["-c", f"import cdl; assert cdl.__version__ == {version!r}, cdl.__version__"],
            ["-m", "cdl", "info"],
            [str(program)],
        ):
            done = subprocess.run(
                [python, *words], cwd=name, env=clean, capture_output=True, text=True, check=False
            )
            if done.returncode:
                found.append(f"{' '.join(words)}: {done.stderr[-2000:]}")
        return found


def main() -> int:
    """Print each fault; 1 if there is one."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        version = tomllib.load(file)["project"]["version"]
    faults = faults_of_names(version)
    wheels = sorted(ROOT.glob(f"dist/cdl_nn-{version}-*.whl"))
    own = [each for each in wheels if each.name.endswith(f"_{platform.machine()}.whl")]
    if len(own) != 1:
        faults.append(f"dist: one wheel for {platform.machine()} must be there, found {len(own)}")
    for each in wheels:
        faults += faults_of_wheel(each, version)
    for each in own:
        faults += faults_of_use(each, version)
    for each in wheels:
        print(f"{each.name}: {each.stat().st_size:,} bytes")
    print("\n".join(faults) or f"release check: {version} may be released")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
