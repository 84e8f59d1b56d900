"""From calls on symbolic tensors to a graph and to a program."""
