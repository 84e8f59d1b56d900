"""Small helpers that Keras has under `keras.utils`."""

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
from cdl.utils.drawing import model_to_dot, plot_model
from cdl.utils.files import get_file
from cdl.utils.labels import to_categorical
from cdl.utils.norms import normalize
from cdl.utils.progbar import Progbar
from cdl.utils.sequences import pad_sequences
from cdl.utils.source_inputs import get_source_inputs
from cdl.utils.splitting import split_dataset
from cdl.utils.text_files import text_dataset_from_directory
from cdl.utils.timeseries import timeseries_dataset_from_array
from cdl.utils.tuples import pack_x_y_sample_weight, unpack_x_y_sample_weight

Sequence = PyDataset

__all__ = [
    "CustomObjectScope",
    "Progbar",
    "PyDataset",
    "Sequence",
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
    "is_interactive_logging_enabled",
    "is_keras_tensor",
    "model_to_dot",
    "normalize",
    "pack_x_y_sample_weight",
    "pad_sequences",
    "plot_model",
    "register_keras_serializable",
    "serialize_keras_object",
    "set_random_seed",
    "split_dataset",
    "standardize_dtype",
    "text_dataset_from_directory",
    "timeseries_dataset_from_array",
    "to_categorical",
    "unpack_x_y_sample_weight",
]

publish(globals())
