"""Layers within a `call`: on arrays, with a `training` of their own."""

import numpy as np
import pytest

from cdl import GradientTape, Input, Model, Sequential, layers, ops, optimizers, saving

RNG = np.random.default_rng(0)
T = RNG.normal(size=(16, 6, 4)).astype(np.float32)
Y = RNG.normal(size=(16, 24)).astype(np.float32)


class Positions(layers.Layer):
    """Position embeddings as in tutorials: a table read at `arange`."""

    def __init__(self):
        super().__init__()
        self.table, self.other = layers.Embedding(6, 4), layers.Embedding(6, 4)
        self.dense = layers.Dense(4, "tanh")

    def call(self, x):
        places = ops.arange(ops.shape(x)[1])
        return x + self.table(places) + self.dense(self.other(places))


def net():
    t = Input((6, 4))
    model = Model(t, layers.Flatten()(Positions()(t)))
    model.compile("sgd", "mse")
    return model


def test_a_layer_called_on_an_array_within_a_call_learns():
    model = net()
    gradients = model.gradients(T, Y)
    weights = model.get_weights()
    assert len(weights) == len(gradients) == 4
    for i, gradient in enumerate(gradients.values()):
        at, ends = (0,) * gradient.ndim, []
        for step in (0.01, -0.01):
            moved = [w.copy() for w in weights]
            moved[i][at] += step
            model.set_weights(moved)
            ends.append(model.evaluate(T, Y, verbose=0))
        np.testing.assert_allclose(gradient[at], (ends[0] - ends[1]) / 0.02, rtol=0.02, atol=1e-5)


def test_predictions_follow_what_such_a_layer_has_learned():
    model = net()
    before = model.predict(T, verbose=0)
    model.set_weights([w + 1.0 for w in model.get_weights()])
    assert np.abs(model.predict(T, verbose=0) - before).min() > 0.5
    np.testing.assert_allclose(model(T), model.predict(T, verbose=0), rtol=1e-5, atol=1e-6)


def test_a_layer_that_needs_samples_is_not_called_on_an_array_there():
    class Own(layers.Layer):
        def __init__(self):
            super().__init__()
            self.conv = layers.Conv1D(4, 2)

        def call(self, x):
            return x + ops.sum(self.conv(ops.ones((3, 4, 4))))

    with pytest.raises(ValueError, match="samples as their first axis, got an array"):
        Own()(Input((4,)))


NODES = RNG.normal(size=(10, 3)).astype(np.float32)


class Lookup(Model):
    """Class scores of nodes by their numbers, with the features of all in the model."""

    def __init__(self, net):
        super().__init__()
        self.net, self.scores = net, layers.Dense(2)

    def call(self, numbers, training=None):
        return self.scores(ops.take(self.net(NODES, training=training), numbers, axis=0))


def stack():
    return Sequential([layers.Dense(4, "tanh"), layers.Dropout(0.0), layers.Dense(3)])


def functional():
    t = Input((3,))
    return Model(t, layers.Add()([layers.Dense(3)(t), layers.Dense(3, "tanh")(t)]))


@pytest.mark.parametrize("make", [stack, functional, lambda: Sequential([stack(), functional()])])
def test_a_model_called_on_an_array_within_a_call_learns(make):
    model, numbers = Lookup(make()), np.arange(10)
    np.testing.assert_allclose(model(numbers), model.scores(model.net(NODES)), rtol=1e-5, atol=1e-6)
    twin = Sequential([model.net, model.scores])  # on which the nodes are samples
    targets = RNG.normal(size=(10, 2))
    model.compile("sgd", "mse")
    twin.compile("sgd", "mse")
    wanted = [g for g in twin.gradients(NODES, targets).values()]
    for found, each in zip(model.gradients(numbers, targets).values(), wanted, strict=True):
        np.testing.assert_allclose(found, each, rtol=1e-4, atol=1e-6)


def test_statistics_of_an_array_within_a_call_are_those_of_its_lines():
    model, numbers = Lookup(layers.BatchNormalization(momentum=0.5)), np.arange(10)
    model.compile(optimizers.SGD(0.0), "mse")
    targets = RNG.normal(size=(10, 2))
    loss = model.fit(numbers, targets, batch_size=5, epochs=2, verbose=0).history["loss"][0]
    norm, kept = model.net, 0.5**4  # four batches
    mean, variance = NODES.mean(0), NODES.var(0)
    np.testing.assert_allclose(norm.moving_mean, mean * (1 - kept), atol=1e-6)
    np.testing.assert_allclose(norm.moving_variance, variance * (1 - kept) + kept, atol=1e-6)
    kernel = np.asarray(model.scores.kernel)
    trained = (NODES - mean) / np.sqrt(variance + 1e-3) @ kernel
    np.testing.assert_allclose(loss, np.square(trained - targets).mean(), rtol=1e-5)
    moving = (NODES - norm.moving_mean) / np.sqrt(norm.moving_variance + 1e-3)
    np.testing.assert_allclose(model.predict(numbers, verbose=0), moving @ kernel, rtol=1e-4)
    with GradientTape() as tape:
        found = ops.sum(
            model.net(NODES[:4], training=True) * model.net(NODES[:3], training=True)[0]
        )
    with pytest.raises(ValueError, match="batches of 3 and 4 samples"):
        tape.gradient(found, norm.gamma)


