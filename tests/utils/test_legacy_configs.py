"""`utils.legacy`: configs of Keras 2, of objects that client libraries keep."""

import pytest

import cdl
from cdl.utils.legacy import deserialize_keras_object, serialize_keras_object


class Range:
    def __init__(self, low, inner=None):
        self.low, self.inner = low, inner

    def get_config(self):
        return {"low": self.low, "inner": self.inner}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


class Plain:
    def __init__(self, size):
        self.size = size


def scale(x):
    return x


def test_object_is_its_class_name_and_config():
    config = serialize_keras_object(Range(3, Range(1)))
    inner = {"class_name": "Range", "config": {"low": 1, "inner": None}}
    inner["__passive_serialization__"] = True
    assert config == {"class_name": "Range", "config": {"low": 3, "inner": inner}}
    again = deserialize_keras_object(config, module_objects={"Range": Range})
    assert (again.low, type(again.inner), again.inner.low) == (3, Range, 1)


@pytest.mark.parametrize("where", ["module_objects", "custom_objects", "scope"])
def test_names_are_found_where_they_are_given(where):
    with cdl.utils.custom_object_scope({"Range": Range} if where == "scope" else {}):
        given = {} if where == "scope" else {where: {"Range": Range}}
        config = {"class_name": "Range", "config": {"low": 3}}
        assert deserialize_keras_object(config, **given).low == 3
    with pytest.raises(ValueError, match="Unknown hyperparameter: 'Range'"):
        deserialize_keras_object(config, {}, printable_module_name="hyperparameter")


def test_names_and_functions_stand_for_what_they_name():
    assert serialize_keras_object(scale) == "scale"
    assert deserialize_keras_object("scale", {"scale": scale}) is scale
    assert deserialize_keras_object(scale) is scale
    assert type(deserialize_keras_object("L2", {"L2": cdl.regularizers.L2})) is cdl.regularizers.L2
    assert serialize_keras_object(None) is None
    assert deserialize_keras_object(None) is None


def test_class_without_from_config_is_called():
    config = {"class_name": "Plain", "config": {"size": 2}}
    assert deserialize_keras_object(config, {"Plain": Plain}).size == 2


def test_layer_goes_there_and_back_and_config_of_today_is_read():
    dense = cdl.layers.Dense(3, "relu", kernel_regularizer=cdl.regularizers.L2(0.5), name="d")
    config = serialize_keras_object(dense)
    assert "module" not in config
    again = deserialize_keras_object(config, {"Dense": cdl.layers.Dense})
    assert again.get_config() == dense.get_config()
    today = cdl.saving.serialize_keras_object(dense)
    assert deserialize_keras_object(today).get_config() == dense.get_config()


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: serialize_keras_object(3), "Cannot serialize 3"),
        (lambda: deserialize_keras_object({"a": 1}), "Improper config format"),
        (lambda: deserialize_keras_object(3), "Could not interpret serialized object: 3"),
        (lambda: deserialize_keras_object("nope"), "Unknown object: 'nope'"),
    ],
)
def test_what_is_no_config_is_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call()
