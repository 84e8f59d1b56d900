"""Layers of the user's own: `add_weight`, `build` and configs."""

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


class Building(layers.Layer):
    """A layer that notes the shapes that it is built with."""

    def build(self, x_shape, mask_shape=None):
        self.shapes = (x_shape, mask_shape)

    def call(self, x, mask=None):
        return x


def test_build_is_given_the_number_of_samples_of_arrays():
    layer = Building()
    layer(X)
    assert layer.shapes == ((4, 3), None)
    layer(np.ones((7, 3)))  # which later batches need not have
    symbolic = Building()
    symbolic(cdl.Input((3,)))
    assert symbolic.shapes[0] == (None, 3)
    several = Building()
    several([X, X[:, :2]])
    assert several.shapes[0] == [(4, 3), (4, 2)]


@cdl.saving.register_keras_serializable()
class Gate(layers.Layer):
    """A gate as in tutorials, whose `build` looks at no shape."""

    def __init__(self, units=4, **kwargs):
        super().__init__(**kwargs)
        self.units, self.linear = units, layers.Dense(units)
        self.gate = layers.Dense(units, "sigmoid")

    def build(self):
        self.built = True

    def call(self, inputs):
        return self.linear(inputs) * self.gate(inputs)


def test_a_build_without_a_shape_is_called_without_one(tmp_path):
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    t = cdl.Input((3,))
    for model in (cdl.Sequential([cdl.Input((3,)), Gate()]), cdl.Model(t, Gate()(t))):
        model.save(tmp_path / "a.keras")
        loaded = cdl.saving.load_model(tmp_path / "a.keras")
        np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))

    class Named(Gate):
        def build(self, **shapes):
            assert not shapes
            self.built = True

    assert Named()(x).shape == (5, 4)
    unbuilt = cdl.Sequential([Gate()])
    assert unbuilt(x).shape == Gate()(x).shape == (5, 4) and len(unbuilt.weights) == 4


def test_penalty_of_activity_is_no_loss_before_arrays_come():
    layer = layers.Dense(2, activity_regularizer="l1")
    layer(cdl.Input((3,)))
    assert layer.losses == []
    layer(X)
    assert len(layer.losses) == 1


class Adding(layers.Layer):
    """A layer without a `get_config`."""

    def __init__(self, alpha, *rest, beta=1.0, **kwargs):
        super().__init__(**kwargs)
        self.alpha, self.beta, self.rest = alpha, beta, rest

    def call(self, x):
        return x + self.alpha * self.beta


class Times(cdl.Operation):
    """An operation without a `get_config`, and without a name to be given."""

    def __init__(self, alpha, beta=(1, None)):
        super().__init__()
        self.alpha, self.beta = alpha, beta

    def call(self, x):
        return x * self.alpha


def test_config_that_is_written_by_itself_has_what_was_left_at_its_default():
    config = Adding(0.2, name="adding", trainable=False).get_config()
    assert (config["alpha"], config["beta"]) == (0.2, 1.0)
    again = Adding.from_config(config)
    assert again.get_config() == config and again.name == "adding" and not again.trainable
    assert Times(0.5).get_config() == {"alpha": 0.5, "beta": (1, None)}
    assert Times.from_config(Times(0.5, [2]).get_config()).beta == [2]


@pytest.mark.parametrize("value", [object(), layers.ReLU(), np.ones(2), [1, {"a": len}]])
def test_config_of_what_cannot_be_written_is_refused(value):
    with pytest.raises(NotImplementedError, match=r"must have a get_config.*'alpha'"):
        Adding(value).get_config()
    with pytest.raises(NotImplementedError, match=r"must have a get_config.*'beta'"):
        Times(1, beta=value).get_config()


def test_config_of_arguments_without_names_is_refused():
    with pytest.raises(NotImplementedError, match="'rest' is given by its place alone"):
        Adding(1, 2).get_config()


class Dropping(layers.SpatialDropout1D):
    """Spatial dropout with arguments of its own."""

    def __init__(self, rate, noise_shape=None, **kwargs):
        super().__init__(rate, **kwargs)
        self.noise_shape = noise_shape


def test_a_custom_spatial_dropout_keeps_its_arguments():
    again = Dropping.from_config(Dropping(0.5, (None, 1, 3)).get_config())
    assert again.noise_shape == (None, 1, 3) and again.rate == 0.5


@pytest.mark.parametrize(
    ("layer", "name"), [(layers.MaxPooling1D(), "pool_size"), (layers.Dropout(0.5), "rate")]
)
def test_an_argument_whose_attribute_is_gone_is_an_error_that_names_it(layer, name):
    delattr(layer, name)
    with pytest.raises(AttributeError, match=name):
        layer.get_config()


@pytest.mark.parametrize(
    "make",
    [
        layers.Layer,
        lambda: cdl.Sequential([layers.Input((3,)), layers.Dense(1)]),
        lambda: cdl.Model(given := layers.Input((3,)), layers.Dense(1)(given)),
    ],
)
def test_variables_assigned_to_layers_and_models_of_cdl_are_theirs(make, tmp_path):
    thing = make()
    first = len(thing.weights)
    thing.scale = cdl.Variable([1.0, 2.0])
    thing.count = cdl.Variable(3, dtype="int32", trainable=False)
    assert [len(thing.weights), len(thing.trainable_variables)] == [first + 2, first + 1]
    thing.trainable = False
    assert not thing.trainable_weights
    thing.trainable = True
    store = {}
    thing.save_own_variables(store)
    thing.scale.assign([5.0, 6.0])
    thing.load_own_variables(store)
    np.testing.assert_array_equal(thing.scale, [1.0, 2.0])
    del thing.scale
    assert len(thing.weights) == first + 1


def test_inputs_of_a_layer_are_all_its_tensors_also_those_by_name():
    query, value = layers.Input((3, 4)), layers.Input((5, 4))
    attention = layers.MultiHeadAttention(2, 2)
    result = attention(query, value=value)
    assert [each is of for each, of in zip(attention.input, (query, value), strict=True)] == [1, 1]
    assert attention.output is result
    dense = layers.Dense(2)
    dense(inputs=query)
    assert dense.input is query


def test_a_number_of_samples_that_is_cast_is_a_size():
    class Longer(layers.Layer):
        def call(self, x):
            samples = cdl.ops.cast(cdl.ops.shape(x)[0], dtype="int64")
            return x + cdl.ops.ones(shape=(samples, 1), dtype="int64")

    given = layers.Input((3,))
    model = cdl.Model(given, Longer()(given))
    assert model.output_shape == (None, 3)
    np.testing.assert_array_equal(model.predict(X, verbose=0), X + 1)
