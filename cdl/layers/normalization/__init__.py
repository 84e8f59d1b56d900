"""__init__.py - layers that bring their inputs to a common mean and size."""
