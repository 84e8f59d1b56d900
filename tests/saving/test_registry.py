"""Things of one's own, known by registered names and in scopes."""

import threading

import pytest

from cdl import activations, regularizers
from cdl.saving import (
    custom_object_scope,
    deserialize_keras_object,
    get_custom_objects,
    get_registered_name,
    get_registered_object,
    register_keras_serializable,
    serialize_keras_object,
)


@pytest.fixture(autouse=True)
def clean_registry():
    before = dict(get_custom_objects())
    yield
    get_custom_objects().clear()
    get_custom_objects().update(before)


class Thing:
    """A class with the methods of a config."""

    def __init__(self, value):
        self.value = value

    def get_config(self):
        return {"value": self.value}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def test_registered_class_has_a_name_with_its_package():
    @register_keras_serializable()
    class Mine(Thing):
        pass

    @register_keras_serializable("theirs", "Other")
    class Yours(Thing):
        pass

    assert get_registered_name(Mine) == "Custom>Mine"
    assert get_registered_name(Yours) == "theirs>Other"
    assert get_registered_object("theirs>Other") is Yours
    assert get_custom_objects()["Custom>Mine"] is Mine
    config = serialize_keras_object(Yours(3))
    assert (config["class_name"], config["registered_name"]) == ("Yours", "theirs>Other")
    again = deserialize_keras_object(config)
    assert type(again) is Yours
    assert again.value == 3


def test_registered_function_comes_back():
    @register_keras_serializable()
    def answer():
        return 42

    config = serialize_keras_object(answer)
    assert config["config"] == "Custom>answer"
    assert deserialize_keras_object(config)() == 42


def test_what_is_not_registered_has_its_own_name():
    assert get_registered_name(Thing) == "Thing"
    assert get_registered_object("Thing") is None
    assert get_registered_object("Thing", {"Thing": Thing}) is Thing
    assert get_registered_object("Thing", None, {"Thing": Thing}) is Thing


def test_scope_makes_names_known_to_get():
    def mine(x):
        return x

    class Penalty(Thing):
        def __init__(self):
            super().__init__(1)

        def __call__(self, w):
            return 0.0

    with custom_object_scope({"mine": mine, "Penalty": Penalty}):
        assert activations.get("mine") is mine
        assert type(regularizers.get("Penalty")) is Penalty
    with pytest.raises(ValueError, match="Could not find activation 'mine'"):
        activations.get("mine")


def test_inner_scope_hides_the_outer_one_and_ends():
    with custom_object_scope({"a": 1, "b": 2}):
        with custom_object_scope({"a": 3}):
            assert get_registered_object("a") == 3
            assert get_registered_object("b") is None
        assert get_registered_object("a") == 1
    assert get_registered_object("a") is None


def test_scope_is_that_of_its_thread():
    seen = []
    with custom_object_scope({"a": 1}):
        thread = threading.Thread(target=lambda: seen.append(get_registered_object("a")))
        thread.start()
        thread.join()
    assert seen == [None]


def test_class_without_a_config_cannot_be_registered():
    with pytest.raises(ValueError, match="Cannot register a class that does not have a get_config"):

        @register_keras_serializable("mine")
        class Bare:
            pass


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: register_keras_serializable(Thing), ValueError, "package must be a string"),
        (lambda: register_keras_serializable("a", 3), ValueError, "name must be a string"),
        (lambda: register_keras_serializable("a")(3), TypeError, "a class or a function, got 3"),
        (lambda: custom_object_scope([Thing]), TypeError, "custom_objects must be a dict"),
    ],
)
def test_bad_argument_is_refused(call, error, text):
    with pytest.raises(error, match=text):
        call()
