"""Preprocessing layers of features, texts and images; some learn from data by `adapt`."""
