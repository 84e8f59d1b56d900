"""Custom `predict_step`, recorded like a custom training step."""

from __future__ import annotations

from typing import Any

from cdl import tree
from cdl.trainers.chains.step_chains import StepChains, form_of, is_plain
from cdl.trainers.custom.step_functions import own_function
from cdl.trainers.derivatives import kept_in

_NAME = "predict_step"


class PredictSteps:
    """Calls of a model's `predict_step`, without its Python code once it is recorded.

    Args:
        model: whose step it is.
    """

    def __init__(self, model: Any) -> None:
        self._model, compiled = model, model._compiled
        self._is_eager = compiled is not None and bool(compiled.given["run_eagerly"])
        self._chains = StepChains.of(compiled)

    def __call__(self, batch: Any) -> Any:
        """Predictions for one batch, given as the step takes it."""
        leaves = tree.flatten(batch)
        function = own_function(self._model, "predict")
        step = function or self._model.predict_step
        if function or self._is_eager or not leaves or not all(map(is_plain, leaves)):
            return step(batch)
        key = _NAME, *form_of(batch)
        chain = self._chains.take(key)
        if chain is None:
            with kept_in(self._chains.differentiated):
                return self._chains.run(key, self._model, step, (batch,))
        try:
            return chain.once(leaves)
        finally:
            self._chains.give_back(key, chain)
