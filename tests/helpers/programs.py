"""Small programs, their runs and exact gradients, for the tests of the core."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import pairwise

import numpy as np

from cdl import _core
from cdl._ir.lowering import Lowering
from cdl._tracing.variable import Variable

# ISAs: two are another one's with a product of integers, see tests/core/test_dense_int.py.
ISAS = [isa for isa in _core.available_isas() if isa not in ("avxvnni", "dotprod")]
# Teams: threads with samples of their own, and threads that share each instruction.
TEAMS = [{"threads": n, "lockstep": together} for together in (False, True) for n in (2, 3)]
WIDTHS = (1, 2, 3, 7, 16, 17, 31, 63, 64, 65, 100, 129, 257)  # round the registers and the panels


def weight(values, matrix=None):
    """A weight of these values; by default two axes or more make it the factor of a product."""
    values = np.asarray(values, np.float32)
    matrix = values.ndim > 1 if matrix is None else matrix
    return Variable(values.shape, lambda shape: values, matrix=matrix)


def random_weight(rng, *shape):
    """Values that keep a layer's outputs at about the size of its inputs."""
    return weight(rng.normal(size=shape) / np.sqrt(shape[0]))


def dense(program, x, kernel, bias=None, **attributes):
    shape = (*x.shape[:-1], kernel.shape[1])
    return program.emit("dense", [x], shape, (kernel, bias), **attributes)


def activation(program, x, kind, **parameters):
    return program.emit("activation", [x], x.shape, kind=kind, **parameters)


def mlp(rng, widths, kind="plain_relu", *, bias=True, last=None, **parameters):
    """Program and output of dense layers with activations between them and `last` at the end."""
    program = Lowering()
    x = program.input((widths[0],))
    for i, (k, n) in enumerate(pairwise(widths)):
        b = weight(rng.normal(size=n) * 0.1) if bias else None
        x = dense(program, x, random_weight(rng, k, n), b)
        if i < len(widths) - 2:
            x = activation(program, x, kind, **parameters)
    if last == "softmax":
        x = program.emit("softmax", [x], x.shape)
    elif last:
        x = activation(program, x, last)
    program.output(x)
    return program, x


def learner(row, variables, **hypers):
    """An optimizer as Executor takes it, with fresh slots."""
    names = _core.OPTIMIZERS[row].slots
    return row, hypers, {v: [slot_of(v, name) for name in names] for v in variables}


def slot_of(variable, name):
    """A slot for each element of a weight, or for each of its rows or columns."""
    if name == "row":
        return _core.Parameter(variable.shape[:-1])
    if name == "column":
        return _core.Parameter((*variable.shape[:-2], variable.shape[-1]))
    return _core.Parameter(variable.shape, variable.storage.matrix)


def gradient_keeper(variables):
    """An optimizer whose only slot is -rate * gradient, to the bit."""
    return learner("sgd_momentum", variables, momentum=0.0)


def kept(optimizer):
    """The gradients that a gradient_keeper has seen, at rate 1, by variable."""
    return {variable: -slots[0].get() for variable, slots in optimizer[2].items()}


@contextmanager
def unchanged(program):
    """A context after which the weights are again as before."""
    before = [(v, v.numpy()) for v in program.variables]
    yield
    for v, values in before:
        v.assign(values)


def gradients(program, arrays, *, batch=None, **options):
    """Gradients of a program's losses over the first batch (or all rows), by variable."""
    rows = batch or len(arrays[0])
    optimizer = gradient_keeper(program.variables)
    executor = _core.Executor(program, rows, training=True, optimizer=optimizer, **options)
    executor.begin(arrays, rows)
    with unchanged(program):
        executor.train(1, 100.0, [1.0], 0, 0)
    return kept(optimizer)


def pull_back(program, arrays, dy, *, iteration=0, seed=0, **options):
    """(output, gradients by variable) of sum(dy * output) over all rows as one batch."""
    rows = len(arrays[0])
    optimizer = gradient_keeper(program.variables)
    executor = _core.Executor(program, rows, training=True, optimizer=optimizer, **options)
    executor.begin(arrays, rows)
    executor.forward(True, iteration, seed)
    output = executor.output(0, rows)
    with unchanged(program):
        executor.backward(np.broadcast_to(np.float32(dy), output.shape), 1.0, iteration)
    return output, kept(optimizer)


def scores_program(z, emit):
    """Program whose only weight is z (rows, n): `emit(program, scores)` sees exactly z.

    Its first input must be eye(rows): the product with z is z, and the gradient by the weight is
    the gradient by the scores, to the bit as long as all of them are finite.
    """
    program = Lowering()
    x = program.input((len(z),))
    emit(program, dense(program, x, weight(z)))
    return program


def predict(program, arrays, *, rows=None, **options):
    return _core.Executor(program, rows or max(1, len(arrays[0])), **options).predict(arrays)


def train(
    program, arrays, optimizer, *, batch, epochs=1, rate=0.01, seed=0, orders=None, **options
):
    """Runs whole epochs; the reports' results of each epoch."""
    executor = _core.Executor(program, batch, training=True, optimizer=optimizer, **options)
    iteration, logs = 0, []
    for epoch in range(epochs):
        executor.begin(arrays, batch, None if orders is None else orders[epoch])
        executor.reset()
        iteration += executor.train(10**9, 1e9, [rate], iteration, seed)
        logs.append(executor.results())
    return logs
