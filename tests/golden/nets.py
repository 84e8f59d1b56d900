"""Data and nets of the cases, with weights that are stated and not drawn by a backend."""

from __future__ import annotations

from typing import Any

import numpy as np


def numbers(*shape: int, seed: int = 0, scale: float = 1.0) -> Any:
    return (np.random.RandomState(seed).normal(size=shape) * scale).astype("float32")


def shares(*shape: int, seed: int = 0) -> Any:
    return np.random.RandomState(seed).uniform(0.03, 0.97, size=shape).astype("float32")


def classes(rows: int, n: int, seed: int = 0) -> Any:
    return np.random.RandomState(seed).randint(0, n, rows)


def one_hot(rows: int, n: int, seed: int = 0) -> Any:
    return np.eye(n, dtype="float32")[classes(rows, n, seed)]


def bits(*shape: int, seed: int = 0) -> Any:
    return np.random.RandomState(seed).randint(0, 2, shape).astype("float32")


def state_weights(model: Any, seed: int = 3) -> Any:
    """Give all weights stated values: variances and the like positive, all others small."""
    rng = np.random.RandomState(seed)
    values = []
    for weight in model.weights:
        shape = tuple(weight.shape)
        positive = any(part in weight.name for part in ("variance", "gamma", "stddev"))
        drawn = rng.uniform(0.5, 1.5, shape) if positive else rng.normal(size=shape) * 0.5
        values.append(np.asarray(drawn, "float32"))
    model.set_weights(values)
    return model


def mlp(k: Any, units: int = 3, last: str | None = "softmax", inputs: int = 4, **dense: Any) -> Any:
    """A small net: inputs - 5 tanh - units."""
    net = k.Sequential(
        [
            k.layers.Input((inputs,)),
            k.layers.Dense(5, activation="tanh", name="hidden", **dense),
            k.layers.Dense(units, activation=last, name="out"),
        ]
    )
    return state_weights(net)


def weights_of(model: Any) -> dict[str, Any]:
    """All weights in one vector, so that a file holds few arrays."""
    flat = [np.asarray(w, "float32").ravel() for w in model.get_weights()]
    return {"weights": np.concatenate(flat) if flat else np.zeros(0, "float32")}


def trained(k: Any, net: Any, x: Any, y: Any, **fit: Any) -> dict[str, Any]:
    """History and weights of a fit that does not shuffle."""
    options = {"epochs": 3, "batch_size": 4, "shuffle": False, "verbose": 0, **fit}
    history = net.fit(x, y, **options).history
    seen = {f"history {name}": values for name, values in history.items()}
    return {"keys": list(history), **seen, **weights_of(net)}
