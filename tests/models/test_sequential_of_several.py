"""Sequential models whose first layer takes a list or dict of inputs."""

import copy
import pickle

import numpy as np
import pytest

import cdl
from cdl import layers

RNG = np.random.default_rng(2)
A, B = RNG.normal(size=(24, 3)).astype("float32"), RNG.normal(size=(24, 2)).astype("float32")
Y = A[:, :1] - B[:, 1:]


@cdl.saving.register_keras_serializable("tests")
class Parts(layers.Layer):
    def call(self, inputs):
        return cdl.ops.concatenate([inputs["a"], inputs["b"]], axis=-1)


def build(first, inputs):
    """A compiled Sequential, and a functional model of the same weights."""
    cdl.utils.set_random_seed(4)
    model = cdl.Sequential([first, layers.Dense(4, activation="tanh"), layers.Dense(1)])
    x = {"a": A, "b": B} if isinstance(inputs, dict) else [A, B]
    model(x)
    twin = cdl.Model(inputs, cdl.models.clone_model(model)(inputs))
    twin.set_weights(model.get_weights())
    for each in (model, twin):
        each.compile("adam", "mse")
    return model, twin, x


def of_list():
    return build(layers.Concatenate(), [cdl.Input((3,)), cdl.Input((2,))])


def of_dict():
    return build(Parts(), {"a": cdl.Input((3,), name="a"), "b": cdl.Input((2,), name="b")})


@pytest.mark.parametrize("make", [of_list, of_dict])
def test_trains_and_predicts_as_a_functional_model(make):
    model, twin, x = make()
    assert model.built and len(model.weights) == 4 and len(model.layers) == 3
    histories = [each.fit(x, Y, epochs=2, shuffle=False, verbose=0) for each in (model, twin)]
    assert histories[0].history == histories[1].history
    assert model.evaluate(x, Y, verbose=0) == twin.evaluate(x, Y, verbose=0)
    np.testing.assert_array_equal(model.predict(x, verbose=0), twin.predict(x, verbose=0))
    np.testing.assert_array_equal(model(x), twin(x))
    assert model.output_shape == (None, 1) and len(model.inputs) == 2
    assert cdl.tree.flatten(model.input_shape) == cdl.tree.flatten(twin.input_shape)


@pytest.mark.parametrize("make", [of_list, of_dict])
def test_comes_back_from_files_copies_and_pickles(make, tmp_path):
    model, _, x = make()
    model.fit(x, Y, verbose=0)
    expected = model.predict(x, verbose=0)
    model.save(tmp_path / "m.keras")
    loaded = cdl.saving.load_model(tmp_path / "m.keras")
    assert isinstance(loaded, cdl.Sequential)
    for other in (loaded, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(other.predict(x, verbose=0), expected)
        other.fit(x, Y, verbose=0)
    again = cdl.Sequential.from_config(model.get_config())
    model.save_weights(tmp_path / "m.weights.h5")
    again.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_array_equal(again.predict(x, verbose=0), expected)
    lines = []
    model.summary(print_fn=lines.append)
    assert "(None, 5)" in "".join(lines)


def test_is_a_part_of_other_models():
    inputs = [cdl.Input((3,)), cdl.Input((2,))]
    head = cdl.Sequential([layers.Concatenate(), layers.Dense(1)])
    model = cdl.Model(inputs, head(inputs))
    np.testing.assert_allclose(model([A, B]), head([A, B]), rtol=1e-6)

    class Own(cdl.Model):
        def __init__(self):
            super().__init__()
            self.first = layers.Dense(2)
            self.head = cdl.Sequential([layers.Add(), layers.Dense(1)])

        def call(self, x):
            return self.head([self.first(x), x])

    own = Own()
    own.compile("sgd", "mse")
    before = own(B)
    own.fit(B, Y, verbose=0)
    assert own.count_params() == 9 and not np.array_equal(own(B), before)


def test_layers_that_are_added_and_removed_count():
    model, _, x = of_list()
    model.add(layers.Dense(2))
    assert not model.built
    assert model.predict(x, verbose=0).shape == (24, 2)
    model.pop()
    assert model.predict(x, verbose=0).shape == (24, 1)


def test_several_arrays_for_a_first_layer_of_one_are_refused():
    model = cdl.Sequential([layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="x must be one array, since the model has one input"):
        model.fit([A, B], Y, verbose=0)
    assert not model.built
    other = cdl.Sequential([layers.Add(), layers.Dense(1)])
    with pytest.raises(ValueError, match="Add"):
        other.predict([A, B], verbose=0)
    assert not other.built and other.predict([A, A], verbose=0).shape == (24, 1)


def test_subclass_takes_several_inputs_and_another_first_layer_takes_one():
    class Own(cdl.Sequential):
        pass

    model = Own([layers.Concatenate(), layers.Dense(1)])
    assert type(model) is Own and model([A, B]).shape == (24, 1)
    assert model.output_shape == (None, 1) and model.input_shape == [(None, 3), (None, 2)]
    again = Own.from_config(model.get_config())
    again.set_weights(model.get_weights())
    np.testing.assert_array_equal(
        again.predict([A, B], verbose=0), model.predict([A, B], verbose=0)
    )
    for _ in range(2):
        model.pop()
    model.add(layers.Dense(2))
    assert not model.built and model.predict(A, verbose=0).shape == (24, 2)
    assert model.input_shape[1:] == (3,)
    assert type(model) is Own


def test_build_of_several_that_fails_leaves_a_model_that_takes_others():
    model = cdl.Sequential([layers.Dot(1), layers.Dense(1)])
    with pytest.raises(ValueError):
        model([A, B])
    assert not model.built
    assert model([A, A]).shape == (24, 1)
    model.build(None)
    assert model.built and len(model.inputs) == 2
