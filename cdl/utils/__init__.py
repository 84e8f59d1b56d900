"""utils - small helpers that Keras has under `keras.utils`."""

from cdl.random import set_random_seed
from cdl.utils.labels import to_categorical
from cdl.utils.naming import clear_session

__all__ = ["clear_session", "set_random_seed", "to_categorical"]
