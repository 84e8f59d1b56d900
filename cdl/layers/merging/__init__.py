"""Merging layers: one value of several inputs."""
