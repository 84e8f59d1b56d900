"""What Keras has under `keras.preprocessing`, as far as it is for arrays."""

from cdl._common.public_names import publish
from cdl.preprocessing import sequence
from cdl.utils import text_dataset_from_directory, timeseries_dataset_from_array

__all__ = ["sequence", "text_dataset_from_directory", "timeseries_dataset_from_array"]

publish(globals())
