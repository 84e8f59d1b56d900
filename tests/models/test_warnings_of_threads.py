"""Shapes are inferred without warnings, by several threads at once, whose filters stay."""

import threading
import warnings

from cdl._tracing.shape_inference import _NoWarnings


def test_filters_come_back_whichever_thread_leaves_first():
    quiet, entered, left = _NoWarnings(), threading.Event(), threading.Event()

    def other():
        with quiet:
            entered.set()
            left.wait(10)
            with quiet:
                warnings.warn("not heard", stacklevel=1)
            warnings.warn("not heard either", stacklevel=1)

    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        before = [*warnings.filters]
        thread = threading.Thread(target=other)
        with quiet:
            thread.start()
            assert entered.wait(10)
        left.set()
        thread.join()
        assert warnings.filters == before and not heard
        warnings.warn("heard", stacklevel=1)
        assert [str(each.message) for each in heard] == ["heard"]
