"""_eager.py - running a few instructions at once on arrays: `layer(x)`, `relu(x)`, `loss(y, p)`.

The formulas live once, in the core: an eager call is a small program that is run and forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

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


class Batch(NamedTuple):
    """What `run_batch` found: the first output, and the activity penalties of the batch."""

    output: Array
    penalty: float


def run_batch(
    program: Program, arrays: Sequence[Array], training: bool, iteration: int, seed: int
) -> Batch:
    """All rows of ``arrays`` as one batch, in training mode or not.

    Args:
        program: what is run; weights that follow the batches do so in training mode.
        arrays: one for each of its inputs, all with as many rows.
        training: whether dropout and the like behave as in training.
        iteration: number of the step, for random numbers.
        seed: of the random numbers.
    """
    executor = _core.Executor(program.fused(training), len(arrays[0]), training=training)
    executor.begin(list(arrays), len(arrays[0]))
    rows = executor.forward(training, iteration, seed)
    return Batch(executor.output(0, rows), executor.penalty()[0] / rows)
