"""utils - small helpers that Keras has under `keras.utils`."""

from cdl._registry import (
    CustomObjectScope,
    custom_object_scope,
    get_custom_objects,
    get_registered_name,
    get_registered_object,
    register_keras_serializable,
)
from cdl._serial import deserialize as deserialize_keras_object
from cdl._serial import serialize as serialize_keras_object
from cdl.data.py_dataset import PyDataset
from cdl.random import set_random_seed
from cdl.utils.labels import to_categorical
from cdl.utils.naming import clear_session

Sequence = PyDataset

__all__ = [
    "CustomObjectScope",
    "PyDataset",
    "Sequence",
    "clear_session",
    "custom_object_scope",
    "deserialize_keras_object",
    "get_custom_objects",
    "get_registered_name",
    "get_registered_object",
    "register_keras_serializable",
    "serialize_keras_object",
    "set_random_seed",
    "to_categorical",
]
