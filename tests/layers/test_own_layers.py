"""Layers of the user's own: what `add_weight`, `build` and configs do for them."""

import numpy as np
import pytest

import cdl
from cdl import layers

X = np.ones((4, 3), np.float32)


class Scaled(layers.Layer):
    """A layer with one weight, whose penalty and constraint are as given."""

    def __init__(self, regularizer=None, constraint=None, **kwargs):
        super().__init__(**kwargs)
        self.given = {"regularizer": regularizer, "constraint": constraint}

    def build(self, shape):
        self.w = self.add_weight(
            (shape[-1],), initializer=lambda s, dtype: -np.ones(s), **self.given
        )

    def call(self, x):
        return x * self.w


L1 = {"class_name": "L1", "config": {"l1": 0.5}}


@pytest.mark.parametrize(
    ("regularizer", "loss"),
    [("l1", 0.03), ("L2", 0.03), (L1, 1.5), (cdl.regularizers.L1(0.1), 0.3), (cdl.ops.sum, -3.0)],
)
def test_add_weight_takes_a_penalty_by_name_config_or_function(regularizer, loss):
    layer = Scaled(regularizer)
    layer(X)
    assert float(layer.losses[0]) == pytest.approx(loss)
    model = cdl.Sequential([cdl.Input((3,)), Scaled(regularizer)])
    model.compile("sgd", "mse")
    assert model.evaluate(X, -X, verbose=0) == pytest.approx(loss, abs=1e-6)


def test_add_weight_takes_a_constraint_by_name():
    model = cdl.Sequential([cdl.Input((3,)), Scaled(constraint="non_neg")])
    model.compile("sgd", "mse")
    model.fit(X, X, verbose=0)
    assert (model.layers[0].w.numpy() >= 0).all()


@pytest.mark.parametrize("what", ["regularizer", "constraint"])
def test_add_weight_refuses_a_name_that_is_none(what):
    layer = Scaled(**{what: "nope"})
    with pytest.raises(ValueError, match=f"{what}.*'nope'"):
        layer(X)
    assert layer.weights == []


@pytest.mark.parametrize("name", ["GroupQueryAttention", "GroupedQueryAttention"])
def test_grouped_query_attention_is_found_by_both_names(name):
    layer = getattr(layers, name)(4, 2, 1)
    assert layer.name.startswith("grouped_query_attention")
    config = cdl.saving.serialize_keras_object(layer)
    assert config["class_name"] == "GroupQueryAttention"  # what Keras writes and can read
    again = cdl.saving.deserialize_keras_object({**config, "class_name": name})
    assert type(again) is type(layer)
    assert type(layers.deserialize({**config, "class_name": name})) is type(layer)


@pytest.mark.parametrize("name", ["Convolution2D", "MaxPool1D", "GlobalAvgPool3D"])
def test_second_names_of_keras_stand_in_configs_too(name):
    config = {"class_name": name, "module": "keras.layers", "registered_name": None}
    config["config"] = {"filters": 2, "kernel_size": 1} if name == "Convolution2D" else {}
    assert type(cdl.saving.deserialize_keras_object(config)) is getattr(layers, name)
