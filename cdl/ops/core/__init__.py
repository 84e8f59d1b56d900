"""__init__.py - tensors, loops and parts of tensors; `cdl.ops` lists them."""
