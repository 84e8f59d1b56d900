"""Cdl as a user has it: the same script as Keras's, from another import."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import cdl
from benchmarks.harness.cases import Case, Data
from benchmarks.peers import keras


class Trainer(keras.Trainer):
    """`fit`, as keras.Trainer has it."""

    def __init__(self, case: Case, data: Data, threads: int, variant: str) -> None:
        self.start(cdl, case, data)

    def reset(self) -> None:
        self.model.set_weights(self.data.weights)
        for variable in self.model.optimizer.variables:
            if "learning_rate" not in variable.name:
                variable.assign(np.zeros(variable.shape, np.float32))


def predictors(
    case: Case, weights: list[np.ndarray], threads: int, variant: str
) -> dict[str, Callable]:
    model = keras.build(cdl, case, weights)
    return {
        "predict": lambda x: model.predict(x, verbose=0),
        "model(x)": lambda x: np.asarray(model(x)),
        "predict_on_batch": model.predict_on_batch,
    }
