"""The commands of `python -m cdl`."""
