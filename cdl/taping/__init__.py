"""`GradientTape`: gradients of what ran on arrays while it was open."""

from cdl.taping.gradient_tape import GradientTape
from cdl.taping.nested import Nested
from cdl.trainers.derivatives import on_tapes

__all__ = ["GradientTape"]

on_tapes.append(Nested)
