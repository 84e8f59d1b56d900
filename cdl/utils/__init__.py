"""Utilities: the helpers that Keras has under `keras.utils`."""

import importlib
from typing import Any

from cdl._common.dtypes import standardize_dtype as standardize_dtype
from cdl._common.naming import clear_session as clear_session
from cdl._common.public_names import publish
from cdl._configs import serialization as _serialization
from cdl._configs.custom_objects import CustomObjectScope as CustomObjectScope
from cdl._configs.custom_objects import custom_object_scope as custom_object_scope
from cdl._configs.custom_objects import get_custom_objects as get_custom_objects
from cdl._configs.custom_objects import get_registered_name as get_registered_name
from cdl._configs.custom_objects import get_registered_object as get_registered_object
from cdl._configs.custom_objects import register_keras_serializable as register_keras_serializable
from cdl._tracing.keras_tensor import is_keras_tensor as is_keras_tensor
from cdl.config import disable_interactive_logging as disable_interactive_logging
from cdl.config import enable_interactive_logging as enable_interactive_logging
from cdl.config import is_interactive_logging_enabled as is_interactive_logging_enabled
from cdl.data.py_dataset import PyDataset as PyDataset
from cdl.random import set_random_seed as set_random_seed
from cdl.utils import bounding_boxes as bounding_boxes
from cdl.utils import legacy as legacy
from cdl.utils.calendar import calendar_features as calendar_features
from cdl.utils.calendar import rolling_origins as rolling_origins
from cdl.utils.config import Config as Config
from cdl.utils.drawing import model_to_dot as model_to_dot
from cdl.utils.drawing import plot_model as plot_model
from cdl.utils.files import get_file as get_file
from cdl.utils.labels import to_categorical as to_categorical
from cdl.utils.norms import normalize as normalize
from cdl.utils.progbar import Progbar as Progbar
from cdl.utils.sequences import pad_sequences as pad_sequences
from cdl.utils.source_inputs import get_source_inputs as get_source_inputs
from cdl.utils.splitting import split_dataset as split_dataset
from cdl.utils.text_files import text_dataset_from_directory as text_dataset_from_directory
from cdl.utils.timeseries import timeseries_dataset_from_array as timeseries_dataset_from_array
from cdl.utils.timeseries import windows as windows
from cdl.utils.tuples import pack_x_y_sample_weight as pack_x_y_sample_weight
from cdl.utils.tuples import unpack_x_y_sample_weight as unpack_x_y_sample_weight

Sequence = PyDataset
deserialize_keras_object = _serialization.deserialize
serialize_keras_object = _serialization.serialize
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


def __getattr__(name: str) -> Any:
    if name not in _ABOVE:
        raise AttributeError(name)
    value = globals()[name] = getattr(importlib.import_module(_ABOVE[name]), name)
    return value


publish(globals(), *_ABOVE, "bounding_boxes", "legacy", but="publish")
