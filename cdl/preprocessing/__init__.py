"""What Keras has under `keras.preprocessing`, as far as it is for arrays."""

from cdl._common.public_names import publish
from cdl.preprocessing import sequence
from cdl.utils import timeseries_dataset_from_array

__all__ = ["sequence", "timeseries_dataset_from_array"]

publish(globals())
