"""__init__.py - operations that NumPy has as well; `cdl.ops` lists them."""
