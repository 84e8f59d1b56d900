"""What `python -m cdl info` prints: the lines to paste into a bug report."""

import platform
from importlib import metadata
from pathlib import Path

import numpy as np

from cdl import _core

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


def caches() -> str:
    """`L1d 48 KB, L2 1024 KB, L3 32768 KB` of the first core; empty where Linux does not tell."""
    found = []
    for index in sorted(_CACHES.glob("index*")):
        try:
            level, kind, size = (
                (index / name).read_text().strip() for name in ("level", "type", "size")
            )
        except OSError:
            continue
        if kind != "Instruction":
            found.append(f"L{level}{'d' * (kind == 'Data')} {size.removesuffix('K')} KB")
    return ", ".join(found)


def report() -> str:
    """One `name: value` line a fact, in the order in which one would ask for them."""
    core = _core.info()
    facts = {
        "version": metadata.version("cdl-nn"),
        "python": f"{platform.python_version()}, numpy {np.__version__}",
        "machine": f"{platform.system()} {platform.machine()}",
        "isa": f"{core['isa']} (available: {', '.join(_core.available_isas())})",
        "threads": f"{core['threads']} ({core['threads_reason']})",
        "openmp": "yes" if core["openmp"] else "no, so the core runs on one thread",
        "compiler": core["compiler"],
    }
    if known := caches():
        facts["caches"] = known
    width = max(map(len, facts)) + 1
    return "\n".join(f"{name + ':':<{width}} {value}" for name, value in facts.items())
