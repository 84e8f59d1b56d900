"""Layers that make one number of all places of a sample, channel by channel."""
