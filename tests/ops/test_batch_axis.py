"""Tensors whose axis of samples is not the first, or is one with another."""

import numpy as np
import pytest
from traced import run

from cdl import Input, Model, layers, ops
from cdl._tracing.graph import scope

RNG = np.random.default_rng(0)
X = RNG.normal(size=(7, 4)).astype(np.float32)
T = RNG.normal(size=(7, 5, 4)).astype(np.float32)
W = RNG.normal(size=(4, 3)).astype(np.float32)
EACH = RNG.normal(size=(5, 4, 3)).astype(np.float32)  # a matrix for each step
ROWS = RNG.normal(size=(5, 1, 4)).astype(np.float32)
PLACES = np.float32([[0, 3], [1, 1], [2, 0], [3, 3], [0, 0], [1, 2], [2, 2]])


def steps_first(t):
    return ops.transpose(t, (1, 0, 2))


def joined(samples, *others):
    return ops.concatenate([ops.expand_dims(samples, -1), ops.convert_to_tensor(others)], 0)


def recurrent(t):
    def step(state, now):
        state = ops.tanh(now @ W + 0.5 * state)
        return state, state

    last, states = ops.scan(step, ops.zeros((ops.shape(t)[0], 3)), steps_first(t))
    return last, ops.transpose(states, (1, 0, 2))


