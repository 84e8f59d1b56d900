"""__init__.py - activations that are layers of their own."""
