"""Four recurrent nets and a transformer: data, first weights, arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

GATES = {"gru": 3, "lstm": 4}


@dataclass(frozen=True)
class Net:
    """A recurrent layer or two and a dense one of one unit, trained by Adam.

    Or (`heads`) one block of a transformer, whose dense net has `units`, too, the mean of its
    steps, and dense layers of 20 units and of one.

    Samples are `steps_of` lines of `inputs` numbers, and the loss their mean squared error; or with
    an embedding as many tokens, and the loss is of two classes.
    """

    name: str
    length: int
    inputs: int
    cell: str
    units: int
    batch: int
    steps: int  # whole batches of an epoch
    depth: int = 1
    is_bidirectional: bool = False
    vocabulary: int = 0  # tokens of the embedding; 0: none
    heads: int = 0

    @property
    def rows(self) -> int:
        return self.batch * self.steps

    @property
    def directions(self) -> int:
        return 1 + self.is_bidirectional

    @property
    def parameters(self) -> int:
        return sum(w.size for w in weights(self))

    def inputs_of(self, layer: int) -> int:
        return self.units * self.directions if layer else self.inputs

    def row_flops(self) -> list[float]:
        """Floating-point operations of one sample, forward, for each layer."""
        if self.heads:
            wide = self.heads * self.units
            lines = 4 * self.inputs * wide + 2 * self.length * wide + 2 * self.inputs * self.units
            return [2.0 * self.length * lines]
        columns = GATES[self.cell] * self.units
        return [
            2.0 * self.length * self.directions * (self.inputs_of(k) + self.units) * columns
            for k in range(self.depth)
        ]

    @property
    def step_flops(self) -> float:
        """Floating-point operations of a step; inputs that are no embedding need no gradient."""
        if self.heads:
            return self.batch * 3 * sum(self.row_flops())
        first = 2.0 * self.length * self.directions * self.inputs * GATES[self.cell] * self.units
        return self.batch * (3 * sum(self.row_flops()) - (0 if self.vocabulary else first))


NETS = {
    net.name: net
    for net in (
        Net("gru", 48, 8, "gru", 32, 32, 32),
        Net("lstm", 100, 32, "lstm", 64, 32, 8),
        Net("lstm_big", 100, 128, "lstm", 256, 64, 1),
        Net("bilstm_imdb", 200, 128, "lstm", 64, 32, 2, 2, True, 20_000),
        Net("transformer", 200, 32, "attention", 32, 32, 8, vocabulary=20_000, heads=2),
    )
}


def weights(net: Net, seed: int = 0) -> list[np.ndarray]:
    """Weights in Keras's order: the embedding, kernel, recurrent kernel and bias, ..., dense."""
    rng = np.random.default_rng(seed)

    def uniform(*shape: int) -> np.ndarray:
        limit = math.sqrt(6.0 / sum(shape))
        return rng.uniform(-limit, limit, shape).astype(np.float32)

    found = []
    if net.vocabulary:
        found.append(rng.uniform(-0.05, 0.05, (net.vocabulary, net.inputs)).astype(np.float32))
    if net.heads:
        return found + block(net, uniform)
    columns = GATES[net.cell] * net.units
    for k in range(net.depth):
        for _ in range(net.directions):
            shape = (2, columns) if net.cell == "gru" else (columns,)
            found += [uniform(net.inputs_of(k), columns), uniform(net.units, columns)]
            found.append(np.zeros(shape, np.float32))
    last = net.units * net.directions
    return [*found, uniform(last, 1), np.zeros(1, np.float32)]


def block(net: Net, uniform) -> list[np.ndarray]:
    """The weights of a transformer's block, behind the embedding."""
    width, heads, units = net.inputs, net.heads, net.units

    def zeros(*shape: int) -> np.ndarray:
        return np.zeros(shape, np.float32)

    found = []
    for _ in range(3):
        found += [uniform(width, heads, units), zeros(heads, units)]
    found += [uniform(heads, units, width), zeros(width)]
    norm = [np.ones(width, np.float32), zeros(width)]
    found += [*norm, uniform(width, units), zeros(units), uniform(units, width), zeros(width)]
    return [*found, *norm, uniform(width, 20), zeros(20), uniform(20, 1), zeros(1)]


def data(net: Net, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Noise and the mean of its first columns; or tokens, and whether small ones are the most."""
    rng = np.random.default_rng(seed)
    if net.vocabulary:
        x = rng.integers(0, net.vocabulary, (net.rows, net.length)).astype(np.int32)
        y = (x < net.vocabulary // 2).mean(1, keepdims=True) > 0.5
        return x, y.astype(np.float32)
    x = rng.standard_normal((net.rows, net.length, net.inputs), np.float32)
    return x, x[:, -10:, 0].sum(1, keepdims=True)
