"""Tensors, loops and slices; `cdl.ops` lists them."""
