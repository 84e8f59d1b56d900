"""sequence.py - `keras.preprocessing.sequence`."""

from cdl.utils import pad_sequences

__all__ = ["pad_sequences"]
