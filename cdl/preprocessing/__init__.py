"""__init__.py - what Keras has under `keras.preprocessing`, as far as it is for arrays."""

from cdl._public import publish
from cdl.preprocessing import sequence
from cdl.utils import timeseries_dataset_from_array

__all__ = ["sequence", "timeseries_dataset_from_array"]

publish(globals())
