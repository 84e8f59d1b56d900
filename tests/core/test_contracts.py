"""The core by itself, as a caller in C sees it (contracts.c)."""

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

pytestmark = [pytest.mark.builds, pytest.mark.timeout(2000)]  # compiles all of the core
FLAGS = ["-std=c11", "-O0", "-g0", "-Wall", "-Wextra", "-Wno-format-zero-length", "-pthread"]


def test_the_core_refuses_what_no_binding_would_hand_it(root, tmp_path):
    compiler = shutil.which("gcc") or shutil.which("cc")
    assert compiler, "expected gcc or cc on PATH"
    sources = [*sorted(root.glob("csrc/**/*.c")), root / "tests/core/contracts.c"]

    def compiled(source):
        target = tmp_path / f"{source.parent.name}_{source.stem}.o"
        command = [compiler, *FLAGS, f"-I{root / 'csrc'}", "-c", source, "-o", target]
        subprocess.run(command, check=True, capture_output=True)
        return target

    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(compiled, sources))
    program = tmp_path / "contracts"
    subprocess.run([compiler, "-pthread", *objects, "-lm", "-o", program], check=True)
    found = subprocess.run([program], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


def test_the_check_of_arm_is_written_for_this_core(root):
    compiler = shutil.which("gcc") or shutil.which("cc")
    assert compiler, "expected gcc or cc on PATH"
    source = root / "tests/arm/check.c"
    command = [compiler, *FLAGS, f"-I{root / 'csrc'}", "-fsyntax-only", source]
    subprocess.run(command, check=True, capture_output=True)
