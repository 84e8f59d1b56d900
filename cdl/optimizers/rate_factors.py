"""Rate factors: factors of the learning rate for some weights, by patterns of their paths."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cdl._common.validation import expected, number
from cdl._tracing.variable import Variable


def checked(owner: str, given: Any) -> dict[str, float] | None:
    """Factors by pattern, or None for none."""
    if given is None:
        return None
    if not isinstance(given, Mapping) or not all(isinstance(each, str) for each in given):
        what = "a dict of factors by patterns of weights' paths"
        raise expected(owner, "rate_factors", what, given)
    found = {}
    for pattern, factor in given.items():
        try:
            re.compile(pattern)
        except re.error as error:
            what = f"patterns that re.search takes ({error})"
            raise expected(owner, "rate_factors", what, pattern) from None
        found[pattern] = number(owner, f"rate_factors[{pattern!r}]", factor, low=0.0)
    return found


def factor_of(factors: Mapping[str, float] | None, variable: Variable) -> float:
    """Factor of a weight's rate: that of the first pattern found in its path, or 1."""
    for pattern, factor in (factors or {}).items():
        if re.search(pattern, variable.path):
            return factor
    return 1.0