CASES = {
    "mean of a stack": (lambda x: ops.mean(ops.stack([x, x * 2, x**2]), axis=0), X),
    "max of a stack": (lambda x: ops.max(ops.stack([x, -x]), axis=0, keepdims=True), X),
    "deviation of a stack": (lambda x: ops.std(ops.stack([x, x * 3, 1 - x]), axis=0), X),
    "softmax of a stack": (lambda x: ops.softmax(ops.stack([x, x * 2, -x]), axis=0), X),
    "places in a stack": (lambda x: ops.argmax(ops.stack([x, x * 2, -x]), axis=0), X),
    "order in a stack": (lambda x: ops.sort(ops.stack([x, x * 2, -x]), axis=0), X),
    "sums of a stack": (lambda x: ops.cumsum(ops.stack([x, x * 2, -x]), axis=0), X),
    "norm of a stack": (lambda x: ops.norm(ops.stack([x, x * 2, -x]), axis=0), X),
    "steps one by one": (recurrent, T),
    "steps unstacked": (lambda t: sum(v * i for i, v in enumerate(ops.unstack(t, axis=1))), T),
    "steps first and back": (lambda t: steps_first(steps_first(t) * 2.0 + ROWS), T),
    "first and last step": (lambda t: steps_first(t)[0] - steps_first(t)[-1], T),
    "some steps": (lambda t: ops.transpose(steps_first(t)[1:4:2], (1, 2, 0)), T),
    "all but some": (lambda t: steps_first(t)[:, :, 1:3], T),
    "steps joined": (lambda t: ops.concatenate([steps_first(t), steps_first(t)[:2]], axis=0), T),
    "steps taken": (lambda t: ops.take(steps_first(t), [4, 0], axis=0), T),
    "steps repeated": (lambda t: ops.repeat(steps_first(t), 2, axis=0), T),
    "steps tiled": (lambda t: ops.tile(steps_first(t), (2, 1, 2)), T),
    "steps turned round": (lambda t: ops.flip(steps_first(t), axis=0), T),
    "steps rolled": (lambda t: ops.roll(steps_first(t), 2, axis=0), T),
    "steps padded": (lambda t: ops.pad(steps_first(t), ((1, 2), (0, 0), (0, 1))), T),
    "steps split": (lambda t: ops.split(steps_first(t), [2], axis=0)[1], T),
    "a product": (lambda t: steps_first(t) @ W, T),
    "a product with a vector": (lambda t: ops.matmul(steps_first(t), W[:, 0]), T),
    "a product for each step": (lambda t: ops.matmul(steps_first(t), EACH), T),
    "a product of columns": (lambda x: ops.matmul(W.T, ops.transpose(x)), X),
    "columns back": (lambda x: ops.transpose(ops.matmul(W.T, ops.transpose(x))), X),
    "letters": (lambda t: ops.einsum("bti->tbi", t), T),
    "letters for each step": (lambda t: ops.einsum("tbi,tij->btj", steps_first(t), EACH), T),
    "letters over steps": (lambda t: ops.einsum("tbi,tij->bj", steps_first(t), EACH), T),
    "letters over samples": (
        lambda t: ops.einsum("tbi,tbj->ij", steps_first(t), steps_first(t)),
        T,
    ),
    "a sum of products over samples": (lambda x: ops.matmul(ops.transpose(x), x[:, :2]), X),
    "of one column": (lambda x: ops.matmul(ops.transpose(x), x[:, 0]), X),
    "of all": (lambda x: ops.tensordot(x, x + 1.0, 2), X),
    "of samples alone": (lambda x: ops.tensordot(x, x[:, 1:], axes=[[0], [0]]), X),
    "of samples and steps": (lambda t: ops.tensordot(t, t[:, :, 0], axes=[[0, 1], [0, 1]]), T),
    "a new axis in front": (lambda x: ops.sum(x[None] * ROWS, axis=0), X),
    "a new axis, made long": (
        lambda x: ops.broadcast_to(ops.expand_dims(x, 0), (2, ops.shape(x)[0], 4)),
        X,
    ),
    "sums over samples": (lambda t: ops.sum(steps_first(t), axis=1), T),
    "means over samples and steps": (lambda t: ops.mean(steps_first(t), axis=(0, 1)), T),
    "statistics of samples": (lambda t: steps_first(t) - ops.mean(steps_first(t), 1, True), T),
    "number of samples": (lambda t: t / ops.cast(ops.shape(steps_first(t))[1], "float32"), T),
    "zeros of steps": (lambda t: steps_first(t) + ops.ones((5, ops.shape(t)[0], 1)), T),
    "a mask tiled by a tensor of sizes": (
        lambda t: t * ops.tile(ROWS[:, 0][None], joined(ops.shape(t)[0], 1, 1)),
        T,
    ),
    "ones of stacked sizes": (lambda t: t + ops.ones(ops.stack([ops.shape(t)[0], 5, 4])), T),
    "reshaped by a tensor of sizes": (lambda t: ops.reshape(t, joined(ops.shape(t)[0], 20)), T),
    "a line for each sample": (lambda x: x + ops.repeat(ROWS[:1, 0], ops.shape(x)[0], 0), X),
    "named axes in another order": (lambda t: ops.rearrange(t, "b t c -> t b c") * 2.0, T),
    "named axes joined": (lambda t: ops.rearrange(t, "b t c -> b (c t)"), T),
    "samples and steps joined": (lambda t: ops.rearrange(t, "b t c -> (b t) c") @ W, T),
    "named axes split": (lambda t: ops.rearrange(t, "b t (h c) -> h b (t c)", h=2), T),
    "columns of a table": (lambda i: ops.take(EACH[0], i, axis=0), PLACES),
    "rows of a table": (lambda i: ops.take(EACH[:, :, 0], i, axis=1), PLACES),
    "numbers of classes first": (lambda i: ops.one_hot(i, 4, axis=0), PLACES),
    "swapped": (lambda t: ops.swapaxes(t, 0, 2), T),
    "moved": (lambda t: ops.moveaxis(t, 0, -1), T),
    "reshaped": (lambda t: ops.reshape(steps_first(t), (5, -1, 2, 2)), T),
    "without an axis": (lambda x: ops.squeeze(ops.expand_dims(x, (0, 2)), 0), X),
    "chosen": (lambda t: ops.where(steps_first(t) > 0, steps_first(t), ROWS), T),
    "steps and samples as one": (lambda t: ops.reshape(t, (-1, 4)) @ W, T),
    "one and back": (lambda t: ops.reshape(ops.relu(ops.reshape(t, (-1, 4))), (-1, 5, 4)), T),
    "all as one": (lambda t: ops.ravel(t) * 2.0, T),
    "sum of all as one": (lambda t: ops.sum(ops.ravel(t) ** 2), T),
    "deviation of all as one": (lambda t: ops.std(ops.reshape(t, (-1, 4)), axis=0), T),
    "each twice": (lambda x: ops.repeat(x, 2, axis=0) @ W, X),
    "each twice, normalized": (lambda x: ops.normalize(ops.repeat(x, 2, axis=0)), X),
    "each twice, first column": (lambda x: ops.repeat(x, 2, axis=0)[:, 0], X),
    "each twice, and once": (lambda x: ops.reshape(ops.repeat(x, 2, axis=0), (-1, 2, 4))[:, 1], X),
}


