"""Growth of a call's work with the size of its input, in lines of Python that run.

Counts do not depend on the machine. What C does in one call (`in` of a list, `list.index`) is one
line here, so such a search shows only in benchmarks/builds.py.
"""

import gc
import sys


def lines(call):
    """The number of lines of Python that `call()` runs; each turn of a comprehension is one."""
    count = 0

    def seen(frame, event, argument):
        nonlocal count
        count += event == "line"
        return seen

    before, collects = sys.gettrace(), gc.isenabled()
    gc.disable()
    sys.settrace(seen)
    try:
        call()
    finally:
        sys.settrace(before)
        if collects:
            gc.enable()
    return count


def extra_work(prepare, size=40):
    """The cost of `size` more at double size, relative to their cost at first: 1 is linear.

    Args:
        prepare: from a size to the call that is counted, without arguments.
        size: large enough for a search through all others to show.
    """
    prepare(2)()  # imports, and what is kept for the next time
    once, twice, thrice = (lines(prepare(times * size)) for times in (1, 2, 3))
    return (thrice - twice) / max(1, twice - once)
