"""Helpers of every room: checks of arguments, errors, names, the clock."""
