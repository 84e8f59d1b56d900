"""Metrics whose calls are part of a recorded step."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

from cdl._common.overriding import is_users
from cdl._variables.stepping import Call, whole
from cdl.metrics import Metric

_METHODS = ("update_state", "result", "reset_state")
_functions: dict[int, Any] = {}  # original methods by id
_shown: list[Any] = []  # their recording wrappers


@functools.cache
def _show(kind: Any) -> None:
    """Wrap the methods of a metric class, so that recordings include their calls."""
    for cls in kind.__mro__:
        for name in vars(cls).keys() & _METHODS:
            method = vars(cls)[name]
            if not any(method is each for each in _shown):
                _functions[id(method)] = method
                _shown.append(whole(method))
                setattr(cls, name, _shown[-1])


def metrics_of(held: Iterable[Any]) -> list[Any]:
    """Metrics of cdl's classes among some objects; their calls are recorded from now on."""
    own = [each for each in held if isinstance(each, Metric) and not is_metric_of_users(each)]
    kinds: set[Any] = set(map(type, own))
    for kind in kinds:
        _show(kind)
    return list({id(each): each for each in own}.values())


def is_metric_of_users(metric: Any) -> bool:
    """Whether a metric, or one within it, is of a class of the user's."""
    return any(is_users(type(each)) for each in (metric, *getattr(metric, "metrics", ())))


def updates(call: Call) -> Any:
    """The metric that a recorded call updates or reads; None for another call."""
    return call.args[0] if id(call.function) in _functions else None


def reads_metric(call: Call) -> bool:
    """Whether a recorded call reads the result of a metric."""
    return updates(call) is not None and call.function.__name__ == "result"
