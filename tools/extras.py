"""Check that the wheel works with nothing but one extra beside it.

    python tools/extras.py [EXTRA ...]          all extras by default; "none" is the wheel alone
    python tools/extras.py --keep FOLDER sklearn

For each extra: a new virtual environment, the wheel with that extra, pytest and what only the tests
need; then that extra's tests of this tree, in a copy without cdl, run against the installed wheel.
Tests that are skipped because a package is missing count as failed, where it should be there.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOT_SOURCES = (".*", "build", "dist", "*.so", "*.egg-info", "__pycache__")

# Extras by name: tests, what else these need, and packages that may be missing (None: any).
EXTRAS = {
    "none": (
        (
            "tests/test_public_names.py",
            "tests/test_scripts.py",
            "tests/test_tensorflow.py",
            "tests/test_tensorflow_data.py",
            "tests/callbacks",
            "tests/core/test_oracle.py",
            "tests/data",
            "tests/export/test_c.py",
            "tests/layers",
            "tests/models",
            "tests/promises",
            "tests/saving",
            "tests/trainers",
            "tests/utils",
        ),
        (),
        None,
    ),
    "pandas": (
        ("tests/data/test_frames.py", "tests/callbacks/test_history.py"),
        (),
        ("matplotlib",),
    ),
    "plot": (("tests/utils/test_drawing.py", "tests/callbacks/test_history.py"), (), ("pandas",)),
    "onnx": (("tests/export/test_onnx.py", "tests/export/test_ops.py"), ("onnxruntime",), ()),
    "safetensors": (("tests/saving/test_tensors.py",), (), ()),
    "tensorboard": (("tests/callbacks/test_tensorboard.py",), ("pillow",), ()),
    "optuna": (("tests/callbacks/test_optuna_pruning.py",), (), ()),
    "mpi": (("tests/distribution",), ("mpich",), ()),
    "sklearn": (
        ("tests/estimators", "tests/data/test_sparse.py", "tests/test_table_command.py"),
        ("pandas",),
        (),
    ),
    "demo": (("tests/test_main.py", "tests/test_readme.py"), (), ()),
}


def run(*command: object, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a process, whose output is shown only if it fails."""
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False, **options
    )
    if done.returncode and options.get("cwd") is None:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done


def wheel(folder: Path) -> Path:
    """The wheel of this tree, made from a copy without anything that was built here."""
    tree = folder / "tree"
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(*NOT_SOURCES))
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder / "wheels", tree)
    (made,) = (folder / "wheels").iterdir()
    sys.path.append(str(ROOT / "tools" / "wheel"))
    from zopfli_zip import LARGEST

    size = made.stat().st_size
    print(f"{made.name}: {size / 1e6:.2f} MB", flush=True)
    if size >= LARGEST:
        sys.exit(f"the wheel must be below {LARGEST / 1e6} MB")
    return made


def tried(extra: str, made: Path, folder: Path, tree: Path, options: list[str]) -> bool:
    """Whether the tests of an extra pass; prints a line."""
    tests, others, may_miss = EXTRAS[extra]
    start = time.perf_counter()
    venv.create(folder, with_pip=True, clear=True)
    python = folder / "bin" / "python"
    named = str(made) if extra == "none" else f"{made}[{extra}]"
    run(python, "-m", "pip", "install", "-q", named, "pytest", "pytest-timeout", *others)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTHON")
    }
    environment |= {"PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": "1", "MPLBACKEND": "Agg"}
    environment["PYTHONPATH"] = str(tree)  # for processes that find functions of the tests
    where = run(python, "-c", "import cdl; print(cdl.__file__)", env=environment, cwd=tree)
    if not where.stdout.startswith(str(folder)):
        sys.exit(f"{extra}: the tests would see {where.stdout or where.stderr}")
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, *options]
    done = run(*command, env=environment, cwd=tree)
    last = done.stdout.strip().splitlines()[-1].strip("= ") if done.stdout else done.stderr[-500:]
    missing = set(re.findall(r"could not import '(\w+)", done.stdout))
    well = done.returncode == 0 and (may_miss is None or missing <= set(may_miss))
    print(f"{extra:12} {'passes' if well else 'FAILS'}  {last}", end="")
    print(f"  (with the installation {time.perf_counter() - start:.0f} s)", flush=True)
    if not well:
        print(done.stdout[-6000:], done.stderr[-2000:], sep="\n", flush=True)
    return well


def main() -> int:
    """Try the extras that are asked for; 1 if one of them fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("extras", nargs="*", metavar="EXTRA", help=", ".join(EXTRAS))
    parser.add_argument("--keep", type=Path, help="a folder for the environments, which stay")
    parser.add_argument("--pytest", default="", help="further options of pytest")
    options = parser.parse_args()
    for extra in options.extras:
        if extra not in EXTRAS:
            parser.error(f"there is no extra {extra!r}; there are {', '.join(EXTRAS)}")
    with tempfile.TemporaryDirectory() as spare:
        made = wheel(Path(spare))
        folder = options.keep or Path(spare, "venvs")
        wanted = options.extras or EXTRAS
        tree = Path(spare, "tree")
        shutil.rmtree(tree / "cdl")  # what is left are the tests and what they read
        more = options.pytest.split()
        results = [tried(e, made, folder.resolve() / e, tree, more) for e in wanted]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
