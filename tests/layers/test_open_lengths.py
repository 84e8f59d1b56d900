"""Layers of one's own that compute with the length of an open axis."""

import numpy as np
import pytest

import cdl
from cdl import layers, ops


class Positions(layers.Layer):
    """A table of positions, of which as many are taken as the input has steps."""

    def __init__(self, most, tells=True, **kwargs):
        super().__init__(**kwargs)
        self.most = most
        self.tells = tells

    def build(self, shape):
        self.table = self.add_weight(shape=(self.most, shape[-1]), initializer="normal")

    def call(self, x, start=0):
        shape = ops.shape(x)
        rows = ops.slice(ops.convert_to_tensor(self.table), (start, 0), (shape[-2], shape[-1]))
        return ops.broadcast_to(rows, shape)

    def compute_output_shape(self, shape):
        return shape


class Within(layers.Layer):
    """A layer with `Positions` inside, beside a layer that is built by the call."""

    def __init__(self, most, **kwargs):
        super().__init__(**kwargs)
        self.positions = Positions(most)
        self.dense = layers.Dense(4)

    def call(self, x):
        return self.dense(x) + self.positions(x)


@pytest.mark.parametrize("most", [7, 12, 50, 512])
@pytest.mark.parametrize("cls", [Positions, Within])
def test_table_of_positions_takes_any_length_that_it_has(cls, most):
    x = cdl.Input((None, 4))
    layer = cls(most)
    y = layer(x)
    assert y.shape == (None, None, 4)
    model = cdl.Model(x, y + x)
    for length in (3, 7):
        given = np.random.default_rng(length).normal(size=(2, length, 4)).astype(np.float32)
        positions = layer if cls is Positions else layer.positions
        expected = given + np.asarray(positions.table)[:length]
        if cls is Within:
            expected = expected + layer.dense(given)
        np.testing.assert_allclose(model.predict(given, verbose=0), expected, rtol=1e-5, atol=1e-6)
    model.compile("sgd", "mse")
    before = np.asarray(positions.table).copy()
    model.fit(np.ones((2, 5, 4)), np.zeros((2, 5, 4)), verbose=0)
    moved = (np.asarray(positions.table) != before).any(axis=1)
    assert moved.tolist() == [True] * 5 + [False] * (most - 5)


def test_longer_input_than_the_table_is_refused():
    x = cdl.Input((None, 4))
    model = cdl.Model(x, Positions(7)(x))
    with pytest.raises(ValueError):
        model.predict(np.ones((2, 8, 4)), verbose=0)
    assert model.predict(np.ones((2, 7, 4)), verbose=0).shape == (2, 7, 4)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: ops.broadcast_to(x[:, :1], ops.shape(x)),
        lambda x: ops.ones(ops.shape(x)),
        lambda x: ops.full(ops.shape(x), 2.0),
    ],
)
def test_open_size_between_layers_is_refused_by_name(function):
    with pytest.raises(ValueError, match=r"sizes must be known, got .* the `call` of a layer"):
        function(cdl.Input((None, 4)))
