"""Wheels in dist/ for other machines: CPython 3.11 and later, glibc 2.28 and later.

    python tools/wheel/build.py          for this machine
    python tools/wheel/build.py --arm    for aarch64, by gcc-aarch64-linux-gnu

The core is compiled from a copy of the tree, beside any glibc: old_glibc.h takes the old versions
of its functions, and auditwheel tells whether one is missing there. Threads are cdl's own: libgomp
would be 110 KB more, under a licence of its own. auditwheel packs its wheel as Python does, so it
is packed again.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from zopfli_zip import LARGEST, repack

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
NOT_SOURCES = (".*", "build", "dist", "*.so", "*.egg-info", "__pycache__")
GLIBC = 28  # the minor version
ARM = {
    "CC": "aarch64-linux-gnu-gcc",
    "LDSHARED": "aarch64-linux-gnu-gcc -shared",
    "_PYTHON_HOST_PLATFORM": "linux-aarch64",  # names the wheel
}


def run(*command: object, **environment: str) -> None:
    """Run a process that must succeed."""
    subprocess.run(list(map(str, command)), check=True, env=os.environ | environment)


def compiled(folder: Path, environment: dict[str, str]) -> Path:
    """The wheel of a copy of the tree."""
    tree = folder / "tree"
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(*NOT_SOURCES))
    flags = f"-include {tree / 'tools/wheel/old_glibc.h'} {os.environ.get('CFLAGS', '')}"
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder / "made", tree]
    run(*command, CFLAGS=flags, CDL_NO_OPENMP="1", **environment)
    (made,) = (folder / "made").iterdir()
    return made


def tagged(made: Path, folder: Path) -> Path:
    """The wheel with the tag of the oldest glibc that it runs on."""
    run("auditwheel", "repair", "--only-plat", "-w", folder / "tagged", made)
    (found,) = (folder / "tagged").iterdir()
    needs = [int(minor) for minor in re.findall(r"manylinux_2_(\d+)_", found.name)]
    if not needs or min(needs) > GLIBC:
        run("auditwheel", "show", found)
        sys.exit(f"wheel: it must run on glibc 2.{GLIBC}, but is {found.name}")
    return found


def main() -> int:
    """Make the wheel; 1 if it is too large."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arm", action="store_true", help="compile for aarch64")
    environment = ARM if parser.parse_args().arm else {}
    into = ROOT / "dist"
    into.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = tagged(compiled(folder, environment), folder)
        made = into / found.name
        repack(found, made, rounds=15)
    run("auditwheel", "show", made)
    size = made.stat().st_size
    print(f"{made.relative_to(ROOT)}: {size:,} bytes")
    return int(size >= LARGEST)


if __name__ == "__main__":
    sys.exit(main())
