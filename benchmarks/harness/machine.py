"""The machine of a table: CPU, versions, state of the tree."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
from pathlib import Path

from benchmarks import peers

ROOT = Path(__file__).parents[2]

# Settings of the shell that change how a peer, or cdl, runs by default.
UNSET = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "CDL_ISA")
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


def environment(threads: int) -> dict[str, str]:
    """The environment of a process that is measured at a number of threads."""
    env = {name: value for name, value in os.environ.items() if name not in UNSET}
    env |= dict.fromkeys(THREAD_VARIABLES, str(threads))
    if threads == 1:  # XLA else hands even one core's work to a pool
        env["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    env |= {"TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu", "PYTHONWARNINGS": "ignore"}
    env |= {"CUDA_VISIBLE_DEVICES": "", "PYTHONHASHSEED": "0"}
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT), env.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    return env


def cores() -> list[int]:
    return sorted(os.sched_getaffinity(0))


def pin(threads: int) -> None:
    """Pin this process and its children to the last cores: the first serves interrupts."""
    os.sched_setaffinity(0, cores()[-threads:])


def cpu() -> str:
    """The model's name, as far as the kernel tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    facts = {key.strip(): value.strip() for key, value in facts.items()}
    name = facts.get("model name", platform.machine())
    family = facts.get("cpu family")
    return f"{name} (family {family}, model {facts['model']})" if family else name


def git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def facts() -> dict[str, object]:
    """Facts of this machine and this run."""
    from cdl import _core
    from cdl._cli import info

    core = _core.info()
    changed = git("status", "--porcelain", "--", "cdl", "csrc")
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": git("rev-parse", "--short", "HEAD") + (" and changes" if changed else ""),
        "cpu": cpu(),
        "cores": len(cores()),
        "isa": core["isa"],
        "caches": info.caches(),
        "compiler": core["compiler"],
        "python": platform.python_version(),
        "versions": peers.versions(),
        "load": round(os.getloadavg()[0], 2),
        "command": " ".join(["python", "-m", *module_and_arguments()]),
    }


def module_and_arguments() -> list[str]:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    name = spec.name.removesuffix(".__main__") if spec else Path(sys.argv[0]).name
    return [name, *sys.argv[1:]]


def caption(facts: dict) -> str:
    """Two lines below a table."""
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    return (
        f"{facts['date']}, commit {facts['commit']}, {facts['cpu']}, {facts['cores']} cores, "
        f"{facts['isa']}, {facts['caches']}; load at the start {facts['load']}.\n"
        f"Python {facts['python']}, {versions}, {facts['compiler']}. `{facts['command']}`"
    )
