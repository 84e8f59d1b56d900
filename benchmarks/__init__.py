"""Benchmarks of cdl beside its peers and beside the limits of the machine."""
