"""__init__.py - operations of neural networks; `cdl.ops` lists them."""
