"""Layers of the user's own that take dicts, in files."""

import numpy as np
import pytest

import cdl
from cdl import layers


@cdl.saving.register_keras_serializable("dicts")
class Parts(layers.Layer):
    def call(self, inputs):
        return cdl.ops.concatenate([inputs["a"], inputs["b"]["c"]], axis=-1)


@cdl.saving.register_keras_serializable("dicts")
class WeighedParts(Parts):
    def build(self, input_shape):
        self.w = self.add_weight((input_shape["a"][-1] + input_shape["b"]["c"][-1],), "ones")
        super().build(input_shape)

    def call(self, inputs):
        return super().call(inputs) * self.w


@pytest.mark.parametrize("kind", [Parts, WeighedParts])
def test_a_layer_of_a_dict_comes_back_from_its_file(kind, tmp_path):
    a, c = cdl.Input((3,), name="a"), cdl.Input((2,), name="c")
    y = kind()({"a": a, "b": {"c": c}})
    model = cdl.Model([a, c], layers.Dense(1)(y))
    model.save(tmp_path / "m.keras")
    loaded = cdl.saving.load_model(tmp_path / "m.keras")
    x = [np.ones((2, 3), np.float32), np.ones((2, 2), np.float32)]
    np.testing.assert_array_equal(loaded(x), model(x))
    assert loaded.layers[2].get_build_config() == model.layers[2].get_build_config()
