"""Attention layers: means of values, weighted by the match of queries and keys."""