def test_noise_on_an_array_is_drawn_anew_for_each_batch():
    class Noisy(Model):
        def __init__(self):
            super().__init__()
            self.drop = layers.Dropout(0.5, seed=1)

        def call(self, x, training=None):
            return x * 0.0 + ops.sum(self.drop(np.ones((4, 6), "float32"), training=training))

    model, x = Noisy(), np.ones((8, 1), "float32")
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match="no weight is trainable"):
        losses = model.fit(x, x * 0, epochs=6, verbose=0).history["loss"]
    assert len(set(losses)) > 2
    np.testing.assert_array_equal(model.predict(x, verbose=0), np.full((8, 1), 24.0))


class Transposed(layers.Layer):
    """Layers along lines, with the samples in the second axis or in the first."""

    def __init__(self, order):
        super().__init__()
        self.order, self.dense = order, layers.Dense(2)
        self.between = [layers.Activation("tanh"), layers.Dropout(0.0), layers.LeakyReLU()]

    def call(self, x):
        x = ops.transpose(x, self.order)
        for layer in (*self.between, self.dense):
            x = layer(x)
        return ops.transpose(x, self.order)


def test_layers_along_lines_take_samples_in_another_axis():
    t, weights, found = Input((6, 4)), None, []
    for order in ((1, 0, 2), (0, 1, 2)):
        model = Model(t, layers.Flatten()(Transposed(order)(t)))
        weights = weights or model.get_weights()
        model.set_weights(weights)
        model.compile("sgd", "mse")
        loss = model.fit(T, Y[:, :12], epochs=2, shuffle=False, verbose=0).history["loss"]
        found.append([loss, model.predict(T, verbose=0), *model.get_weights()])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


NOISES = {
    "Dropout": (lambda: layers.Dropout(0.5), 1.0),
    "SpatialDropout1D": (lambda: layers.SpatialDropout1D(0.5), 1.0),
    "GaussianNoise": (lambda: layers.GaussianNoise(0.5), 0.5),
    "GaussianDropout": (lambda: layers.GaussianDropout(0.5), 1.0),
}


@pytest.mark.parametrize(("make", "deviation"), NOISES.values(), ids=NOISES)
def test_noise_that_is_asked_for_stays_in_predictions(make, deviation):
    x, ones = Input((5, 8)), np.ones((400, 5, 8), np.float32)
    model = Model(x, make()(x, training=True))
    first, second = (model.predict(ones, verbose=0) for _ in range(2))
    assert np.abs(first - second).max() > 0.5
    assert abs(first.mean() - 1.0) < 0.05
    assert abs(first.std() - deviation) < 0.05


def test_monte_carlo_dropout_by_a_subclass():
    class Always(layers.Dropout):
        def call(self, inputs):
            return super().call(inputs, training=True)

    model = Sequential([Input((8,)), Always(0.5)])
    ones = np.ones((50, 8), np.float32)
    assert np.abs(model.predict(ones, verbose=0) - model.predict(ones, verbose=0)).max() == 2.0


def test_spatial_dropout_that_stays_drops_whole_channels():
    x, ones = Input((5, 8)), np.ones((50, 5, 8), np.float32)
    y = Model(x, layers.SpatialDropout1D(0.5)(x, training=True)).predict(ones, verbose=0)
    assert np.ptp(y, axis=1).max() == 0.0


@pytest.mark.filterwarnings("ignore:.*no weight is trainable")
def test_training_false_leaves_noise_out_of_training():
    x = Input((8,))
    model = Model(x, layers.Dropout(0.5)(x, training=False))
    model.compile("sgd", "mse")
    ones = np.ones((8, 8), np.float32)
    assert model.fit(ones, ones, verbose=0).history["loss"] == [0.0]


class Decoder(layers.Layer):
    """Attention by a mask that is made of the sizes, and a stack of layers."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.attention = layers.MultiHeadAttention(2, 4)
        self.stack = Sequential([layers.Dense(8, "relu"), layers.Dense(4)])

    def call(self, x):
        samples, length = ops.shape(x)[:2]
        places = ops.arange(length)
        mask = ops.reshape(places[:, None] >= places, (1, length, length))
        sizes = ops.concatenate([ops.expand_dims(samples, -1), ops.convert_to_tensor([1, 1])], 0)
        return x + self.stack(x + self.attention(x, x, attention_mask=ops.tile(mask, sizes)))


def test_a_stack_within_a_layer_that_computes_with_an_open_size_stays_open(tmp_path):
    layer, x = Decoder(), Input((None, 4))
    model = Model(x, layer(x))
    assert layer.stack.input_shape == (None, None, 4)
    assert layer.stack.output_shape == (None, None, 4)
    assert layer.attention.get_build_config()["shapes_dict"]["query_shape"] == (None, None, 4)
    for length in (1, 5, 2):
        data = RNG.normal(size=(2, length, 4)).astype(np.float32)
        expected = data + layer.stack(data + layer.attention(data, data, use_causal_mask=True))
        np.testing.assert_allclose(model.predict(data, verbose=0), expected, rtol=1e-4, atol=1e-5)
    model.save(tmp_path / "m.keras")
    again = saving.load_model(tmp_path / "m.keras", custom_objects={"Decoder": Decoder})
    np.testing.assert_array_equal(again.predict(data), model.predict(data))


def test_a_function_as_activation_takes_an_array_within_a_call():
    model = Lookup(layers.Dense(3, activation=lambda x: x * ops.sigmoid(x)))
    numbers = np.arange(10)
    wanted = model.scores(model.net(NODES))
    np.testing.assert_allclose(model(numbers), wanted, rtol=1e-5, atol=1e-6)
