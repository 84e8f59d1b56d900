"""Activation layers with arguments or weights of their own."""
