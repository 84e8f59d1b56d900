"""Tracing: calls on symbolic tensors become a graph and a program."""
