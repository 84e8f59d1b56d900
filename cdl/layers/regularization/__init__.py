"""__init__.py - layers against overfitting."""
