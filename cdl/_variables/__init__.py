"""The state behind variables and their arithmetic."""
