"""Layers that move numbers and change none."""
