"""Reverse mode as instructions of a program, for derivatives of any order."""
