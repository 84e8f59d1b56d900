"""Loops over the samples of Inputs: scan, map, associative_scan, while_loop, fori_loop."""

import copy
import os

import numpy as np
import pytest

import cdl
from cdl import layers, ops

X = np.random.default_rng(1).normal(size=(11, 3)).astype(np.float32)
Y = np.random.default_rng(2).normal(size=(11, 2)).astype(np.float32)


def fading(state, x):
    state = 0.5 * state + x
    return state, state * x


def faded(x, reverse=False):
    state, found = np.zeros(3), []
    for row in x[::-1] if reverse else x:
        state = 0.5 * state + row
        found.append(state * row)
    return np.array(found[::-1] if reverse else found)


def doubled_while(x):
    _, x, _ = ops.while_loop(
        lambda i, y, n: i < ops.shape(n)[0], lambda i, y, n: (i + 1, y * 1.1, n), (0, x, x)
    )
    return x


# Functions of Inputs, and the same in NumPy.
LOOPS = {
    "scan": (lambda x: ops.scan(fading, ops.zeros((3,)), x)[1], faded),
    "scan back": (
        lambda x: ops.scan(fading, ops.zeros((3,)), x, reverse=True)[1],
        lambda x: faded(x, True),
    ),
    "map": (lambda x: ops.map(lambda row: row * ops.max(row), x), lambda x: x * x.max(1)[:, None]),
    "vectorized map": (
        lambda x: ops.vectorized_map(lambda row: ops.sum(row * row) + row, x),
        lambda x: (x * x).sum(1)[:, None] + x,
    ),
    "map of two": (
        lambda x: ops.map(lambda both: both[0] * both[1], (x, x + 1.0)),
        lambda x: x * (x + 1),
    ),
    "associative scan": (
        lambda x: ops.associative_scan(lambda a, b: a + b, x),
        lambda x: np.cumsum(x, 0),
    ),
    "while": (doubled_while, lambda x: x * 1.1 ** len(x)),
    "behind a matrix": (
        lambda x: ops.map(ops.softmax, ops.matmul(x, ops.transpose(x))) @ x,
        lambda x: np.exp(x @ x.T) / np.exp(x @ x.T).sum(1, keepdims=True) @ x,
    ),
}
every_loop = pytest.mark.parametrize("name", LOOPS)


def model_of(name):
    cdl.utils.set_random_seed(3)
    x = cdl.Input((3,))
    model = cdl.Model(x, layers.Dense(2)(LOOPS[name][0](layers.Dense(3)(x))))
    model.compile(cdl.optimizers.SGD(0.01), "mse")
    return model


def weights(model):
    return [each.tolist() for each in model.get_weights()]


@every_loop
def test_loops_are_those_of_numpy(name):
    symbolic, numpy = LOOPS[name]
    x = cdl.Input((3,))
    model = cdl.Model(x, symbolic(x))
    assert model.output_shape == (None, 3)
    for batch in (4, 3, 11):  # with a last batch of 3, 2 and none; 3 is the width too
        parts = [numpy(X[at : at + batch].astype(float)) for at in range(0, 11, batch)]
        found = model.predict(X, batch_size=batch, verbose=0)
        np.testing.assert_allclose(found, np.concatenate(parts), rtol=2e-5, atol=2e-6)


@every_loop
def test_fit_is_train_on_batch(name):
    one, two = model_of(name), model_of(name)
    one.fit(X, Y, batch_size=4, shuffle=False, verbose=0)
    for at in (0, 4, 8):
        two.train_on_batch(X[at : at + 4], Y[at : at + 4])
    assert weights(one) == weights(two)


@every_loop
def test_gradients_are_those_of_float64(name):
    model, numpy = model_of(name), LOOPS[name][1]
    given = [each.astype(float) for each in model.get_weights()]
    found = list(model.gradients(X[:5], Y[:5]).values())

    def loss(first, bias, last, shift):
        return np.mean(np.square(numpy(X[:5] @ first + bias) @ last + shift - Y[:5]))

    for place, gradient in enumerate(found):
        for at in np.ndindex(gradient.shape):
            moved = [[each.copy() for each in given] for _ in range(2)]
            for weight, step in zip(moved, (1e-5, -1e-5), strict=True):
                weight[place][at] += step
            expected = (loss(*moved[0]) - loss(*moved[1])) / 2e-5
            np.testing.assert_allclose(gradient[at], expected, rtol=2e-3, atol=2e-4)


def test_clones_and_copies_loop_too_and_a_file_is_refused(tmp_path):
    model = model_of("scan")
    for other in (cdl.models.clone_model(model), copy.deepcopy(model)):
        other.set_weights(model.get_weights())
        np.testing.assert_array_equal(
            other.predict(X, batch_size=4, verbose=0), model.predict(X, batch_size=4, verbose=0)
        )
    with pytest.raises(TypeError, match="scan over the samples of Inputs cannot be saved"):
        model.save(tmp_path / "m.keras")
    assert not list(tmp_path.iterdir())
    model.save_weights(tmp_path / "m.weights.h5")


def test_bits_are_those_of_any_number_of_threads(run_python):
    code = f"""
import sys; sys.path.insert(0, {os.path.dirname(__file__)!r})
from test_loops_over_samples import *
x, y = np.tile(X, (9, 1)), np.tile(Y, (9, 1))
for name in LOOPS:
    model = model_of(name)
    model.fit(x / 9, y, batch_size=40, verbose=0)
    print(name, weights(model))
"""
    runs = [run_python(code, env={**os.environ, "OMP_NUM_THREADS": str(n)}) for n in (1, 2, 3)]
    assert len({each.stdout for each in runs}) == 1 and "scan" in runs[0].stdout


def test_errors_of_steps_are_told():
    with pytest.raises(ValueError, match="scan: each step must carry on a state of the shape"):
        ops.scan(lambda state, x: (ops.sum(state), x), ops.zeros((3,)), cdl.Input((3,)))
    with pytest.raises(TypeError, match="scan: f must be a function"):
        ops.scan(3, ops.zeros((3,)), cdl.Input((3,)))


def test_a_step_that_reads_a_tensor_of_another_input_is_refused_by_name():
    x, y = cdl.Input((3,)), cdl.Input((3,))
    with pytest.raises(TypeError, match="sum of a symbolic tensor from outside of the function"):
        ops.map(lambda row: row * ops.sum(y), x)
    with pytest.raises(TypeError, match=r"add of a symbolic tensor .*hand it to the function"):
        ops.scan(lambda carry, row: (carry + y, row), ops.zeros((3,)), x)
    both = ops.map(lambda rows: rows[0] * rows[1], (x, y))
    data = np.arange(6, dtype=np.float32).reshape(2, 3)
    found = cdl.Model([x, y], both).predict([data, data], verbose=0)
    np.testing.assert_array_equal(found, data * data)
