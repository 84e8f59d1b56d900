"""What the benchmarks share: cases, processes, clocks, limits of the machine, tables."""
