"""What several ranks compute and one process, too; run by mpiexec, and imported by the tests.

A case gives arrays by name. `python cases.py FOLDER` writes what this rank has to a file there.
"""

import sys
from pathlib import Path

import numpy as np

import cdl
from cdl import layers, optimizers

ROWS, FEATURES, CLASSES = 70, 12, 4
RNG = np.random.default_rng(0)
X = RNG.normal(size=(ROWS, FEATURES)).astype(np.float32)
Y = RNG.integers(0, CLASSES, ROWS)
WEIGHTS = RNG.uniform(0.5, 2.0, ROWS)


def net(*between, **dense):
    return cdl.Sequential(
        [
            layers.Input((FEATURES,)),
            layers.Dense(24, activation="relu", **dense),
            *between,
            layers.Dense(CLASSES, activation="softmax"),
        ]
    )


def learned(model, history=None):
    """Weights, logs, what `evaluate` gives and predictions."""
    found = {f"weight {i}": w for i, w in enumerate(model.get_weights())}
    for name, values in (history.history if history else {}).items():
        found[name] = np.array(values)
    found["evaluate"] = np.array(model.evaluate(X, Y, batch_size=32, verbose=0))
    found["predict"] = model.predict(np.tile(X, (12, 1)), verbose=0)
    return found


def trained(model, optimizer="sgd", rows=ROWS, batch_size=32, epochs=3, **fit):
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(X[:rows], Y[:rows], batch_size=batch_size, epochs=epochs, verbose=0, **fit)
    return learned(model, history)


CASES = {
    "sgd": lambda: trained(net()),
    "adam": lambda: trained(net(), "adam"),
    "dropout and noise": lambda: trained(
        net(layers.Dropout(0.3), layers.GaussianNoise(0.1), layers.AlphaDropout(0.1)),
        "adam",
    ),
    "batch normalization": lambda: trained(net(layers.BatchNormalization()), "adam"),
    "batches smaller than ranks": lambda: trained(net(), rows=7, batch_size=2),
    "batches that no block divides": lambda: trained(
        net(layers.BatchNormalization()), rows=40, batch_size=20
    ),
    "accumulation": lambda: trained(net(), optimizers.Adam(gradient_accumulation_steps=2), rows=64),
}


def results():
    found = {}
    for name, case in CASES.items():
        cdl.utils.set_random_seed(3)
        found |= {f"{name}: {part}": value for part, value in case().items()}
    return found


def main(folder):
    cdl.distribution.set_distribution(cdl.distribution.DataParallel())
    rank = cdl.distribution.distribution().data_shard_id
    np.savez(Path(folder) / f"{rank}.npz", **results())


if __name__ == "__main__":
    main(sys.argv[1])
