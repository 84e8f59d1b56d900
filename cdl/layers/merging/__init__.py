"""__init__.py - layers that make one value of several."""
