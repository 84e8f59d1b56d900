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


def _made(model: Any, kind: str, force: bool) -> Function:
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


class StepFunctions:
    """Mixin of models: their steps as functions of an iterator over batches.

    Attributes:
        train_function: what `make_train_function` has made, or None.
        test_function: likewise.
        predict_function: likewise.
    """

    train_function: Function | None = None
    test_function: Function | None = None
    predict_function: Function | None = None

    def make_train_function(self, force: bool = False) -> Function:
        """Make `train_function`, which runs `train_step` on the next batch of an iterator.

        `fit` needs none, and follows frozen layers and other changes by itself. A class that
        overrides this method has its function called for each batch.

        Args:
            force: whether a new one replaces the one that there is.

        Returns:
            The function.
        """
        return _made(self, "train", force)

    def make_test_function(self, force: bool = False) -> Function:
        """Make `test_function`, which runs `test_step`; see `make_train_function`.

        Args:
            force: as there.
        """
        return _made(self, "test", force)

    def make_predict_function(self, force: bool = False) -> Function:
        """Make `predict_function`, which runs `predict_step`; see `make_train_function`.

        Args:
            force: as there.
        """
        return _made(self, "predict", force)
