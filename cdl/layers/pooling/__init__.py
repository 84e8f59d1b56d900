"""Pooling layers: maxima or means of each channel over windows or all places."""
