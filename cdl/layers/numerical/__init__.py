"""Layers of tables: encodings and embeddings of numbers, and nets of many members."""
