"""Cdl's core driven by hand: what training costs below the Python of `fit`."""

from __future__ import annotations

import numpy as np

from benchmarks.harness import cases
from benchmarks.harness.cases import Case, Data
from cdl import _core
from cdl._ir.program import Program
from cdl._tracing.variable import Variable


def program(case: Case, variables: list[Variable], targets: bool) -> Program:
    """The net of a case, with loss and accuracy if it is to learn."""
    made = Program()
    value = made.input((case.sizes[0],))
    last = len(case.layers) - 1
    kind = "plain_relu" if case.activation == "relu" else case.activation
    for i, (_, n) in enumerate(case.layers):
        value = made.emit("dense", [value], (n,), tuple(variables[2 * i : 2 * i + 2]))
        if i < last:
            value = made.emit("activation", [value], (n,), kind=kind)
        elif case.loss == "softmax":
            value = made.emit("softmax", [value], (n,))
    made.output(value)
    if targets:
        y = made.input((case.sizes[-1],), role="y")
        if case.loss == "softmax":
            made.loss("categorical_crossentropy", y, value, label_smoothing=0.0)
            made.metric("categorical_accuracy", y, value)
        else:
            made.loss("mean_squared_error", y, value)
    return made.fused()


def variables(case: Case) -> list[Variable]:
    found = []
    for i, (k, n) in enumerate(case.layers):
        found.append(Variable((k, n), name=f"dense_{i}/kernel", matrix=True))
        found.append(Variable((n,), name=f"dense_{i}/bias"))
    return found


class Trainer:
    """Training by one call of the core an epoch."""

    def __init__(self, case: Case, data: Data, threads: int, variant: str) -> None:
        self.data = data
        self.batch = case.batch
        self.rate = np.array([cases.RATE], np.float32)
        self.variables = variables(case)
        row, hypers = "sgd", {}
        if case.optimizer == "adam":
            row = "adam"
            hypers = {
                "beta_1": cases.BETA_1,
                "beta_2": cases.BETA_2,
                "epsilon": cases.EPSILON,
            }
        names = _core.OPTIMIZERS[row].slots
        self.slots = {
            v: [_core.Parameter(v.shape, v.storage.matrix) for _ in names] for v in self.variables
        }
        net = program(case, self.variables, targets=True)
        self.executor = _core.Executor(
            net, case.batch, training=True, optimizer=(row, hypers, self.slots)
        )
        self.rng = np.random.default_rng(0)

    def reset(self) -> None:
        self.iteration = 0
        for variable, value in zip(self.variables, self.data.weights, strict=True):
            variable.assign(value)
            for slot in self.slots[variable]:
                slot.set(np.zeros(variable.shape, np.float32))

    def train(self, epochs: int, shuffle: bool = True) -> None:
        rows = len(self.data.x)
        for _ in range(epochs):
            order = self.rng.permutation(rows) if shuffle else None
            self.executor.begin([self.data.x, self.data.y], self.batch, order)
            self.executor.reset()
            self.iteration += self.executor.train(rows, 1e9, self.rate, self.iteration, 0)

    def weights(self) -> list[np.ndarray]:
        return [variable.numpy() for variable in self.variables]
