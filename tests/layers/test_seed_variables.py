"""States of seed generators are variables of the layer that draws, as in Keras, and no weights."""

import numpy as np
import pytest

import cdl
from cdl import layers
from cdl.random import SeedGenerator

X, SEQUENCE = np.ones((4, 2), np.float32), np.ones((4, 3, 2), np.float32)
PICTURES = np.random.default_rng(0).random((4, 3, 3, 1)).astype(np.float32)


class Drawing(layers.Layer):
    """A layer with two generators, one of them in a list."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first, self.others = SeedGenerator(3), [SeedGenerator(4)]
        self.inner = layers.Dense(2)

    def call(self, x, training=False):
        noise = cdl.random.dropout(x, 0.5, seed=self.first) if training else x
        return self.inner(noise)


def net(*inner):
    return cdl.Sequential([cdl.Input((2,)), layers.Dense(2), *inner])


# Numbers of states that Keras 3.15 has in `variables`.
COUNTS = {
    "Dropout": (lambda: layers.Dropout(0.5), X, 1),
    "Dropout of nothing": (lambda: layers.Dropout(0.0), X, 0),
    "SpatialDropout1D": (lambda: layers.SpatialDropout1D(0.1), SEQUENCE, 1),
    "AlphaDropout": (lambda: layers.AlphaDropout(0.1), X, 1),
    "GaussianNoise": (lambda: layers.GaussianNoise(0.1), X, 1),
    "GaussianNoise of nothing": (lambda: layers.GaussianNoise(0.0), X, 0),
    "GaussianDropout": (lambda: layers.GaussianDropout(0.1), X, 1),
    "LSTM": (lambda: layers.LSTM(3), SEQUENCE, 1),
    "GRU with dropout": (lambda: layers.GRU(3, dropout=0.2), SEQUENCE, 1),
    "Bidirectional": (lambda: layers.Bidirectional(layers.LSTM(2, dropout=0.1)), SEQUENCE, 2),
    "MultiHeadAttention": (lambda: layers.MultiHeadAttention(2, 3), [SEQUENCE] * 2, 0),
    "MultiHeadAttention with dropout": (
        lambda: layers.MultiHeadAttention(2, 3, dropout=0.1),
        [SEQUENCE] * 2,
        1,
    ),
    "RandomFlip": (layers.RandomFlip, PICTURES, 1),
    "Pipeline": (
        lambda: layers.Pipeline([layers.RandomFlip(), layers.RandomRotation(0.1)]),
        PICTURES,
        2,
    ),
    "RandAugment": (lambda: layers.RandAugment((0, 1)), PICTURES.repeat(3, axis=-1), 10),
    "a layer of one's own": (Drawing, X, 2),
    "a model": (lambda: net(layers.Dropout(0.5), Drawing(), layers.Dropout(0.0)), X, 3),
}


def called(layer, data, **options):
    if isinstance(layer, layers.MultiHeadAttention):
        return layer(*data, **options)
    return layer(data, **options)


@pytest.mark.parametrize("name", COUNTS)
def test_layer_has_the_states_of_its_generators_among_its_variables(name):
    make, data, count = COUNTS[name]
    layer = make()
    called(layer, data)
    states = [v for v in layer.variables if v.name == "seed_generator_state"]
    assert len(states) == count
    assert all(v.dtype == "uint32" and v.shape == (2,) and not v.trainable for v in states)
    assert len(layer.variables) == len(layer.weights) + count
    assert len(layer.non_trainable_variables) == len(layer.non_trainable_weights) + count
    assert len(layer.get_weights()) == len(layer.weights)
    layer.trainable = False
    assert len(layer.non_trainable_variables) == len(layer.variables)


@pytest.mark.parametrize("name", [name for name, (_, _, count) in COUNTS.items() if count])
def test_stateless_call_draws_by_the_states_that_it_is_given(name):
    make, data, _ = COUNTS[name]
    layer = make()
    called(layer, data)
    trained = [v.numpy() for v in layer.trainable_variables]
    states = [v.numpy() for v in layer.non_trainable_variables]

    def drawn(states):
        args = data if isinstance(layer, layers.MultiHeadAttention) else (data,)
        return layer.stateless_call(trained, states, *args, training=True)

    once, after = drawn(states)
    layer(*data, training=True) if isinstance(data, list) else layer(data, training=True)
    again, after_again = drawn(states)
    np.testing.assert_array_equal(once, again)
    np.testing.assert_array_equal(np.concatenate(after), np.concatenate(after_again))
    assert any((a != b).any() for a, b in zip(after, states, strict=True))
    if not np.array_equal(once, called(layer, data)) and "LSTM" not in name and "GRU" not in name:
        others = [drawn([s + np.array([k, 0], s.dtype) for s in states])[0] for k in range(1, 9)]
        assert any(not np.array_equal(once, each) for each in others)


def test_variables_of_a_layer_are_its_own_then_its_states_then_those_within():
    layer = Drawing()
    layer(X)
    names = [v.name for v in layer.variables]
    assert names == ["seed_generator_state", "seed_generator_state", "kernel", "bias"]
    first, second = [v.path for v in layer.variables[:2]]
    assert first != second and first.endswith("/seed_generator_state")


def test_state_tree_has_the_states_by_names_and_gives_them_back():
    model = net(layers.Dropout(0.5, seed=1), Drawing())
    model.compile("sgd", "mse")
    model(X)
    tree = model.get_state_tree()
    assert len(tree["non_trainable_variables"]) == 3
    (state,) = model.layers[1].variables
    state.assign([9, 9])
    model.set_state_tree(tree)
    assert state.numpy().tolist() == [1, 0]


def test_files_have_weights_and_no_states_as_those_of_keras(tmp_path):
    h5py = pytest.importorskip("h5py")
    model = net(layers.Dropout(0.5, seed=1), Drawing())
    model(X)
    model.save_weights(tmp_path / "a.weights.h5")
    found = []
    with h5py.File(tmp_path / "a.weights.h5") as file:
        file.visititems(lambda name, item: found.append(name) if hasattr(item, "shape") else None)
    assert len(found) == 4


def test_generator_keeps_its_name_in_its_config():
    generator = SeedGenerator(3, name="mine")
    assert generator.get_config() == {"seed": 3, "name": "mine"}
    assert generator.state.path == "mine/seed_generator_state"
    assert SeedGenerator.from_config(generator.get_config()).name == "mine"
