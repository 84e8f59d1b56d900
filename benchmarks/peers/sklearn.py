"""Scikit-learn's MLP, an epoch a call of partial_fit."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from sklearn.neural_network import MLPClassifier, MLPRegressor

from benchmarks.harness import cases
from benchmarks.harness.cases import Case, Data


def build(case: Case, weights: list[np.ndarray]) -> MLPClassifier | MLPRegressor:
    """A model that has seen some noise and then got the case's weights."""
    kind = MLPClassifier if case.loss == "softmax" else MLPRegressor
    activation = {"sigmoid": "logistic"}.get(case.activation, case.activation)
    model = kind(
        hidden_layer_sizes=case.sizes[1:-1],
        activation=activation,
        solver=case.optimizer,
        alpha=0.0,
        batch_size=case.batch,
        learning_rate_init=cases.RATE,
        beta_1=cases.BETA_1,
        beta_2=cases.BETA_2,
        epsilon=cases.EPSILON,
        momentum=0.0,
        nesterovs_momentum=False,
    )
    rows = max(case.batch, 2 * case.sizes[-1])
    x = np.ones((rows, case.sizes[0]), np.float32)
    if case.loss == "softmax":
        classes = np.arange(case.sizes[-1])
        model.partial_fit(x, np.resize(classes, rows), classes=classes)
    else:
        model.partial_fit(x, np.ones((rows, case.sizes[-1]), np.float32).squeeze())
    load_weights(model, weights)
    return model


def load_weights(model: MLPClassifier | MLPRegressor, weights: list[np.ndarray]) -> None:
    for mine, value in zip(model.coefs_, weights[::2], strict=True):
        mine[:] = value
    for mine, value in zip(model.intercepts_, weights[1::2], strict=True):
        mine[:] = value


class Trainer:
    """Training by scikit-learn: its loss for values is half a sum over the outputs, not their mean.

    Adam does not notice a factor; SGD gets another rate.
    """

    def __init__(self, case: Case, data: Data, threads: int, variant: str) -> None:
        warnings.simplefilter("ignore")
        self.data = data
        self.y = data.y.squeeze() if data.classes is None else data.classes
        self.model = build(case, data.weights)
        if case.loss == "mse" and case.optimizer == "sgd":
            self.model.set_params(learning_rate_init=2 * cases.RATE / case.sizes[-1])

    def reset(self) -> None:
        load_weights(self.model, self.data.weights)
        del self.model._optimizer

    def train(self, epochs: int, shuffle: bool = True) -> None:
        self.model.shuffle = shuffle
        for _ in range(epochs):
            self.model.partial_fit(self.data.x, self.y)

    def weights(self) -> list[np.ndarray]:
        pairs = zip(self.model.coefs_, self.model.intercepts_, strict=True)
        return [w for pair in pairs for w in pair]


def predictors(
    case: Case, weights: list[np.ndarray], threads: int, variant: str
) -> dict[str, Callable]:
    model = build(case, weights)
    return {"predict": model.predict_proba if case.loss == "softmax" else model.predict}
