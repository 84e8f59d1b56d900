"""Losses of class numbers on symbolic values: between Inputs, on a tape, in `add_loss`."""

import numpy as np
import pytest

import cdl
from cdl import layers, losses

RNG = np.random.default_rng(0)
CLASSES = np.array([0, 1, 2, 1, 0, 2, 2, 9])  # the last sample has no pair of one class
X = RNG.normal(size=(8, 4))
VALUES = {
    losses.Circle: (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32),
    losses.CategoricalGeneralizedCrossEntropy: RNG.uniform(0.3, 0.9, (8, 10)).astype(np.float32),
}
MADE = {
    "circle": losses.Circle(gamma=3.0),
    "circle of all pairs": losses.Circle(gamma=3.0, remove_diagonal=False, reduction="sum"),
    "circle of samples": losses.Circle(gamma=3.0, reduction="none"),
    "generalized": losses.CategoricalGeneralizedCrossEntropy(0.7),
    "generalized sum": losses.CategoricalGeneralizedCrossEntropy(0.3, reduction="sum"),
}


@pytest.mark.parametrize("name", MADE)
def test_values_between_inputs_are_those_on_arrays(name):
    loss = MADE[name]
    x = VALUES[type(loss)]
    y, p = cdl.Input((), dtype="int32"), cdl.Input(x.shape[1:])
    model = cdl.Model([y, p], loss(y, p))
    for n in (8, 5):
        found = model.predict([CLASSES[:n], x[:n]], batch_size=n, verbose=0)
        wanted = np.ravel(loss(CLASSES[:n], x[:n]))
        np.testing.assert_allclose(np.ravel(found), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("weighted", [False, True], ids=["alike", "weighted"])
@pytest.mark.parametrize("name", MADE)
def test_gradients_on_a_tape_are_those_of_differences(name, weighted):
    loss = MADE[name]
    x = cdl.Variable(VALUES[type(loss)])
    weight = np.arange(1, 9, dtype=np.float32) if weighted else None
    with cdl.GradientTape() as tape:
        value = cdl.ops.sum(loss(CLASSES[:, None], x, sample_weight=weight))
    before = np.asarray(x)
    np.testing.assert_allclose(value, np.sum(loss(CLASSES, before, weight)), rtol=1e-5)
    along = RNG.normal(size=before.shape).astype(np.float32)
    step = np.float32(1e-2)
    ends = [np.sum(loss(CLASSES, before + h * along, weight)) for h in (step, -step)]
    slope = np.sum(tape.gradient(value, x) * along)
    np.testing.assert_allclose(slope, (ends[0] - ends[1]) / (2 * step), rtol=2e-2, atol=2e-3)


def test_a_probability_of_0_has_gradient_0():
    p = cdl.Variable(np.array([[0.0, 1.0], [0.5, 0.5]], np.float32))
    with cdl.GradientTape() as tape:
        value = losses.CategoricalGeneralizedCrossEntropy()([0, 1], p)
    np.testing.assert_allclose(value, (2 + 2 * (1 - 0.5**0.5)) / 2, rtol=1e-6)
    np.testing.assert_allclose(tape.gradient(value, p), [[0, 0], [0, -(0.5**0.5)]], rtol=1e-5)


class Added(layers.Layer):
    """Layer that adds a loss of its inputs."""

    def __init__(self, loss):
        super().__init__()
        self.of_pairs = loss

    def call(self, inputs):
        self.add_loss(self.of_pairs(inputs[1], inputs[0]))
        return inputs[0]


@pytest.mark.parametrize("name", ["circle", "generalized"])
def test_a_loss_that_is_added_trains_as_one_of_compile(name):
    loss, data = MADE[name], X.astype(np.float32)
    trained = []
    for added in (False, True):
        cdl.utils.set_random_seed(3)
        x, y = cdl.Input((4,)), cdl.Input((), dtype="int32")
        out = layers.Dense(VALUES[type(loss)].shape[1], "softmax")(x)
        model = cdl.Model([x, y], Added(loss)([out, y])) if added else cdl.Model(x, out)
        model.compile(cdl.optimizers.SGD(0.1), None if added else loss)
        inputs = [data, CLASSES] if added else data
        model.fit(inputs, None if added else CLASSES, epochs=3, verbose=0, shuffle=False)
        trained.append(np.concatenate([np.ravel(w) for w in model.get_weights()]))
    np.testing.assert_allclose(*trained, rtol=1e-4, atol=1e-6)
