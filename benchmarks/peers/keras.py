"""Keras on one of its backends, by the script that cdl is measured with."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import ModuleType

import numpy as np

from benchmarks.harness import cases
from benchmarks.harness.cases import Case, Data


def load(variant: str, threads: int) -> ModuleType:
    """Keras with the backend that the variant names, held to the threads."""
    os.environ["KERAS_BACKEND"] = variant
    if variant == "torch":
        import torch

        torch.set_num_threads(threads)
    if variant == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    import keras

    return keras


def build(api: ModuleType, case: Case, weights: list[np.ndarray]):
    """A Sequential model; `api` is keras, or cdl."""
    model = api.models.Sequential([api.layers.Input((case.sizes[0],))])
    for n in case.sizes[1:-1]:
        model.add(api.layers.Dense(n, activation=case.activation))
    last = "softmax" if case.loss == "softmax" else None
    model.add(api.layers.Dense(case.sizes[-1], activation=last))
    model.set_weights(weights)
    return model


class Trainer:
    """`fit` with shuffling, and with accuracy where there are classes."""

    def __init__(self, case: Case, data: Data, threads: int, variant: str) -> None:
        self.start(load(variant, threads), case, data)

    def start(self, api: ModuleType, case: Case, data: Data) -> None:
        self.data = data
        self.batch = case.batch
        self.model = build(api, case, data.weights)
        classes = case.loss == "softmax"
        kind = api.optimizers.Adam if case.optimizer == "adam" else api.optimizers.SGD
        self.model.compile(
            optimizer=kind(learning_rate=cases.RATE),
            loss="categorical_crossentropy" if classes else "mean_squared_error",
            metrics=["accuracy"] if classes else None,
        )

    def reset(self) -> None:
        self.model.set_weights(self.data.weights)
        for variable in self.model.optimizer.variables:
            if "learning_rate" not in variable.name:
                variable.assign(np.zeros(variable.shape, variable.dtype))

    def train(self, epochs: int, shuffle: bool = True) -> None:
        self.model.fit(
            self.data.x,
            self.data.y,
            batch_size=self.batch,
            epochs=epochs,
            shuffle=shuffle,
            verbose=0,
        )

    def weights(self) -> list[np.ndarray]:
        return self.model.get_weights()


def predictors(
    case: Case, weights: list[np.ndarray], threads: int, variant: str
) -> dict[str, Callable]:
    """`predict` with one batch for all rows up to 8,192, and `model(x)`."""
    keras = load(variant, threads)
    model = build(keras, case, weights)
    return {
        "predict": lambda x: model.predict(x, batch_size=min(len(x), 8192), verbose=0),
        "model(x)": lambda x: keras.ops.convert_to_numpy(model(x)),
    }
