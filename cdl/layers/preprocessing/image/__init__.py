"""Layers that lay out images anew, or change them by chance in training."""
