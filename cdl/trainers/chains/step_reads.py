"""Reads of a training step that is recorded: what it may do, and what is compared later."""

from __future__ import annotations

import types
from collections.abc import Sequence
from typing import Any

import numpy as np

from cdl._common.overriding import is_users
from cdl.metrics import Metric
from cdl.optimizers import Optimizer
from cdl.trainers.custom.reads import Reads, _UnknownError

# Names that a step calls, and each repetition of it again.
_CALLS = frozenset((
    "apply", "apply_gradients", "compute_loss", "gradient", "metrics", "optimizer",
    "result", "update_state",
))  # fmt: skip
_OF_TAPES = "cdl.taping.gradient_tape"
_ADDING = frozenset(("add", "append", "appendleft", "extend", "insert", "setdefault", "update"))


class StepReads(Reads):
    """Reads of a step, which is unknown if it sets attributes, prints or adds to lists.

    Args:
        step: a method of a model.

    Attributes:
        reason: why it is unknown, with the line; or "".
    """

    _storing: Any = ()

    def __init__(self, step: types.MethodType) -> None:
        self._users = [each for each in type(step.__self__).__mro__ if is_users(each)]
        super().__init__(step, is_strict=False)
        self.reason = ""
        if not self.is_known:
            self.reason = f"{self.place}: what this reads or does could not be seen again"

    def _look_at(self, value: Any) -> None:
        is_tape = isinstance(value, type) and value.__module__ == _OF_TAPES
        if not (
            is_tape
            or isinstance(value, (Metric, Optimizer))
            or value is np.ones
            or value is np.full
        ):
            super()._look_at(value)

    def _look_at_global(
        self, namespace: dict[str, Any], name: str, attributes: Sequence[str]
    ) -> None:
        if name == "print":
            raise _UnknownError
        super()._look_at_global(namespace, name, attributes)

    def _follow(self, value: Any, attributes: Sequence[str]) -> None:
        if _ADDING.intersection(attributes[-1:]):
            raise _UnknownError
        super()._follow(value, attributes)

    def _check_attributes(self, names: Sequence[str]) -> None:
        for name in _CALLS.intersection(names):
            # The code of a class between this and cdl's is not walked through.
            if sum(name in vars(each) for each in self._users) > 1:
                raise _UnknownError
        super()._check_attributes([name for name in names if name not in _CALLS])

    def note_optimizer(self, model: Any) -> None:
        """Compare the optimizer that a model is compiled with, too."""
        self._note(model._compiled, "optimizer", model._compiled.optimizer)
        self._note(model, "_compiled", model._compiled)
