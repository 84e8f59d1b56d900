"""Reshaping layers: other shapes, crops, padding and repetition."""
