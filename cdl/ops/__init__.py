"""__init__.py - operations on arrays and on symbolic values, by the names of Keras and NumPy."""
