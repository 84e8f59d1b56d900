"""Layers of arrays: weights, shapes, configurations, errors."""

import numpy as np
import pytest
import references

import cdl
from cdl import layers
from cdl._ir.lowering import Lowering
from cdl.constraints import NonNeg
from cdl.layers import Activation, Dense, Dropout, Flatten, Input, InputLayer, Layer
from cdl.regularizers import L2
from cdl.utils import clear_session, set_random_seed

RNG = np.random.default_rng(4)
X = RNG.normal(size=(6, 5)).astype(np.float32)

# Dense


@pytest.mark.parametrize("shape", [(6, 5), (2, 3, 5), (2, 1, 3, 5), (1, 5)], ids=str)
@pytest.mark.parametrize("activation", [None, "relu", "softmax", "gelu"])
@pytest.mark.parametrize("use_bias", [True, False])
def test_dense_acts_on_the_last_axis(shape, activation, use_bias):
    layer = Dense(4, activation, use_bias, bias_initializer="random_normal")
    x = RNG.normal(size=shape).astype(np.float32)
    got = layer(x)
    z = x.astype(np.float64) @ layer.kernel.numpy() + (layer.bias.numpy() if use_bias else 0.0)
    if activation == "softmax":
        expected = references.softmax(z)
    elif activation is None:
        expected = z
    else:
        row = {"relu": "plain_relu"}.get(activation, activation)
        expected = references.ACTIVATIONS[row][0](z)
    assert got.dtype == np.float32
    assert layer.compute_output_shape((None, *shape[1:])) == (None, *shape[1:-1], 4)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_weights_have_names_shapes_and_what_was_asked_of_them():
    layer = Dense(4, name="d", kernel_regularizer=L2(0.1), bias_constraint="non_neg")
    assert layer.weights == []
    assert not layer.built
    layer.build((None, 3))
    assert [(w.path, w.shape) for w in layer.weights] == [("d/kernel", (3, 4)), ("d/bias", (4,))]
    assert isinstance(layer.kernel.regularizer, L2)
    assert isinstance(layer.bias.constraint, NonNeg)
    assert layer.kernel.constraint is layer.bias.regularizer is None
    assert layer.count_params() == 16


def test_weights_start_as_the_initializers_say():
    layer = Dense(2, kernel_initializer=np.array([[1, 2], [3, 4]]), bias_initializer="ones")
    layer.build((None, 2))
    np.testing.assert_array_equal(layer.get_weights()[0], [[1, 2], [3, 4]])
    np.testing.assert_array_equal(layer.get_weights()[1], [1, 1])


def test_initializer_may_be_a_function():
    layer = Dense(2, kernel_initializer=lambda shape, dtype=None: np.full(shape, 7))
    layer.build((None, 2))
    np.testing.assert_array_equal(layer.kernel.numpy(), np.full((2, 2), 7))


def test_set_weights_assigns_all_or_nothing():
    layer = Dense(2)
    layer.build((None, 3))
    new = [np.ones((3, 2)), np.ones(2)]
    layer.set_weights(new)
    for got, expected in zip(layer.get_weights(), new, strict=True):
        np.testing.assert_array_equal(got, expected)
    with pytest.raises(ValueError, match=r"bias must have shape \(2,\), got \(3,\)"):
        layer.set_weights([np.zeros((3, 2)), np.zeros(3)])
    np.testing.assert_array_equal(layer.kernel.numpy(), new[0])


def test_frozen_layer_has_no_trainable_weights():
    layer = Dense(2, trainable=False)
    layer.build((None, 3))
    assert layer.trainable_weights == []
    assert layer.non_trainable_weights == layer.weights
    layer.trainable = True
    assert layer.trainable_variables == layer.weights == layer.variables
    assert all(weight.trainable for weight in layer.weights)
    layer.trainable = False
    assert not any(weight.trainable for weight in layer.weights)


def test_weight_that_is_never_trained_stands_last_and_stays_frozen():
    layer = Layer()
    mean = layer.add_weight((2,), "zeros", trainable=False, name="mean")
    scale = layer.add_weight((2,), "ones", name="scale")
    assert layer.weights == [scale, mean]
    assert layer.trainable_weights == [scale]
    assert layer.non_trainable_weights == [mean]
    layer.trainable = True
    assert not mean.trainable


# Other layers than Dense


def test_activation_layer_is_the_activation():
    np.testing.assert_array_equal(Activation("relu")(X), np.maximum(X, 0))


