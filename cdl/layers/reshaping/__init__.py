"""__init__.py - layers that move numbers and change none."""
