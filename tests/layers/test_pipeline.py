"""Pipeline: layers one behind the other, as one layer."""

import numpy as np
import pytest

import cdl
from cdl import Input, Sequential, layers

X = np.random.default_rng(0).normal(size=(4, 5, 5, 2)).astype(np.float32)


def net_of(pipeline):
    net = Sequential([Input((5, 5, 2)), pipeline, layers.Flatten(), layers.Dense(2)])
    net.compile("sgd", "mse")
    return net


def test_pipeline_learns_as_its_layers_in_a_row_do(tmp_path):
    def parts():
        return [layers.Rescaling(0.1), layers.CenterCrop(3, 3), layers.BatchNormalization()]

    pipeline = layers.Pipeline(parts(), name="prepared")
    net = net_of(pipeline)
    plain = Sequential([Input((5, 5, 2)), *parts(), layers.Flatten(), layers.Dense(2)])
    plain.compile("sgd", "mse")
    assert pipeline.compute_output_shape((None, 5, 5, 2)) == (None, 3, 3, 2)
    assert [w.shape for w in net.weights] == [w.shape for w in plain.weights]
    plain.set_weights(net.get_weights())
    for each in (net, plain):
        each.fit(X, np.ones((4, 2)), epochs=3, shuffle=False, verbose=0)
    np.testing.assert_allclose(net.predict(X), plain.predict(X), rtol=1e-5, atol=1e-6)
    net.save(tmp_path / "net.keras")
    read = cdl.models.load_model(tmp_path / "net.keras")
    np.testing.assert_array_equal(read.predict(X), net.predict(X))
    assert read.layers[0].name == "prepared"


def test_call_is_one_of_training_unless_it_or_the_model_says_otherwise():
    pipeline = layers.Pipeline([layers.Rescaling(2.0), layers.Dropout(0.5)])
    assert (pipeline(X) == 0).any()
    np.testing.assert_allclose(pipeline(X, training=False), 2 * X)
    net = net_of(pipeline)
    np.testing.assert_array_equal(net.predict(X), net.predict(X))


def test_a_mask_goes_on_from_layer_to_layer():
    class Seen(layers.Layer):
        def __init__(self):
            super().__init__()
            self.supports_masking = True
            self.seen = []

        def call(self, inputs, mask=None):
            self.seen.append(mask)
            return inputs

    x, mask = np.ones((2, 3, 2), np.float32), np.array([[True, True, False]] * 2)
    first, second, lstm = Seen(), Seen(), layers.LSTM(2)
    pipeline = layers.Pipeline([first, layers.Activation("relu"), second, lstm])
    found = pipeline(x, mask=mask)
    for seen in (first.seen, second.seen):
        np.testing.assert_array_equal(seen[-1], mask)
    np.testing.assert_allclose(found, lstm(x, mask=mask), rtol=1e-6)
    assert not np.allclose(pipeline(x), found) and first.seen[-1] is None


def test_images_come_alone_or_in_batches():
    pipeline = layers.Pipeline([layers.RandomFlip("horizontal"), layers.RandomCrop(3, 3)])
    assert pipeline(X).shape == (4, 3, 3, 2)
    assert pipeline(X[0]).shape == (3, 3, 2)


@pytest.mark.parametrize("given", [None, layers.Dropout(0.5), [layers.Dropout(0.5), 3]])
def test_what_is_no_list_of_layers_is_refused(given):
    with pytest.raises(ValueError, match="layers must be a list of layers, got"):
        layers.Pipeline(given)
    with pytest.raises(ValueError, match="`layers` of the config must be a list of configs, got"):
        layers.Pipeline.from_config({"name": "a"})
