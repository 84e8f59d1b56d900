"""Layers that work along time: cells, the layers that run them, and wrappers of both."""
