"""State of variables, and their arithmetic."""
