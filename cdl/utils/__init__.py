"""Utilities: the helpers that Keras has under `keras.utils`."""

import importlib
from typing import Any

from cdl._common.dtypes import standardize_dtype
from cdl._common.naming import clear_session
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
from cdl._tracing.keras_tensor import is_keras_tensor
from cdl.config import (
    disable_interactive_logging,
    enable_interactive_logging,
    is_interactive_logging_enabled,
)
from cdl.data.py_dataset import PyDataset
from cdl.random import set_random_seed
from cdl.utils import bounding_boxes, legacy
from cdl.utils.calendar import calendar_features, rolling_origins
from cdl.utils.config import Config
from cdl.utils.drawing import model_to_dot, plot_model
from cdl.utils.files import get_file
from cdl.utils.labels import to_categorical
from cdl.utils.norms import normalize
from cdl.utils.progbar import Progbar
from cdl.utils.sequences import pad_sequences
from cdl.utils.source_inputs import get_source_inputs
from cdl.utils.splitting import split_dataset
from cdl.utils.text_files import text_dataset_from_directory
from cdl.utils.timeseries import timeseries_dataset_from_array, windows
from cdl.utils.tuples import pack_x_y_sample_weight, unpack_x_y_sample_weight

Sequence = PyDataset
# Helpers that need layers or functions of images, and their modules.
_ABOVE = {
    "FeatureSpace": "cdl.preprocessing.feature_space",
    "array_to_img": "cdl.preprocessing.image",
    "audio_dataset_from_directory": "cdl.preprocessing.audio_files",
    "image_dataset_from_directory": "cdl.preprocessing.image_files",
    "img_to_array": "cdl.preprocessing.image",
    "load_img": "cdl.preprocessing.image",
    "save_img": "cdl.preprocessing.image",
}

__all__ = [
    "Config",
    "CustomObjectScope",
    "FeatureSpace",
    "Progbar",
    "PyDataset",
    "Sequence",
    "array_to_img",
    "audio_dataset_from_directory",
    "bounding_boxes",
    "clear_session",
    "custom_object_scope",
    "deserialize_keras_object",
    "disable_interactive_logging",
    "enable_interactive_logging",
    "get_custom_objects",
    "get_file",
    "get_registered_name",
    "get_registered_object",
    "get_source_inputs",
    "image_dataset_from_directory",
    "img_to_array",
    "is_interactive_logging_enabled",
    "is_keras_tensor",
    "legacy",
    "load_img",
    "model_to_dot",
    "normalize",
    "pack_x_y_sample_weight",
    "pad_sequences",
    "plot_model",
    "register_keras_serializable",
    "save_img",
    "serialize_keras_object",
    "set_random_seed",
    "split_dataset",
    "standardize_dtype",
    "text_dataset_from_directory",
    "timeseries_dataset_from_array",
    "to_categorical",
    "unpack_x_y_sample_weight",
    "windows",
    "calendar_features",
    "rolling_origins",
]


def __getattr__(name: str) -> Any:
    if name not in _ABOVE:
        raise AttributeError(name)
    value = globals()[name] = getattr(importlib.import_module(_ABOVE[name]), name)
    return value


publish(globals())
