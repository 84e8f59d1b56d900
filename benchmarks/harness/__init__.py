"""Shared parts of the benchmarks: cases, processes, clocks, limits of the machine, tables."""
