"""Image layers: resizing, and random augmentation in training."""
