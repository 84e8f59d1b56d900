"""Padding of sequences, as in `keras.preprocessing.sequence`."""

from cdl._common.public_names import publish
from cdl.utils import pad_sequences

__all__ = ["pad_sequences"]

publish(globals())
