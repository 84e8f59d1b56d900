"""Keeping of an estimator as it was where a fit fails."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def kept_on_error(estimator: Any) -> Iterator[None]:
    """Context whose errors leave an estimator with the attributes that it had before."""
    before = vars(estimator).copy()
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise
