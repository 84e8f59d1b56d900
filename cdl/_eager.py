"""_eager.py - running a few instructions at once on arrays: `layer(x)`, `relu(x)`, `loss(y, p)`.

The formulas live once, in the core: an eager call is a small program that is run and forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cdl import _core
from cdl._program import Program
from cdl._variable import Array


def run(program: Program, arrays: Sequence[Array]) -> Any:
    """The outputs of ``program`` for all rows of ``arrays``: an array, or a list of several.

    Args:
        program: its outputs are what is returned.
        arrays: one for each of its inputs, all with as many rows.
    """
    rows = len(arrays[0])
    executor = _core.Executor(program.fused(training=False), max(1, min(rows, 256)))
    return executor.predict(list(arrays))


def states(program: Program, arrays: Sequence[Array], most: int) -> list[tuple[float, ...]]:
    """The state of each report of ``program`` over all rows, in batches of at most ``most``."""
    rows = max(1, min(len(arrays[0]), most))
    executor = _core.Executor(program.fused(training=False), rows)
    executor.begin(list(arrays), rows)
    executor.test(10**9, 1e9)
    return executor.states()
