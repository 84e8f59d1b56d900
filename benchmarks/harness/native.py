"""C that is compiled on the spot: limits of the machine, and the core's own kernels."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shlex
import subprocess
from pathlib import Path

from benchmarks.harness.machine import ROOT

BUILT = ROOT / "build" / "benchmarks"
NATIVE = ROOT / "benchmarks" / "native"
# The core's own flags (setup.py); position independent, since it becomes a library here too.
CORE_FLAGS = "-std=c11 -O3 -ffp-contract=off -fno-math-errno -fno-trapping-math -w -fopenmp"
PEAK_FLAGS = f"{CORE_FLAGS} -ffp-contract=fast -march=native -mprefer-vector-width=512"


def compiler() -> list[str]:
    return shlex.split(os.environ.get("CC", "cc"))


def library(name: str, sources: list[Path], flags: str, include: Path | None = None) -> Path:
    """The path of the shared library, which is compiled once for each state of the sources."""
    texts = [path.read_bytes() for path in sources]
    if include is not None:
        texts += [path.read_bytes() for path in sorted(include.rglob("*.[hd]*"))]
    words = [*compiler(), *shlex.split(flags), *([f"-I{include}"] if include else [])]
    state = hashlib.sha256(b"\0".join([*texts, " ".join(words).encode()])).hexdigest()[:12]
    path = BUILT / f"{name}-{state}.so"
    if not path.exists():
        BUILT.mkdir(parents=True, exist_ok=True)
        made = path.with_suffix(f".{os.getpid()}")
        command = [*words, "-shared", "-fPIC", *map(str, sources), "-lm", "-o", str(made)]
        subprocess.run(command, check=True)
        made.rename(path)
    return path


def peaks() -> ctypes.CDLL:
    """native/peaks.c: products, Adam steps and reads at the speed of this machine."""
    found = ctypes.CDLL(str(library("peaks", [NATIVE / "peaks.c"], PEAK_FLAGS)))
    found.peak_fma.restype = ctypes.c_double
    found.peak_adam.restype = None
    found.peak_read.restype = ctypes.c_float
    return found


def core() -> ctypes.CDLL:
    """The whole core with native/core.c, which calls its operations and kernels one by one."""
    csrc = ROOT / "csrc"
    sources = [*sorted(csrc.rglob("*.c")), NATIVE / "core.c"]
    found = ctypes.CDLL(str(library("core", sources, CORE_FLAGS, csrc)))
    found.product_open.restype = ctypes.c_void_p
    found.kernel_open.restype = ctypes.c_void_p
    return found


def functions() -> ctypes.CDLL:
    """native/functions.c: the core's elementary functions alone."""
    csrc = ROOT / "csrc"
    found = ctypes.CDLL(str(library("functions", [NATIVE / "functions.c"], CORE_FLAGS, csrc)))
    found.function_name.restype = ctypes.c_char_p
    found.function_error.restype = found.function_speed.restype = ctypes.c_double
    return found


def sampler() -> ctypes.CDLL:
    """native/sampler.c: where a thread is, again and again."""
    found = ctypes.CDLL(str(library("sampler", [NATIVE / "sampler.c"], "-O2")))
    found.sampler_stop.restype = ctypes.c_size_t
    return found


def callgrind_marks() -> ctypes.CDLL | None:
    """native/marks.c, or None without valgrind's header."""
    try:
        return ctypes.CDLL(str(library("marks", [NATIVE / "marks.c"], "-O2")))
    except subprocess.CalledProcessError:
        return None
