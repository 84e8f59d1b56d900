"""sequence.py - `keras.preprocessing.sequence`."""

from cdl._public import publish
from cdl.utils import pad_sequences

__all__ = ["pad_sequences"]

publish(globals())
