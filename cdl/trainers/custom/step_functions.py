"""Functions of an iterator, by which scripts run the steps of a model in loops of their own."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from cdl._common.overriding import overrides

Function = Callable[[Iterator[Any]], Any]


def _next_step(model: Any, name: str, iterator: Iterator[Any]) -> Any:
    """Result of a model's step for the next batch of an iterator."""
    return getattr(model, name)(next(iterator))


def made(model: Any, kind: str, force: bool) -> Function:
    """The function of a step, made if there is none."""
    name = f"{kind}_function"
    if force or getattr(model, name) is None:
        setattr(model, name, functools.partial(_next_step, model, f"{kind}_step"))
    found: Function = getattr(model, name)
    return found


def own_function(model: Any, kind: str) -> Callable[[Any], Any] | None:
    """The user's function of a step, on one batch; None if cdl makes that function.

    Args:
        model: any.
        kind: "train", "test" or "predict".
    """
    name = f"make_{kind}_function"
    if not overrides(type(model), name):
        return None
    return lambda batch: getattr(model, name)()(iter((batch,)))
