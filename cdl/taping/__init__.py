"""`GradientTape`: gradients of what ran on arrays while it was open."""

from cdl.taping.gradient_tape import GradientTape

__all__ = ["GradientTape"]
