"""Models become the very configs that Keras writes, and come back from them."""

import json

import numpy as np
import pytest
from saving.keras_cases import CASES, HERE

import cdl
from cdl import layers
from cdl.models import Sequential, clone_model, model_from_json
from cdl.saving import custom_object_scope, deserialize_keras_object, serialize_keras_object

RECORDED = json.loads((HERE / "keras_configs.json").read_text())
X = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)


@pytest.fixture(autouse=True)
def fresh_names():
    cdl.utils.clear_session()


def small(**kwargs):
    return Sequential([layers.Input((4,)), layers.Dense(3, **kwargs), layers.Dense(2)])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_config_is_keras_s_own(case):
    written = json.loads(case(cdl).to_json())
    assert written == RECORDED[case.__name__]


@pytest.mark.parametrize("name", [name for name in RECORDED if "own" not in name])
def test_config_of_keras_makes_the_model(name):
    text = json.dumps(RECORDED[name])
    assert json.loads(model_from_json(text).to_json()) == RECORDED[name]


def test_weights_of_what_a_config_makes_are_new():
    model = small()
    again = Sequential.from_config(model.get_config())
    assert again.name == model.name
    assert [w.shape for w in again.weights] == [w.shape for w in model.weights]
    assert not np.array_equal(again.get_weights()[0], model.get_weights()[0])


def test_config_can_be_printed_and_is_not_changed_by_its_use():
    config = small().get_config()
    before = json.dumps(config)
    Sequential.from_config(config)
    assert json.dumps(config) == before


def test_clone_is_compiled_as_the_model_and_shares_nothing():
    model = small()
    model.compile("sgd", "mse", metrics=["mae"])
    clone = clone_model(model)
    assert clone.compiled
    clone.fit(X, np.ones((8, 2)), verbose=0)
    assert int(model.optimizer.iterations) == 0
    assert not clone_model(small()).compiled


def test_clone_function_makes_the_layers_and_a_shared_layer_stays_shared():
    shared = layers.Dense(4)
    model = Sequential([layers.Input((4,)), shared, shared])
    clone = clone_model(model)
    assert clone.layers[0] is clone.layers[1]
    assert len(clone.weights) == 2

    def named(layer):
        return type(layer).from_config({**layer.get_config(), "name": "x"})

    inner = Sequential([layers.Dense(3)])
    whole = Sequential([layers.Input((4,)), inner])
    assert clone_model(whole, clone_function=named).layers[0].name == "x"
    deep = clone_model(whole, clone_function=named, recursive=True)
    assert deep.layers[0].name == inner.name
    assert deep.layers[0].layers[0].name == "x"


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: clone_model(3), "model must be a Model, got int"),
        (
            lambda: clone_model(small(), input_tensors=[1]),
            "input_tensors must be one symbolic tensor",
        ),
        (lambda: clone_model(small(), call_function=print), "call_function must be None"),
        (lambda: clone_model(small(), clone_function=3), "clone_function must be a function"),
        (lambda: model_from_json("{"), "json_string must be JSON"),
        (lambda: model_from_json("3"), "must be a dict with a class_name"),
        (lambda: model_from_json('{"a": 3}'), "must be a dict with a class_name"),
        (lambda: Sequential.from_config({}), "containing the 'name' and 'layers' keys"),
        (
            lambda: model_from_json(json.dumps(serialize_keras_object(layers.Dense(3)))),
            "must be that of a model, got one of 'Dense'",
        ),
    ],
)
def test_what_is_no_model_is_refused(call, text):
    with pytest.raises(ValueError) as caught:
        call()
    assert text in str(caught.value)


def test_json_must_be_a_string():
    with pytest.raises(TypeError, match="json_string must be a string"):
        model_from_json(3)


class Doubling(cdl.initializers.Initializer):
    """An initializer of a user's own."""

    def __init__(self, value):
        self.value = value

    def __call__(self, shape, dtype=None):
        return np.full(shape, 2 * self.value, dtype)

    def get_config(self):
        return {"value": self.value}


def distance(y_true, y_pred):
    return (y_true - y_pred) ** 2


def test_objects_of_one_s_own_are_found_by_their_names():
    model = small(kernel_initializer=Doubling(3.0))
    model.compile("sgd", distance)
    text = model.to_json()
    with pytest.raises(ValueError, match=r"'Doubling'.*must be registered"):
        model_from_json(text)
    objects = {"Doubling": Doubling, "distance": distance}
    for again in (model_from_json(text, objects), _within(objects, text)):
        assert again.get_weights()[0][0, 0] == 6
        assert again.loss is distance


def _within(objects, text):
    with custom_object_scope(objects):
        return model_from_json(text)


def test_a_class_with_a_compile_of_its_own_is_not_compiled_from_a_config():
    class Mine(Sequential):
        def compile(self, optimizer):
            super().compile(optimizer, "mse")

    model = Mine([layers.Dense(2)])
    model.compile("sgd")
    with pytest.warns(UserWarning, match="Mine has a compile\\(\\) of its own"):
        again = model_from_json(model.to_json(), {"Mine": Mine})
    assert not again.compiled
    assert type(again) is Mine


