"""Regularizers and constraints in fit and evaluate, compiled, traced and in Python."""

import numpy as np
import pytest

import cdl
from cdl import Sequential, constraints, ops, regularizers
from cdl.layers import Dense, Input
from cdl.optimizers import SGD

RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 3)).astype(np.float32)
Y = RNG.normal(size=(20, 2)).astype(np.float32)


class InPython(regularizers.Regularizer):
    """L1L2 as a user might write it."""

    def __call__(self, x):
        x = np.asarray(x)
        return 0.02 * np.sum(np.abs(x)) + 0.03 * np.sum(np.square(x))


class Columns(constraints.Constraint):
    """MaxNorm as a user might write it."""

    def __call__(self, w):
        norm = np.sqrt(np.sum(np.square(w), axis=0, keepdims=True))
        return w * (np.clip(norm, 0, 0.5) / (1e-7 + norm))


class ColumnsInPython(Columns):
    def __call__(self, w):
        return super().__call__(np.asarray(w))


def columns_in_ops(w):
    norm = ops.sqrt(ops.sum(ops.square(w), axis=0, keepdims=True))
    return w * (ops.clip(norm, 0, 0.5) / (1e-7 + norm))


def net(**arguments):
    layer = Dense(2, bias_initializer="ones", **arguments)
    model = Sequential([Input((3,)), layer])
    model.set_weights([np.arange(-2.5, 3).reshape(3, 2) / 4.0, np.array([0.5, -0.25])])
    return model


def fitted(optimizer=None, loss="mse", **arguments):
    model = net(**arguments)
    model.compile(optimizer or SGD(0.1), loss)
    history = model.fit(X, Y, batch_size=8, epochs=3, shuffle=False, verbose=0).history["loss"]
    return model, history


@pytest.mark.filterwarnings("ignore::cdl.UntracedWarning")
@pytest.mark.parametrize("loss", ["mse", lambda y, p: np.mean(np.square(np.asarray(y) - p), -1)])
def test_a_penalty_in_python_learns_as_the_compiled_one(loss):
    l1_l2 = regularizers.L1L2(0.02, 0.03)
    one, seen = fitted(kernel_regularizer=l1_l2, bias_regularizer=l1_l2)
    other, also = fitted(loss=loss, kernel_regularizer=InPython(), bias_regularizer=InPython())
    np.testing.assert_allclose(also, seen, rtol=1e-5)
    for got, expected in zip(other.get_weights(), one.get_weights(), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    assert other.evaluate(X, Y, verbose=0) == pytest.approx(one.evaluate(X, Y, verbose=0), rel=1e-5)


def test_the_logged_loss_counts_the_penalty():
    model = net(kernel_regularizer=regularizers.L2(0.5), bias_regularizer=regularizers.L1(0.25))
    model.compile("sgd", "mse")
    kernel, bias = model.get_weights()
    penalty = 0.5 * np.square(kernel).sum() + 0.25 * np.abs(bias).sum()
    plain = np.square(model.predict(X, verbose=0) - Y).mean()
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(plain + penalty, rel=1e-6)
    assert model.train_on_batch(X, Y) == pytest.approx(plain + penalty, rel=1e-6)


def test_frozen_weights_have_no_penalty():
    model = net(kernel_regularizer="l2")
    model.layers[0].trainable = False
    model.compile("sgd", "mse")
    plain = np.square(model.predict(X, verbose=0) - Y).mean()
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(plain, rel=1e-6)


@pytest.mark.filterwarnings("ignore::cdl.UntracedWarning")
@pytest.mark.parametrize("own", [Columns(), columns_in_ops, ColumnsInPython()])
def test_a_constraint_of_a_users_own_is_the_compiled_one(own):
    one, seen = fitted(kernel_constraint=constraints.MaxNorm(0.5))
    other, also = fitted(kernel_constraint=own)
    assert other._last_train_function.in_python == isinstance(own, ColumnsInPython)
    np.testing.assert_allclose(also, seen, rtol=1e-6)
    np.testing.assert_allclose(one.get_weights()[0], other.get_weights()[0], rtol=1e-5, atol=1e-7)


def test_several_constraints_of_a_users_own_are_kept_at_once():
    other, _ = fitted(kernel_constraint=Columns(), bias_constraint=lambda w: np.abs(w) + 0.5)
    norms = np.linalg.norm(other.get_weights()[0], axis=0)
    assert (norms <= 0.5 + 1e-6).all()
    assert (other.get_weights()[1] >= 0.5).all()
    other.compile(SGD(0.1), "mse", jit_compile=True)
    other.fit(X, Y, epochs=40, batch_size=8, verbose=0)  # epochs together in one call
    assert (other.get_weights()[1] >= 0.5).all()


def test_a_constraint_that_cannot_be_traced_says_so_once_and_may_be_refused():
    class Own(constraints.Constraint):
        def __call__(self, w):
            return np.abs(np.asarray(w))

    with pytest.warns(cdl.UntracedWarning, match=r"(?s)constraint 'Own' of .*kernel' runs") as told:
        fitted(kernel_constraint=Own())
    assert len(told) == 1
    fitted(kernel_constraint=Own())
    model = net(kernel_constraint=Own())
    model.compile("sgd", "mse", jit_compile=True)
    with pytest.raises(ValueError, match="constraint 'Own'"):
        model.fit(X, Y, verbose=0)


@pytest.mark.filterwarnings("ignore::cdl.UntracedWarning")
def test_a_constraint_that_changes_the_shape_is_refused():
    model = net(kernel_constraint=lambda w: np.sum(w, axis=0))
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"must have shape \(3, 2\), got \(2,\)"):
        model.fit(X, Y, verbose=0)


