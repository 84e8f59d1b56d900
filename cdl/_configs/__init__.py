"""Configs of objects and the classes that they name."""