def test_layer_may_be_an_activation():
    np.testing.assert_array_equal(Activation(Activation("relu"))(X), np.maximum(X, 0))


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 3), (2,), (0, 3, 4)], ids=str)
def test_flatten_keeps_the_batch(shape):
    x = np.arange(np.prod(shape)).reshape(shape)
    expected = x.reshape(len(x), int(np.prod(shape[1:])))
    np.testing.assert_array_equal(Flatten()(x), expected)


def test_flatten_does_not_know_what_is_not_known():
    assert Flatten().compute_output_shape((None, None, 3)) == (None, None)
    assert Flatten().compute_output_shape((None,)) == (None, 1)


def test_dropout_outside_training_is_nothing():
    np.testing.assert_array_equal(Dropout(0.5)(X), X)


def test_dropout_in_training_scales_what_is_kept():
    y = Dropout(0.25, seed=1)(np.ones((200, 50)), training=True)
    np.testing.assert_allclose(np.unique(y), [0, 4 / 3], rtol=1e-6)
    assert np.mean(y == 0) == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize(("rate", "expected"), [(0, 1), (0.0, 1), (1, 0), (1.0, 0)])
def test_dropout_at_its_ends(rate, expected):
    np.testing.assert_array_equal(Dropout(rate)(np.ones((3, 4)), training=True), expected)


def test_dropout_draws_a_new_mask_at_each_call_and_the_same_ones_from_a_seed():
    layer = Dropout(0.5, seed=3)
    x = np.ones((20, 20))
    first, second = layer(x, training=True), layer(x, training=True)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(Dropout(0.5, seed=3)(x, training=True), first)
    set_random_seed(1)
    third = Dropout(0.5)(x, training=True)
    set_random_seed(1)
    np.testing.assert_array_equal(Dropout(0.5)(x, training=True), third)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (InputLayer((3,)), (None, 3)),
        (InputLayer(shape=()), (None,)),
        (InputLayer([3, 4], batch_size=5), (5, 3, 4)),
        (InputLayer(batch_shape=(2, 3)), (2, 3)),
        (InputLayer((None, 3)), (None, None, 3)),
        (InputLayer(input_shape=(3,)), (None, 3)),
    ],
)
def test_input_has_the_shape_with_the_batch(layer, shape):
    assert layer.batch_shape == layer.shape == layer.compute_output_shape() == shape


# Properties of all layers


@pytest.mark.parametrize("layer", [Activation("relu"), Dropout(0.3), InputLayer((5,))])
def test_layer_without_weights_is_built_and_keeps_the_shape(layer):
    assert layer.built
    assert layer.count_params() == 0
    assert layer.compute_output_shape((None, 5)) == (None, 5)


def test_names_count_up():
    clear_session()
    assert [Dense(1).name, Dense(1).name, Flatten().name, Dense(1).name] == [
        "dense",
        "dense_1",
        "flatten",
        "dense_2",
    ]
    assert Dense(1, name="mine").name == "mine"


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (Dense(2, input_dim=4), (4,)),
        (Flatten(input_shape=(3, 4)), (3, 4)),
        (Dense(2, input_shape=[None, 4]), (None, 4)),
        (Dense(2), None),
    ],
)
def test_older_ways_to_give_the_input_shape(layer, shape):
    assert layer.input_shape_argument == shape


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, bool, np.float16, np.float64, ">f4"])
def test_any_real_dtype_is_read(dtype):
    x = np.array([[0, 1, 1], [1, 0, 1]])
    layer = Dense(2)
    np.testing.assert_array_equal(layer(x.astype(dtype)), layer(x.astype(np.float32)))


def test_batch_of_no_rows_gives_no_rows():
    assert Dense(3)(np.zeros((0, 4))).shape == (0, 3)


def test_config_of_dense_has_keras_keys_in_keras_order():
    config = Dense(3, "relu", name="d", kernel_regularizer="l2").get_config()
    assert list(config) == [
        "name",
        "trainable",
        "dtype",
        "units",
        "activation",
        "use_bias",
        "kernel_initializer",
        "bias_initializer",
        "kernel_regularizer",
        "bias_regularizer",
        "kernel_constraint",
        "bias_constraint",
        "quantization_config",
    ]
    assert config["dtype"] == {
        "module": "keras",
        "class_name": "DTypePolicy",
        "config": {"name": "float32"},
        "registered_name": None,
    }
    assert config["activation"] == "relu"
    assert Dense(3).get_config()["activation"] == "linear"


