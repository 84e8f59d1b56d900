"""`python -m cdl info`: version and machine details for a bug report."""

import platform
from importlib import metadata

import numpy as np

from cdl import _core
from cdl.distribution.api import initialized


def size(n: int) -> str:
    """`48 KB`, `30 MB`."""
    return f"{n >> 20} MB" if n >= 1 << 20 and n % (1 << 20) == 0 else f"{n / 1024:.5g} KB"


def caches() -> str:
    """Text of the cache sizes, by which blocks are sized: `L1 48 KB, L2 2 MB, L3 30 MB`."""
    sizes = _core.info()["caches"]
    return ", ".join(f"L{level} {size(n)}" for level, n in enumerate(sizes, 1))


def report() -> str:
    """One `name: value` line a fact, in the order in which one would ask for them."""
    core = _core.info()
    shared = initialized()
    if shared is not None:
        lines = shared.gathered(f"{shared}, threads: {shared.threads}")
        if shared.rank:  # the first speaks for all
            return ""
    facts = {
        "version": metadata.version("cdl-nn"),
        "python": f"{platform.python_version()}, numpy {np.__version__}",
        "machine": f"{platform.system()} {platform.machine()}",
        "isa": f"{core['isa']} (available: {', '.join(_core.available_isas())})",
        "threads": f"{core['threads']} ({core['threads_reason']})",
        "openmp": "yes, its limits are heeded" if core["openmp"] else "no",
        "compiler": core["compiler"],
        "caches": f"{caches()} ({core['caches_reason']})",
    }
    if shared is not None:
        facts |= {f"rank {rank}": line for rank, line in enumerate(lines)}
    width = max(map(len, facts)) + 1
    return "\n".join(f"{name + ':':<{width}} {value}" for name, value in facts.items())
