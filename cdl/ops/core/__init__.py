"""Tensors, loops and parts of tensors; `cdl.ops` lists them."""