def test_reading_a_config_runs_and_imports_nothing():
    loader = {"module": "os", "class_name": "system", "config": {}, "registered_name": "system"}
    with pytest.raises(TypeError, match="Could not locate class 'system' of module 'os'"):
        deserialize_keras_object(loader)
    code = {"class_name": "__lambda__", "config": {"value": "4wEAAAA="}}
    with pytest.raises(ValueError, match="cdl never runs"):
        deserialize_keras_object(code)
    with pytest.raises(ValueError, match="cdl never runs"):
        deserialize_keras_object(code, safe_mode=False)


def test_near_name_of_a_class_is_suggested():
    config = {"module": "keras.layers", "class_name": "Dens", "config": {}}
    with pytest.raises(TypeError, match="did you mean 'Dense'"):
        deserialize_keras_object(config)


@pytest.mark.parametrize(
    "value",
    [None, 3, 0.5, "text", [1, "a"], {"a": [None, True]}, b"abc", slice(1, None, 2), Ellipsis],
    ids=repr,
)
def test_plain_values_come_back(value):
    assert deserialize_keras_object(json.loads(json.dumps(serialize_keras_object(value)))) == value


def test_arrays_come_back_with_their_dtypes():
    array = np.arange(6, dtype=np.int16).reshape(2, 3)
    again = deserialize_keras_object(serialize_keras_object(array))
    assert again.dtype == array.dtype
    np.testing.assert_array_equal(again, array)


def test_class_that_keras_writes_under_a_private_module_is_found():
    config = serialize_keras_object(cdl.optimizers.Adam(0.5))
    config["module"] = "keras.src.backend.torch.optimizers.torch_adam"
    config["registered_name"] = "Adam"
    assert type(deserialize_keras_object(config)) is cdl.optimizers.Adam


def test_a_lambda_is_written_by_name_with_a_warning():
    with pytest.warns(UserWarning, match="a lambda is written without its code"):
        config = serialize_keras_object(lambda y, p: y)
    assert deserialize_keras_object(config, {"<lambda>": distance}) is distance


@pytest.mark.parametrize(
    ("config", "error", "text"),
    [
        ({"class_name": "Dense", "config": [1]}, TypeError, "Expected 'config' to be a dict"),
        ({"class_name": "function", "config": [1]}, TypeError, "to be a non-null str"),
        ({"class_name": 3, "config": {}}, TypeError, "class_name must be a string"),
        ({"class_name": "__what__", "config": {}}, TypeError, "Could not parse config of class"),
        (
            {
                "class_name": "Dense",
                "module": "keras.layers",
                "registered_name": "subprocess.Popen",
                "config": {"units": 1},
            },
            ValueError,
            "'Dense' of keras.layers resolved to a Keras built-in",
        ),
        (
            {
                "class_name": "Sequential",
                "module": "keras",
                "config": {"name": "a", "layers": [{}]},
            },
            ValueError,
            "Expected a dictionary containing a 'config' key",
        ),
    ],
)
def test_malformed_config_is_refused(config, error, text):
    with pytest.raises(error, match=text):
        deserialize_keras_object(config)


class Recurrent(layers.LSTM):
    def __init__(self, units, more=1, **kwargs):
        super().__init__(units, **kwargs)
        self.more, self.arguments = more, [2]


class Focal(cdl.losses.BinaryFocalCrossentropy):
    shared = 3


class Margin(cdl.metrics.Hinge):
    shown = True


class Attention(layers.MultiHeadAttention):
    penalty = 0.1


@pytest.mark.parametrize("thing", [Recurrent(2, more=5), Focal(), Margin(), Attention(2, 3)])
def test_attributes_of_a_custom_class_may_have_names_that_constructors_use_within(thing):
    again = type(thing).from_config(thing.get_config())
    assert again.get_config() == thing.get_config()
    assert not {"arguments", "shared", "shown", "penalty"} & set(thing.get_config())
    assert getattr(again, "more", None) == getattr(thing, "more", None)


def test_arguments_of_a_custom_class_may_have_names_of_arguments_that_its_base_does_not_have():
    class Cropped(layers.Cropping1D):
        def __init__(self, cropping, data_format="a", **kwargs):
            super().__init__(cropping, **kwargs)
            self.own = data_format

    config = Cropped(2, data_format="b").get_config()
    assert config["data_format"] == "b"
    assert Cropped.from_config(config).own == "b"


def test_config_of_a_class_of_two_layers_has_the_arguments_of_both():
    class DroppedDense(layers.Dropout, layers.Dense):
        def call(self, inputs, training=False):
            return layers.Dense.call(self, inputs)

    config = DroppedDense(0.5, units=3).get_config()
    assert (config["rate"], config["units"]) == (0.5, 3)
    assert DroppedDense.from_config(config).get_config() == config


def test_config_without_an_argument_of_the_base_is_refused():
    class Limit(cdl.constraints.MaxNorm):
        def __init__(self, limit=3):
            self.limit = limit

    with pytest.raises(AttributeError, match="'Limit' object has no attribute 'max_value'"):
        Limit(5).get_config()
