"""Pool of threads of the core (thread_pool.c), and their barrier."""

import shutil
import subprocess
import sys

import pytest


def run(root, tmp_path, name, *sources):
    """Run a program of this folder, built with files of csrc/base; its exit code and output."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    assert compiler, "expected gcc or cc on PATH"
    flags = [
        "-std=c11",
        "-O1",
        "-Wall",
        "-Wextra",
        "-Wno-unused-parameter",
        "-Werror",
        "-pthread",
        f"-I{root / 'csrc'}",
    ]
    files = [
        root / "tests/core" / f"{name}.c",
        *(root / "csrc/base" / source for source in sources),
    ]
    subprocess.run([compiler, *flags, *files, "-lm", "-o", tmp_path / name], check=True)
    found = subprocess.run([tmp_path / name], capture_output=True, text=True, check=False)
    return found.returncode, found.stdout


@pytest.mark.builds
@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells how often a thread was woken")
def test_a_region_wakes_those_who_work_in_it_and_no_others(root, tmp_path):
    sources = ["threads.c", "thread_pool.c", "watch.c"]
    assert run(root, tmp_path, "thread_pool", *sources) == (0, "")


@pytest.mark.builds
def test_the_faster_of_a_team_and_one_thread_runs_on_a_crowded_core(root, tmp_path):
    assert run(root, tmp_path, "turns", "turns.c") == (0, "")


@pytest.mark.builds
@pytest.mark.skipif(sys.platform != "linux", reason="threads sleep in a barrier on Linux")
def test_nobody_passes_a_barrier_early_and_who_waits_long_sleeps(root, tmp_path):
    sources = ["threads.c", "thread_pool.c", "watch.c"]
    assert run(root, tmp_path, "barrier", *sources) == (0, "")