@pytest.mark.parametrize(
    ("layer", "own"),
    [
        (Activation("relu", name="a"), {"activation": "relu"}),
        (Dropout(0.5, name="a"), {"rate": 0.5, "seed": None, "noise_shape": None}),
        (Flatten(name="a"), {"data_format": "channels_last"}),
    ],
)
def test_config_has_keras_keys(layer, own):
    config = layer.get_config()
    assert {key: config[key] for key in config if key not in ("name", "trainable", "dtype")} == own


def test_config_of_input_is_keras_own():
    assert InputLayer((3,), 5, name="i").get_config() == {
        "batch_shape": (5, 3),
        "dtype": "float32",
        "sparse": False,
        "ragged": False,
        "name": "i",
        "optional": False,
    }


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: Dense(-3), ValueError, "Dense: units must be a positive int, got -3"),
        (lambda: Dense(0), ValueError, "units must be a positive int, got 0"),
        (lambda: Dense(3.0), ValueError, "units must be a positive int, got 3.0"),
        (lambda: Dense("a"), ValueError, "units must be a positive int, got 'a'"),
        (lambda: Dense(None), ValueError, "units must be a positive int, got None"),
        (lambda: Dense(True), ValueError, "units must be a positive int, got True"),
        (Dense, TypeError, "units"),
        (lambda: Dense(3, foo=1), ValueError, "Dense: arguments not recognized: {'foo': 1}"),
        (lambda: Dense(3, use_bais=1), ValueError, "{'use_bais': 1}; did you mean 'use_bias'?"),
        (lambda: Dense(3, trainabl=1), ValueError, "did you mean 'trainable'?"),
        (lambda: Dense(3, batch_size=1), ValueError, "not recognized"),
        (lambda: Dense(3, input_shape=(-1,)), ValueError, "int >= 0 or None, got (-1,)"),
        (lambda: Dense(3, weights=[1]), ValueError, "not recognized"),
        (lambda: Dense(3, use_bias="a"), ValueError, "use_bias must be True or False, got 'a'"),
        (lambda: Dense(3, trainable=3), ValueError, "trainable must be True or False, got 3"),
        (lambda: Dense(3, dtype="float64"), ValueError, "Cannot convert 'float64'"),
        (lambda: Dense(3, name="a/b"), ValueError, "name must be a string without '/', got 'a/b'"),
        (lambda: Dense(3, name=3), ValueError, "name must be a string without '/', got 3"),
        (lambda: Dense(3, autocast=3), ValueError, "autocast must be True or False, got 3"),
        (lambda: Dense(3, activity_regularizer=3), ValueError, "Could not interpret regularizer"),
        (
            lambda: Dense(3, quantization_config=2),
            ValueError,
            "quantization_config must be a QuantizationConfig or None, got 2",
        ),
        (lambda: Dense(3, input_dim="a"), ValueError, "input_dim must be a positive int"),
        (
            lambda: Dense(3, input_shape=3),
            ValueError,
            "input_shape must be a tuple of sizes, got 3",
        ),
        (lambda: Dense(3)(np.ones(4)), ValueError, "2 axes, got shape (4,): x[None]"),
        (lambda: Dense(3)([[1.0]]), ValueError, "inputs must be an array, got"),
        (lambda: Dense(3)(2.0), ValueError, "inputs must be an array, got 2.0"),
        (lambda: Dense(3)(np.array([["a"]])), ValueError, "inputs"),
        (
            lambda: Dense(3).build((None, None)),
            ValueError,
            "'kernel' must be fully-defined (no `None` dimensions), got (None, 3)",
        ),
        (lambda: Dense(3).count_params(), ValueError, "count_params needs a built layer"),
        (lambda: Dense(3).set_weights([1]), ValueError, "weights must be 0 arrays, got 1"),
        (lambda: Dense.from_config({"foo": 3}), TypeError, "units"),
        (lambda: Activation("foo"), ValueError, "Could not find activation 'foo'"),
        (
            lambda: Dropout(1.5),
            ValueError,
            "Dropout: rate must be a number between 0 and",
        ),
        (
            lambda: Dropout(20),
            ValueError,
            "rate must be a number between 0 and 1, got 20: 20 % is 0.2",
        ),
        (lambda: Dropout(-0.5), ValueError, "rate must be a number between 0 and 1"),
        (lambda: Dropout("a"), TypeError, "rate must be a number between 0 and 1, got 'a'"),
        (lambda: Dropout(None), TypeError, "rate must be a number between 0 and 1, got None"),
        (lambda: Dropout(0.5, seed="a"), ValueError, "Dropout: seed must be an int"),
        (lambda: Dropout(0.5, seed=1.5), ValueError, "Dropout: seed must be an int"),
        (lambda: Dropout(0.5, noise_shape=3), ValueError, "noise_shape must be a tuple of sizes"),
        (lambda: Dropout(0.5, noise_shape=(None, 0)), ValueError, "a tuple of positive ints"),
        (lambda: Flatten("foo"), ValueError, "Flatten: data_format must be one of"),
        (lambda: Input(3), ValueError, "Input: shape must be a tuple of sizes, got 3"),
        (Input, ValueError, "Input: shape must be given"),
        (lambda: Input((-3,)), ValueError, "a tuple of sizes, each an int >= 0 or None"),
        (lambda: Input((3.5,)), ValueError, "a tuple of sizes, each an int"),
        (lambda: Input("abc"), ValueError, "shape must be a tuple of sizes, got 'abc'"),
        (lambda: Input((3,), "a"), ValueError, "Input: batch_size must be"),
        (lambda: Input((3,), batch_shape=(1, 3)), ValueError, "batch_shape must be given alone"),
        (lambda: Input((3,), sparse=True), ValueError, "sparse=True is not supported"),
        (lambda: Input((3,), foo=3), TypeError, "foo"),
        (lambda: Input((3,), tensor=X), ValueError, "tensor"),
        (lambda: InputLayer((3,), foo=3), ValueError, "not recognized"),
        (lambda: Layer(3), TypeError, "positional"),
        (lambda: Layer()(X), NotImplementedError, "Layer does nothing by itself: derive"),
        (lambda: Layer().compute_output_shape((1, 2)), NotImplementedError, "that has a call(inpu"),
        (lambda: layers.deserialize({"class_name": "Dense", "config": {}}), TypeError, "units"),
    ],
)
def test_bad_argument_is_refused(call, error, text):
    with pytest.raises(error) as caught:
        call()
    assert text in str(caught.value)


