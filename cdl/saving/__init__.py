"""Saving and loading: model files, configs, and registered names of custom objects."""

from cdl._common.public_names import publish as _publish
from cdl._configs import serialization as _serialization
from cdl._configs.custom_objects import CustomObjectScope as CustomObjectScope
from cdl._configs.custom_objects import custom_object_scope as custom_object_scope
from cdl._configs.custom_objects import get_custom_objects as get_custom_objects
from cdl._configs.custom_objects import get_registered_name as get_registered_name
from cdl._configs.custom_objects import get_registered_object as get_registered_object
from cdl._configs.custom_objects import register_keras_serializable as register_keras_serializable
from cdl.saving.checking import check as check
from cdl.saving.file_editor import KerasFileEditor as KerasFileEditor
from cdl.saving.keras_file import load_model as load_model
from cdl.saving.keras_file import save_model as save_model
from cdl.saving.weights import load_weights as load_weights
from cdl.saving.weights import save_weights as save_weights

deserialize_keras_object = _serialization.deserialize
serialize_keras_object = _serialization.serialize

_publish(globals())
