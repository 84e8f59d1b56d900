"""A net of convolutions from a file of real Keras goes on with a new head."""

import numpy as np
import pytest

import cdl
from cdl import layers

datasets = pytest.importorskip("sklearn.datasets")
X, Y = datasets.load_digits(return_X_y=True)
X = X.reshape(-1, 8, 8, 1).astype(np.float32)


@pytest.fixture
def net(root):
    return cdl.models.load_model(root / "tests/saving/from_keras/small_digits.keras")


def test_it_is_right_where_keras_was(net):
    old = Y < 5
    assert (net.predict(X[old], verbose=0).argmax(1) == Y[old]).mean() > 0.995


def test_what_is_frozen_stays_and_the_head_learns(net, tmp_path):
    body = cdl.Model(net.inputs, net.get_layer("max_pooling2d").output, name="body")
    body.trainable = False
    before = [w.numpy().copy() for w in body.weights]
    assert len(before) == 8
    head = layers.Dense(5, activation="softmax")(layers.Flatten()(body.output))
    model = cdl.Model(body.inputs, head)
    assert len(model.trainable_weights) == 2
    model.compile(cdl.optimizers.Adam(0.003), "sparse_categorical_crossentropy")
    new = Y >= 5
    model.fit(X[new], Y[new] - 5, epochs=10, verbose=0)
    for weight, value in zip(body.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)
    found = model.predict(X[new], verbose=0)
    assert (found.argmax(1) == Y[new] - 5).mean() > 0.9
    model.save(tmp_path / "model.keras")
    again = cdl.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict(X[new], verbose=0), found)
    assert len(again.trainable_weights) == 2
