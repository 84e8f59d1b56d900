"""value_and_grad by weights: steps that descend by any function, such as those of a GAN."""

import sys

import numpy as np
import pytest

import cdl
from cdl import layers, ops

RNG = np.random.default_rng(0)
X = RNG.normal(size=(16, 4)).astype(np.float32)
Y = RNG.normal(size=(16, 3)).astype(np.float32)


def net(*stack):
    model = cdl.Sequential([cdl.Input((4,)), *stack, layers.Dense(3)])
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.Dense(8, "tanh"),
        layers.BatchNormalization,
        lambda: layers.Dropout(0.5),
        lambda: layers.Reshape((2, 2)),
        lambda: layers.Dense(8, kernel_regularizer="l2", activity_regularizer="l1"),
        lambda: layers.Dense(4, kernel_regularizer=cdl.regularizers.OrthogonalRegularizer()),
    ],
    ids=["Dense", "BatchNormalization", "Dropout", "Reshape", "penalties", "orthogonal"],
)
def test_the_gradient_of_a_loss_is_that_of_a_training_step(make):
    model = net(make(), layers.Flatten())
    loss = cdl.losses.MeanSquaredError()
    step = cdl.value_and_grad(
        lambda x, y: loss(y, model(x, training=True)), variables=model.trainable_variables
    )
    expected = model.gradients(X, Y)
    value, gradients = step(X, Y)
    assert np.ndim(value) == 0
    for gradient, of_model in zip(gradients, expected.values(), strict=True):
        np.testing.assert_allclose(gradient, of_model, rtol=2e-5, atol=5e-6)


def test_a_layer_that_is_not_told_is_called_as_in_inference():
    model = net(layers.BatchNormalization(), layers.Dropout(0.5))
    moving = model.layers[0].moving_mean
    step = cdl.value_and_grad(
        lambda x, y: ops.mean(ops.square(model(x) - y)), variables=model.trainable_variables
    )
    value, _ = step(X, Y)
    np.testing.assert_allclose(value, model.evaluate(X, Y, verbose=0), rtol=1e-5)
    assert not moving.numpy().any()
    told = cdl.value_and_grad(
        lambda x, y: ops.mean(ops.square(model(x, training=True) - y)),
        variables=model.trainable_variables,
    )
    first, second = told(X, Y)[0], told(X, Y)[0]
    assert first != second  # dropout draws anew
    assert moving.numpy().any()


def test_central_differences_agree_and_weights_that_are_not_read_have_none():
    model, other = net(layers.Dense(5, "tanh")), layers.Dense(2)
    other.build((None, 4))
    variables = [*model.trainable_variables, *other.trainable_variables]

    def total(x, classes):
        losses = cdl.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum")
        return losses(classes, model(x)) + ops.sum(ops.square(model(x))) / 10

    classes = RNG.integers(0, 3, 16)
    _, gradients = cdl.value_and_grad(total, variables=variables)(X, classes)
    assert [g.shape for g in gradients] == [v.shape for v in variables]
    assert not gradients[-1].any() and not gradients[-2].any()
    for variable, gradient in zip(variables[:4], gradients, strict=False):
        weight, place = variable.numpy(), (1,) * (gradient.ndim - 1) + (2,)
        ends = []
        for sign in (1, -1):
            moved = weight.copy()
            moved[place] += sign * 1e-2
            variable.assign(moved)
            ends.append(float(total(X, classes)))
        variable.assign(weight)
        np.testing.assert_allclose(gradient[place], (ends[0] - ends[1]) / 2e-2, rtol=2e-2)


