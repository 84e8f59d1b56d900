"""Layers against overfitting."""
