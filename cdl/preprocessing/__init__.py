"""Preprocessing of images, texts and tables, as in `keras.preprocessing`."""

from cdl._common.public_names import publish
from cdl.preprocessing import image, sequence
from cdl.preprocessing.image_files import image_dataset_from_directory
from cdl.utils import text_dataset_from_directory, timeseries_dataset_from_array

__all__ = [
    "image",
    "image_dataset_from_directory",
    "sequence",
    "text_dataset_from_directory",
    "timeseries_dataset_from_array",
]

publish(globals())
