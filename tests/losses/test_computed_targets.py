"""Losses whose targets are computed from what learns: gradients by both arguments."""

import copy

import numpy as np
import pytest

import cdl
from cdl import layers, losses, ops

RNG = np.random.default_rng(4)
X = np.float32(RNG.normal(size=(6, 4)))
A, B = np.float32(RNG.normal(size=(2, 4, 3)))
CASES = {
    "squares": losses.MeanSquaredError(),
    "absolute": losses.MeanAbsoluteError(),
    "percentage": losses.MeanAbsolutePercentageError(),
    "logarithmic": losses.MeanSquaredLogarithmicError(),
    "huber": losses.Huber(0.2),
    "log cosh": losses.LogCosh(reduction="sum"),
    "cosine": losses.CosineSimilarity(),
    "poisson": losses.Poisson(),
    "divergence": losses.KLDivergence(),
    "hinge": losses.Hinge(),
    "squared hinge": losses.SquaredHinge(),
    "categorical hinge": losses.CategoricalHinge(),
    "binary": losses.BinaryCrossentropy(label_smoothing=0.1),
    "binary scores": losses.BinaryCrossentropy(from_logits=True),
    "binary focal": losses.BinaryFocalCrossentropy(),
    "binary focal scores": losses.BinaryFocalCrossentropy(True, from_logits=True),
    "categorical": losses.CategoricalCrossentropy(label_smoothing=0.1),
    "categorical scores": losses.CategoricalCrossentropy(from_logits=True),
    "first axis": losses.CategoricalCrossentropy(from_logits=True, axis=1),
    "focal": losses.CategoricalFocalCrossentropy(),
    "focal of classes": losses.CategoricalFocalCrossentropy([0.1, 0.2, 0.3]),
    "focal scores": losses.CategoricalFocalCrossentropy(from_logits=True),
}


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def numeric(function, at, step=1e-2):
    """Central differences of fourth order of a loss in float32."""
    found = np.zeros(at.shape)
    for place in np.ndindex(at.shape):
        for factor, k in ((8, 1), (-8, -1), (-1, 2), (1, -2)):
            moved = at.copy()
            moved[place] += np.float32(k * step)
            found[place] += factor * float(function(moved)) / (12 * step)
    return found


def expected(loss):
    """Gradients by the factors of targets and of predictions."""
    return (
        numeric(lambda a: loss(softmax(X @ a), softmax(X @ B)), A),
        numeric(lambda b: loss(softmax(X @ A), softmax(X @ b)), B),
    )


def by_function(loss):
    teacher, student = cdl.Variable(A), cdl.Variable(B)

    def f(x):
        return loss(ops.softmax(ops.matmul(x, teacher)), ops.softmax(ops.matmul(x, student)))

    return cdl.value_and_grad(f, variables=[teacher, student])(X)[1]


def by_tape(loss):
    teacher, student = cdl.Variable(A), cdl.Variable(B)
    with cdl.GradientTape() as tape:
        value = loss(ops.softmax(ops.matmul(X, teacher)), ops.softmax(ops.matmul(X, student)))
    return tape.gradient(value, [teacher, student])


def by_arrays(loss):
    def f(a, b):
        return loss(ops.softmax(ops.matmul(X, a)), ops.softmax(ops.matmul(X, b)))

    return cdl.grad(f, argnums=(0, 1))(A, B)


def nets():
    found = [layers.Dense(3, "softmax", use_bias=False) for _ in "ab"]
    for net, kernel in zip(found, (A, B), strict=True):
        net.build((None, 4))
        net.set_weights([kernel])
    return found


def moved(net, pair):
    """Changes of the kernels by a step of gradient descent with rate 1."""
    net.compile(cdl.optimizers.SGD(1.0))
    net.fit(X, epochs=1, batch_size=6, verbose=0)
    return [before - layer.get_weights()[0] for before, layer in zip((A, B), pair, strict=True)]


class Pair(cdl.Model):
    def __init__(self):
        super().__init__()
        self.teacher, self.student = nets()


def by_compute_loss(loss):
    class Net(Pair):
        def call(self, x):
            return self.student(x)

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return loss(self.teacher(x), y_pred)

    net = Net()
    return moved(net, (net.teacher, net.student))


def by_add_loss(loss):
    class Net(Pair):
        def call(self, x):
            y = self.student(x)
            self.add_loss(loss(self.teacher(x), y))
            return y

    net = Net()
    return moved(net, (net.teacher, net.student))


@pytest.mark.parametrize("way", [by_function, by_tape, by_arrays, by_compute_loss, by_add_loss])
@pytest.mark.parametrize("name", CASES)
def test_gradients_reach_what_computes_targets(way, name):
    loss = copy.copy(CASES[name])
    for found, right in zip(way(loss), expected(loss), strict=True):
        np.testing.assert_allclose(found, right, rtol=2e-2, atol=2e-3 * np.abs(right).max())


@pytest.mark.parametrize("low", [0.0, -0.5])
def test_hinges_of_computed_labels_convert_those_that_are_all_0_or_1(low):
    labels = np.float32([[1, low, 1], [low, low, 1]])
    weight, shown = cdl.Variable(labels), np.float32([[0.3, -0.2, 0.9], [0.1, -0.4, 0.2]])
    value, (found,) = cdl.value_and_grad(
        lambda x: losses.Hinge()(ops.matmul(x, weight), ops.matmul(x, shown)), variables=[weight]
    )(np.eye(2, dtype="float32"))
    assert value == pytest.approx(float(losses.Hinge()(labels, shown)), rel=1e-6)
    np.testing.assert_allclose(found, -shown / 6 * (2 if low == 0 else 1), rtol=1e-6)


def test_targets_without_a_gradient_leave_the_loss_as_it_is():
    loss, student = losses.KLDivergence(), cdl.Variable(B)

    def gradients(teacher, stops, variables):
        def f(x):
            target = ops.softmax(ops.matmul(x, teacher))
            target = ops.stop_gradient(target) if stops else target
            return loss(target, ops.softmax(ops.matmul(x, student)))

        return cdl.value_and_grad(f, variables=variables)(X)

    teacher = cdl.Variable(A)
    whole = gradients(teacher, False, [student])
    stopped = gradients(teacher, True, [student, teacher])
    np.testing.assert_array_equal(whole[0], stopped[0])
    np.testing.assert_array_equal(whole[1][0], stopped[1][0])
    assert not np.any(stopped[1][1])


def test_gradients_of_gradients_reach_computed_targets():
    def loss(teacher, student):
        return losses.KLDivergence(reduction="sum")(teacher, student)

    a, b = np.float32(softmax(X @ A)), np.float32(softmax(X @ B))
    slopes = cdl.grad(lambda t, s: ops.sum(cdl.grad(loss)(t, s) ** 2))(a, b)
    by_hand = np.log(a / b) + 1
    np.testing.assert_allclose(slopes, 2 * by_hand / a, rtol=1e-4)


def test_slopes_by_targets_are_values_of_a_program():
    a, b = np.float32(softmax(X @ A)), np.float32(softmax(X @ B))
    weight = cdl.Variable(np.ones(3, "float32"))

    def f(t, s):
        return ops.sum(cdl.grad(losses.KLDivergence(reduction="sum"))(t, s) * weight)

    _, (found,) = cdl.value_and_grad(f, variables=[weight])(a, b)
    np.testing.assert_allclose(found, (np.log(a / b) + 1).sum(0), rtol=1e-4)
