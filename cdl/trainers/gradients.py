"""Gradients: gradients of the compiled loss by each weight, for a batch."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl._common.naming import FreeNames
from cdl._tracing.variable import Variable
from cdl.random import core_seed
from cdl.trainers.compile_utils import Resolved
from cdl.trainers.custom.host_functions import HostFunctions
from cdl.trainers.data_adapter import Arrays
from cdl.trainers.lowering import Plan
from cdl.trainers.vjp import STEPS, GradientExecutor


class Gradients:
    """Gradients of batches by a program of a training step, losses in Python among it.

    Args:
        plan: the program.
        resolved: the losses, for those in Python.
    """

    def __init__(self, plan: Plan, resolved: Resolved, variables: list[Variable]) -> None:
        self._plan = plan
        self._parts = HostFunctions(resolved._replace(metrics=()), plan)
        self._executor = GradientExecutor(plan.program, variables, plan.penalized)
        self._others = [v for v in plan.program.variables if v not in self._executor.sums]

    def of(self, arrays: Arrays, step: int) -> dict[str, NDArray[np.float32]]:
        """Gradient of a batch's loss by each weight, by its path; the weights stay.

        The second weight of a path `a` is `a_1`. Threads wait for one another.

        Args:
            step: of the optimizer; it chooses what dropout drops.
        """
        with self._executor.lock:
            return self._of(arrays, step)

    def _of(self, arrays: Arrays, step: int) -> dict[str, NDArray[np.float32]]:
        # Statistics of batches, which the training mode moves.
        step %= STEPS
        kept: list[tuple[Any, Any]] = [(variable, variable.numpy()) for variable in self._others]
        executor = self._executor.begin(self._plan.fed(arrays), arrays.samples)
        calls = self._plan.calls
        if self._parts.losses or calls is not None:
            rows = executor.forward(True, step, core_seed())
            if calls is not None:
                calls.run(lambda i: executor.output(i, rows))
            executor.backward(self._parts.losses_of(executor, rows, True), 0.0, step)
        else:
            self._executor.train(step)
        for variable, value in kept:
            variable.assign(value)
        executor.release()
        names = FreeNames()
        sums = self._executor.sums
        return {names.take(variable.path): total.get() for variable, total in sums.items()}