@pytest.mark.parametrize(("function", "array"), CASES.values(), ids=CASES)
def test_traced_is_as_on_arrays(function, array):
    expected = function(array)
    expected = list(expected) if isinstance(expected, tuple) else [expected]
    for fixed in (False, True):
        found = run(function, [array], fixed)
        for (spec, y), wanted in zip(found, expected, strict=True):
            assert spec.ndim == np.ndim(wanted)
            np.testing.assert_allclose(y, np.asarray(wanted, np.float32), rtol=2e-5, atol=2e-6)


LINES = {
    "Dense": lambda: layers.Dense(3, "tanh"),
    "Activation": lambda: layers.Activation("softmax"),
    "ReLU": lambda: layers.ReLU(negative_slope=0.1),
    "Identity": layers.Identity,
    "Dropout": lambda: layers.Dropout(0.5),
}


@pytest.mark.filterwarnings("ignore:.*no weight is trainable")
@pytest.mark.parametrize("make", LINES.values(), ids=LINES)
def test_layers_that_work_on_lines_take_samples_and_steps_as_one_axis(make):
    t, layer = Input((5, 4)), make()
    y = layer(ops.reshape(t, (-1, 4)))
    assert y.shape[0] is None and y.rows_per_sample == 5
    model = Model(t, ops.reshape(y, (-1, 5, y.shape[-1])))
    np.testing.assert_allclose(model.predict(T, verbose=0), layer(T), rtol=1e-6, atol=1e-6)
    model.compile("sgd", "mse")
    assert len(model.fit(T, layer(T), verbose=0).history["loss"]) == 1


class Twice(layers.Layer):
    """A layer of the user's, which may be called on any tensor."""

    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1], 2))

    def call(self, x):
        return ops.matmul(x, self.w) * 2.0


@pytest.mark.parametrize(
    "there", [steps_first, lambda t: ops.reshape(t, (-1, 4)), lambda t: ops.stack([t, t])]
)
def test_layers_of_the_users_own_take_any_tensor(there):
    t, layer = Input((5, 4)), Twice()
    total = ops.sum(layer(there(t))) + t[:, 0, 0] * 0.0
    y = Model(t, total).predict(T, verbose=0, batch_size=7)
    np.testing.assert_allclose(y, np.full(7, np.sum(layer(there(T)))), rtol=1e-5)


def test_shapes_show_where_the_samples_are():
    t = Input((5, 4))
    assert steps_first(t).shape == (5, None, 4)
    assert ops.shape(steps_first(t))[0] == 5
    assert str(ops.shape(steps_first(t))[1]) == "<number of samples>"
    assert ops.stack([t, t]).shape == (2, None, 5, 4)
    assert ops.reshape(t, (-1, 4)).shape == (None, 4)
    assert str(ops.shape(ops.reshape(t, (-1, 4)))[0]) == "<5 x number of samples>"


WRONG = {
    "the first step of samples": (
        lambda t: steps_first(t)[:, 0],
        "cannot be chosen by their place",
    ),
    "samples in order": (lambda t: ops.sort(steps_first(t), axis=1), "its second axis is that"),
    "samples joined": (lambda t: ops.concatenate([steps_first(t)] * 2, 1), "its second axis is"),
    "steps and samples as one": (
        lambda t: ops.reshape(steps_first(t), (-1, 4)),
        "to the front first",
    ),
    "flat": (lambda t: ops.ravel(steps_first(t)), "to the front first"),
    "samples by samples": (lambda t: t[:, None] - t[None], "the samples must stay along one axis"),
    "a layer": (lambda t: layers.Conv1D(3, 1)(steps_first(t)), "the samples as their first axis"),
    "an output": (lambda t: Model(t, steps_first(t)), "the samples as their first axis"),
}


@pytest.mark.parametrize(("do", "text"), WRONG.values(), ids=WRONG)
def test_what_would_mix_samples_is_refused(do, text):
    t = Input((5, 4))
    with pytest.raises((TypeError, ValueError), match=text), scope(training=False):
        do(t)


def test_a_model_may_put_out_samples_and_another_axis_as_one():
    t = Input((5, 4))
    y = Model(t, ops.reshape(t, (-1, 4))).predict(T, verbose=0)
    np.testing.assert_array_equal(y, T.reshape(-1, 4))
