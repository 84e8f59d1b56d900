"""Eager calls on arrays: `layer(x)`, `relu(x)`, `loss(y, p)`.

Formulas exist once, in the core: an eager call runs a small program, which its caller caches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from cdl import _core
from cdl._common import dtypes
from cdl._ir.program import Program
from cdl._tracing.variable import Array, in_calls
from cdl._variables.draw_counts import drew
from cdl._variables.low_array import low

_MOST_BYTES = 2**23  # of an executor that is kept: a larger one takes longer to run than to make
_MOST = 4  # executors of a program: numbers of rows that came once must not pile up


class Batch(NamedTuple):
    """Result of `Runner.batch`: all outputs, and the activity penalties of the batch."""

    outputs: list[Array]
    penalty: float


def in_dtypes(arrays: Sequence[Array], names: Sequence[str]) -> list[Array]:
    """Outputs of an executor in their dtypes, where these have 16 bits."""
    pairs = zip(arrays, names, strict=True)
    return [in_calls(low(a, name)) if name in dtypes.LOW else a for a, name in pairs]


class Runner:
    """Program for calls on arrays, and its executors, by the number of rows.

    Each call takes one for exclusive use, so that threads may call concurrently.

    Args:
        program: a fused program.
        training: whether dropout and the like behave as in training in `batch`.
    """

    def __init__(self, program: Program, training: bool = False) -> None:
        self.program = program
        self._draws = any("seed" in each.attributes for each in program.flat(True).instructions)
        self._training = training
        self._is_low = any(name in dtypes.LOW for name in program.output_dtypes)
        self._free: dict[int, _core.Executor] = {}

    def rows(self, arrays: Sequence[Array]) -> Any:
        """Outputs for all rows of ``arrays``: an array, or a list of several.

        Args:
            arrays: one for each input, all with as many rows.
        """
        rows = max(1, min(len(arrays[0]), 256))
        executor = self._take(rows)
        outputs = executor.predict(list(arrays))
        self._give_back(rows, executor)
        if not self._is_low:
            return outputs
        found = outputs if isinstance(outputs, list) else [outputs]
        found = in_dtypes(found, self.program.output_dtypes)
        return found if isinstance(outputs, list) else found[0]

    def batch(self, arrays: Sequence[Array], iteration: int, seed: int) -> Batch:
        """Run all rows of ``arrays`` as one batch; in training batch statistics are updated.

        Args:
            arrays: one for each input, all with as many rows.
            iteration: number of the step, for random numbers.
            seed: of the random numbers.
        """
        rows = len(arrays[0])
        executor = self._take(rows)
        executor.reset()
        executor.begin(list(arrays), rows)
        executor.forward(self._training, iteration, seed)
        if self._draws:
            drew()
        outputs = [executor.output(i, rows) for i in range(len(self.program.outputs))]
        if self._is_low:
            outputs = in_dtypes(outputs, self.program.output_dtypes)
        batch = Batch(outputs, executor.penalty()[0] / rows)
        executor.release()
        self._give_back(rows, executor)
        return batch

    def _take(self, rows: int) -> _core.Executor:
        kept = self._free.pop(rows, None)
        return _core.Executor(self.program, rows, training=self._training) if kept is None else kept

    def _give_back(self, rows: int, executor: _core.Executor) -> None:
        if executor.memory()[0] <= _MOST_BYTES:
            if len(self._free) >= _MOST:
                self._free.clear()
            self._free[rows] = executor


def run(program: Program, arrays: Sequence[Array]) -> Any:
    """Outputs of ``program`` for all rows of ``arrays``: an array, or a list of several.

    Args:
        program: its outputs are what is returned.
        arrays: one for each of its inputs, all with as many rows.
    """
    return Runner(program.fused(training=False)).rows(arrays)


def states(program: Program, arrays: Sequence[Array], most: int) -> list[tuple[float, ...]]:
    """State of each report of ``program`` over all rows, in batches of at most ``most``."""
    rows = max(1, min(len(arrays[0]), most))
    executor = _core.Executor(program.fused(training=False), rows)
    executor.begin(list(arrays), rows)
    executor.test(10**9, 1e9)
    return executor.states()
