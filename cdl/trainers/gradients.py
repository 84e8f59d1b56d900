"""Gradients: gradients of the compiled loss by each weight, for a batch.

The core never keeps a whole gradient that it does not need: blocks of it go straight into the
optimizer. Here the optimizer is one that waits for very many batches before its first step, so that
what it has gathered of the first one is the gradient, and no weight has moved.
"""

import threading
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl._common.naming import FreeNames
from cdl._core import Executor, Parameter, clear_all, get_all
from cdl._ir.program import Program
from cdl._tracing.variable import Variable
from cdl.random import core_seed
from cdl.trainers.compile_utils import Resolved
from cdl.trainers.custom.host_functions import HostFunctions, WeightRules
from cdl.trainers.data_adapter import Arrays
from cdl.trainers.lowering import Plan

_NEVER = 2**30  # batches before a step is made


class Gathering:
    """Executor whose steps leave the weights alone, and its accumulated gradients.

    Args:
        program: of a training step.
        variables: the weights.
        penalized: ids of those whose penalties are left to the program.
        rows: the most rows of a batch.

    Attributes:
        executor: of the program.
        sums: by weight.
        lock: to be held from `begin` until the sums have been read.
    """

    def __init__(
        self, program: Program, variables: list[Variable], penalized: Collection[int], rows: int
    ) -> None:
        self.lock = threading.RLock()
        self._weight_rules = WeightRules(variables, True, penalized, constrains=False)
        self.sums = {v: Parameter(v.storage.shape, v.storage.matrix) for v in variables}
        self._sums = list(self.sums.values())
        rules = {
            "penalties": self._weight_rules.rules["penalties"],
            "added_gradients": self._weight_rules.rules["added_gradients"],
            "gradient_accumulation_steps": _NEVER,
            "accumulators": self.sums,
        }
        learning: dict[Variable, list[Parameter]] = {v: [] for v in variables}
        self.executor = Executor(
            program, rows, training=True, optimizer=[("sgd", {}, learning)], rules=rules
        )

    def begin(self, arrays: Sequence[Any], rows: int) -> None:
        """Load a batch, with the sums reset."""
        self._reset()
        self.executor.begin(arrays, rows)

    def _reset(self) -> None:
        clear_all(self._sums)
        self._weight_rules.before_step()

    def train(self, step: int) -> None:
        """Accumulate the gradients of the batch.

        Args:
            step: of the optimizer; it chooses what dropout drops.
        """
        self.executor.train(1, 0.0, np.zeros(1, np.float32), step % (_NEVER - 1), core_seed())

    def once(self, arrays: Sequence[Any], step: int) -> list[NDArray[np.float32]]:
        """Gradients of a batch by the weights, in their order.

        Args:
            arrays: the batch.
            step: as in `train`.
        """
        self._reset()
        self.executor.once(arrays, 0.0, step % (_NEVER - 1), core_seed())
        return get_all(self._sums)


class Gradients:
    """Executor that gathers the gradients of batches of up to `rows` rows.

    Args:
        plan: the program of a training step.
        resolved: the losses, for those in Python.
        variables: the weights.
        rows: the most rows of a batch.
    """

    def __init__(
        self, plan: Plan, resolved: Resolved, variables: list[Variable], rows: int
    ) -> None:
        self._plan = plan
        self._parts = HostFunctions(resolved._replace(metrics=()), plan)
        self._gathering = Gathering(plan.program, variables, plan.penalized, rows)
        self._others = [v for v in plan.program.variables if v not in self._gathering.sums]

    def of(self, arrays: Arrays, step: int) -> dict[str, NDArray[np.float32]]:
        """Gradient of a batch's loss by each weight, by its path; the weights stay.

        The second weight of a path `a` is `a_1`. Threads wait for one another.

        Args:
            arrays: the batch.
            step: of the optimizer; it chooses what dropout drops.
        """
        with self._gathering.lock:
            return self._of(arrays, step)

    def _of(self, arrays: Arrays, step: int) -> dict[str, NDArray[np.float32]]:
        executor, step = self._gathering.executor, step % (_NEVER - 1)
        # Statistics of batches, which the training mode moves.
        kept = [(variable, variable.numpy()) for variable in self._others]
        self._gathering.begin(self._plan.fed(arrays), arrays.samples)
        calls = self._plan.calls
        if self._parts.losses or calls is not None:
            rows = executor.forward(True, step, core_seed())
            if calls is not None:
                calls.run(lambda i: executor.output(i, rows))
            executor.backward(self._parts.losses_of(executor, rows, True), 0.0, step)
        else:
            self._gathering.train(step)
        for variable, value in kept:
            variable.assign(value)
        executor.release()
        names = FreeNames()
        sums = self._gathering.sums
        return {names.take(variable.path): total.get() for variable, total in sums.items()}
