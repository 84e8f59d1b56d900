"""The clock by which Python's side decides: time slices, hand-overs to threads, bars.

Whoever asks for the time does so by `_clock.now()`, so that a test sets one clock for all.
"""

from time import perf_counter as now

__all__ = ["now"]