def test_two_nets_learn_against_each_other():
    cdl.utils.set_random_seed(1)
    generator = cdl.Sequential([cdl.Input((2,)), layers.Dense(16, "relu"), layers.Dense(1)])
    judge = cdl.Sequential([cdl.Input((1,)), layers.Dense(16, "relu"), layers.Dense(1)])
    loss = cdl.losses.BinaryCrossentropy(from_logits=True)

    class Gan(cdl.Model):
        def __init__(self):
            super().__init__()
            self.generator, self.judge, self.built = generator, judge, True
            self.of_judge = cdl.value_and_grad(
                lambda x, y: loss(y, judge(x)), variables=judge.trainable_variables
            )
            self.of_generator = cdl.value_and_grad(
                lambda z, y: loss(y, judge(generator(z))), variables=generator.trainable_variables
            )
            self.seen = cdl.metrics.Mean(name="judged")

        def train_step(self, real):
            n = len(real)
            fake = self.generator(np.random.normal(size=(n, 2)))
            labels = np.repeat([[1.0], [0.0]], n, axis=0)
            value, gradients = self.of_judge(np.concatenate([fake, real]), labels)
            self.optimizer.apply(gradients, self.judge.trainable_variables)
            _, gradients = self.of_generator(np.random.normal(size=(n, 2)), np.zeros((n, 1)))
            self.second.apply(gradients, self.generator.trainable_variables)
            self.seen.update_state(value)
            return {"judged": self.seen.result()}

    gan = Gan()
    gan.compile(cdl.optimizers.Adam(0.01))
    gan.second = cdl.optimizers.Adam(0.01)
    real = RNG.normal(3.0, 0.2, size=(512, 1)).astype(np.float32)
    before = generator.predict(np.random.normal(size=(200, 2)), verbose=0).mean()
    gan.fit(real, epochs=20, batch_size=32, verbose=0)
    after = generator.predict(np.random.normal(size=(200, 2)), verbose=0).mean()
    assert abs(after - 3.0) < 0.3 * abs(before - 3.0)


@pytest.mark.parametrize(
    ("variables", "args", "kind", "words"),
    [
        (["kernel"], (X,), TypeError, "variables must be weights"),
        (1.0, (X,), TypeError, "must be a list of weights, such as model.trainable_variables"),
        (None, (), ValueError, "at least one row"),
    ],
)
def test_what_does_not_fit_is_told(variables, args, kind, words):
    model = net()
    with pytest.raises(kind, match=words):
        cdl.value_and_grad(
            lambda *given: ops.sum(model(given[0])),
            variables=model.trainable_variables if variables is None else variables,
        )(*args)


def test_weights_may_come_one_by_one():
    model = net()
    step = cdl.value_and_grad(
        lambda x: ops.sum(model(x)), variables=(v for v in model.trainable_variables)
    )
    assert len(step(X)[1]) == len(model.trainable_variables)


def test_weights_that_are_named_twice_or_not_read_have_gradients_of_their_own():
    model, other = net(), net()
    kernel, bias = model.trainable_variables
    unread = other.trainable_variables[0]

    def loss(x, y):
        return ops.mean(ops.square(model(x) - y))

    _, (of_kernel, of_bias) = cdl.value_and_grad(loss, variables=[kernel, bias])(X, Y)
    pair = cdl.value_and_grad(loss, variables=[bias, unread, kernel, bias])
    for _ in range(2):
        _, found = pair(X, Y)
        expected = (of_bias, np.zeros(unread.shape), of_kernel, of_bias)
        for gradient, each in zip(found, expected, strict=True):
            np.testing.assert_array_equal(gradient, each)
        found[0][:] = 7.0
        assert not (found[3] == 7.0).any()


def test_arrays_lists_and_numbers_of_the_same_function_take_turns():
    model = net()

    def loss(x, y, by):
        return by * ops.mean(ops.square(model(x) - y))

    pair = cdl.value_and_grad(loss, variables=model.trainable_variables)
    two = np.full(16, 2.0, np.float32)
    expected = pair(X, Y, 2.0)
    for given in ((X, Y, two), (X.tolist(), Y, two), (X, Y, 2), (X, Y, np.array(2.0)), (X, Y, two)):
        by_rows = given[2] is two
        value, gradients = pair(*given)
        np.testing.assert_allclose(np.mean(value), expected[0], rtol=1e-5)
        for gradient, each in zip(gradients, expected[1], strict=True):
            scale = 16 if by_rows else 1  # of rows the sum is differentiated
            np.testing.assert_allclose(gradient, scale * each, rtol=1e-4, atol=1e-6)


def test_a_weight_that_is_assigned_counts_and_no_batch_is_held():
    model = net()
    pair = cdl.value_and_grad(
        lambda x, y: ops.mean(ops.square(model(x) - y)), variables=model.trainable_variables
    )
    x = X.copy()
    held = sys.getrefcount(x)
    first, _ = pair(x, Y)
    again, _ = pair(x, Y)
    now = sys.getrefcount(x)
    assert now == held
    assert again == first
    model.set_weights([each * 0 for each in model.get_weights()])
    np.testing.assert_allclose(pair(x, Y)[0], np.square(Y).mean(), rtol=1e-6)
