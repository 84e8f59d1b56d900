"""The sdist builds, and what comes out is one small wheel for every Python."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.builds, pytest.mark.timeout(400)]  # compiles all of the core, twice
NOT_SOURCES = (".*", "build", "dist", "*.so", "*.egg-info", "__pycache__", "demo.png")


def build(command: str, source: Path, output: Path, **switches: str) -> Path:
    """Call setup.py in `source`; returns the one file that it made."""
    subprocess.run(
        [sys.executable, "setup.py", "-q", command, "--dist-dir", str(output)],
        cwd=source,
        env={**os.environ, **switches},
        check=True,
        capture_output=True,
    )
    (made,) = output.iterdir()
    return made


@pytest.fixture(scope="module")
def sdist(root, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    shutil.copytree(root, folder / "tree", ignore=shutil.ignore_patterns(*NOT_SOURCES))
    return build("sdist", folder / "tree", folder / "dist")


@pytest.fixture(scope="module")
def unpacked(sdist, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (tree,) = folder.iterdir()
    return tree


@pytest.fixture(scope="module")
def wheel(unpacked, tmp_path_factory) -> Path:
    return build("bdist_wheel", unpacked, tmp_path_factory.mktemp("wheel"), CC="gcc")


def test_wheel_is_for_every_python_from_3_11(wheel):
    assert "-cp311-abi3-" in wheel.name


def test_wheel_is_under_2_mb(wheel):
    assert wheel.stat().st_size < 2_000_000


def test_wheel_holds_the_packages_the_core_and_its_types_only(wheel, root):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    python = {path.relative_to(root).as_posix() for path in root.glob("cdl/**/*.py")}
    assert names == python | {"cdl/_core.abi3.so", "cdl/_core.pyi", "cdl/py.typed"}


def test_wheel_works_where_it_is_unpacked(wheel, run_python, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    done = run_python(
        "import cdl; from cdl import _core; print(_core.__file__); assert _core.info()",
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site"), "PYTHONSAFEPATH": "1"},
    )
    assert done.stdout.startswith(str(tmp_path / "site"))


def test_core_exports_one_symbol(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    listing = subprocess.run(
        ["nm", "-D", "--defined-only", str(tmp_path / "cdl/_core.abi3.so")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    symbols = {line.split()[-1] for line in listing.splitlines()} - {"_init", "_fini"}
    assert symbols == {"PyInit__core"}


def test_without_openmp_it_builds_and_trains_on_one_thread(unpacked, run_python, tmp_path):
    wheel = build(
        "bdist_wheel", unpacked, tmp_path / "wheel", CC="gcc", CDL_NO_OPENMP="1", CFLAGS="-O0"
    )
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "PYTHONSAFEPATH": "1"}
    report = run_python("-m", "cdl", "info", env=environment).stdout
    assert "openmp:   no, so the core runs on one thread" in report
    assert "threads:  1 (" in report
    run_python(
        """if True:
        import numpy as np
        from cdl.layers import Dense
        from cdl.models import Sequential

        model = Sequential([Dense(1, input_dim=2)])
        model.compile("sgd", "mean_squared_error")
        model.fit(np.ones((8, 2)), np.ones((8, 1)), verbose=0)
        """,
        env=environment,
    )