def test_run_eagerly_calls_constraints_with_arrays():
    seen = []

    def constraint(w):
        seen.append(isinstance(w, np.ndarray))
        return np.abs(w)

    model = net(kernel_constraint=constraint)
    model.compile("sgd", "mse", run_eagerly=True)
    model.fit(X, Y, batch_size=10, verbose=0)
    assert seen == [True, True]


@pytest.mark.parametrize(
    "constraint",
    [
        constraints.NonNeg(),
        constraints.MaxNorm(0.5),
        constraints.MaxNorm(0.5, axis=1),
        constraints.UnitNorm(),
        constraints.UnitNorm(axis=(0, 1)),
        constraints.MinMaxNorm(0.2, 0.4, rate=0.5),
        constraints.MinMaxNorm(0.2, 0.4, rate=0.5, axis=-1),
    ],
)
def test_a_constraint_holds_after_each_step(constraint):
    free, held = net(), net(kernel_constraint=constraint)
    for model in (free, held):
        model.compile(SGD(0.1), "mse")
    for _ in range(3):
        free.set_weights(held.get_weights())
        free.train_on_batch(X, Y)
        held.train_on_batch(X, Y)
        expected = constraint(free.get_weights()[0])
        np.testing.assert_allclose(held.get_weights()[0], expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(held.get_weights()[1], free.get_weights()[1])


@pytest.mark.filterwarnings("ignore::cdl.UntracedWarning")
@pytest.mark.parametrize(
    "penalty",
    [
        lambda w: ops.sum(ops.abs(w)),
        lambda w: ops.sum(abs(w)),
        lambda w: np.sum(np.abs(w)),
        lambda w: np.fabs(w).sum(),
        lambda w: np.sum(np.abs(np.asarray(w))),  # not to be traced: by differences
    ],
)
def test_an_absolute_value_of_a_users_own_has_gradient_0_at_0_however_it_is_written(penalty):
    class Own(regularizers.Regularizer):
        def __call__(self, w):
            return 0.1 * penalty(w)

    def stepped(*weights):
        model = Sequential(
            [Input((3,)), Dense(2, kernel_regularizer=Own(), bias_regularizer=Own())]
        )
        model.compile(SGD(1.0), "mse")
        model.set_weights(weights)
        model.train_on_batch(np.zeros((4, 3)), np.tile(weights[1], (4, 1)))
        return [a - b for a, b in zip(weights, model.get_weights(), strict=True)]

    kernel = np.array([[0, 1], [-2, 0], [0, 3]], np.float32)
    found = stepped(kernel, np.array([0, 1], np.float32))
    np.testing.assert_allclose(found[0], 0.1 * np.sign(kernel), rtol=1e-5)
    np.testing.assert_allclose(found[1], [0, 0.1], rtol=1e-5)


def test_right_angles_are_pushed_as_on_jax():
    penalty = regularizers.OrthogonalRegularizer(0.6)
    assert penalty(np.eye(3)) == 0
    model = Sequential([Input((3,)), Dense(3, kernel_regularizer=penalty, use_bias=False)])
    model.set_weights([np.eye(3)])
    model.compile("sgd", "mse")
    (gradient,) = model.gradients(np.zeros((2, 3)), np.zeros((2, 3))).values()
    np.testing.assert_allclose(gradient, 0.2 * (1 - np.eye(3)), rtol=1e-6)


def test_the_gradient_of_a_built_in_penalty_at_0_is_1_and_pads_have_none():
    model = Sequential([Input((3,)), Dense(2, kernel_initializer="zeros", bias_regularizer="l1")])
    model.compile(SGD(0.5, clipnorm=100.0), "mse")
    model.train_on_batch(np.zeros((4, 3)), np.zeros((4, 2)))
    np.testing.assert_allclose(model.get_weights()[1], [-0.005, -0.005])
    model.compile(SGD(1.0, clipnorm=0.01), "mse")
    model.set_weights([np.zeros((3, 2)), np.zeros(2)])
    model.train_on_batch(np.zeros((4, 3)), np.zeros((4, 2)))
    np.testing.assert_allclose(model.get_weights()[1], [-0.01 / np.sqrt(2)] * 2, rtol=1e-6)
