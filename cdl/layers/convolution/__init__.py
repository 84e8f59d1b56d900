"""Layers whose windows move over images, with weights for what they see."""