def test_input_of_another_width_is_refused():
    layer = Dense(2, name="d")
    layer(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"Dense 'd': .* must have size 3, got shape \(2, 4\)"):
        layer(np.ones((2, 4)))


def test_built_layer_takes_no_more_weights():
    layer = Dense(2)
    layer.build((None, 3))
    with pytest.raises(ValueError, match="must be added before the layer is built"):
        layer.build((None, 3))


def test_lowered_dense_reads_as_a_program():
    layer = Dense(2, "relu", name="d")
    layer.build((None, 3))
    program = Lowering()
    program.output(layer.lower(program, program.input((3,))))
    text = str(program)
    assert "dense %0, d/kernel, d/bias" in text
    assert "activation %1" in text


def test_layer_with_weights_is_no_activation():
    assert layers.Dense(2, activation=layers.LeakyReLU(0.1)).activation.negative_slope == 0.1
    with pytest.raises(ValueError, match="Dense: activation must be without weights of its own"):
        layers.Dense(2, activation=layers.PReLU())


def test_layer_without_weights_is_built_unless_a_subclass_has_its_own_build():
    class Own(layers.ReLU):
        def build(self, input_shape):
            self.seen = input_shape

    assert layers.ReLU().built and layers.Dropout(0.5).built and layers.Reshape((2,)).built
    own = Own()
    assert not own.built
    own(np.ones((2, 3)))
    assert own.built and own.seen == (None, 3)


def test_input_layer_stands_for_a_tensor():
    tensor = cdl.KerasTensor((None, 3))
    layer = layers.InputLayer(input_tensor=tensor)
    assert layer.output is tensor and layer.batch_shape == (None, 3)
    for wrong in (
        {"shape": (4,)},
        {"batch_shape": (None, 4)},
        {"batch_size": 2},
        {"dtype": "int8"},
    ):
        with pytest.raises(ValueError, match="as the tensor has it"):
            layers.InputLayer(input_tensor=tensor, **wrong)


def test_units_that_are_changed_after_build_change_nothing():
    layer = layers.Dense(3)
    before = layer(X)
    layer.units = 7
    np.testing.assert_array_equal(layer(X), before)
    assert layer.compute_output_shape((None, 5)) == (None, 3)


@pytest.mark.parametrize("layer", [Dense(3), Dropout(0.5), cdl.Sequential([Input((2,)), Dense(1)])])
def test_completion_lists_what_users_call(layer):
    listed = {name for name in dir(layer) if not name.startswith("_")}
    assert {"build", "call", "get_weights", "trainable", "get_config", "name"} <= listed
    assert not listed & {"lower", "check_input", "append_to", "append_node", "by_lines"}
    assert all(hasattr(layer, name) for name in ("lower", "check_input", "by_lines"))
