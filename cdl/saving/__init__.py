"""Saving and loading: model files, configs, and registered names of custom objects."""

from cdl._common.public_names import publish
from cdl._configs.custom_objects import (
    CustomObjectScope,
    custom_object_scope,
    get_custom_objects,
    get_registered_name,
    get_registered_object,
    register_keras_serializable,
)
from cdl._configs.serialization import deserialize as deserialize_keras_object
from cdl._configs.serialization import serialize as serialize_keras_object
from cdl.saving.checking import check
from cdl.saving.file_editor import KerasFileEditor
from cdl.saving.keras_file import load_model, save_model
from cdl.saving.weights import load_weights, save_weights

__all__ = [
    "CustomObjectScope",
    "KerasFileEditor",
    "check",
    "custom_object_scope",
    "deserialize_keras_object",
    "get_custom_objects",
    "get_registered_name",
    "get_registered_object",
    "load_model",
    "load_weights",
    "register_keras_serializable",
    "save_model",
    "save_weights",
    "serialize_keras_object",
]

publish(globals())
