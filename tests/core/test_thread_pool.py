"""The core's own threads, which it has where it is built without OpenMP (thread_pool.c)."""

import shutil
import subprocess
import sys

import pytest


@pytest.mark.builds
@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells how often a thread was woken")
def test_a_region_wakes_those_who_work_in_it_and_no_others(root, tmp_path):
    compiler = shutil.which("gcc") or shutil.which("cc")
    assert compiler, "expected gcc or cc on PATH"
    program = tmp_path / "thread_pool"
    sources = [root / "csrc/base/thread_pool.c", root / "tests/core/thread_pool.c"]
    flags = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread"]
    subprocess.run([compiler, *flags, f"-I{root / 'csrc'}", *sources, "-o", program], check=True)
    found = subprocess.run([program], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")
