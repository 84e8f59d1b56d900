"""__init__.py - layers that prepare features; some learn from data by `adapt`."""
