"""Training on parts of one's own, `auto_shard_dataset=False`; run by mpiexec: `parts.py FOLDER`."""

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


def net(*between, kind=cdl.Sequential, **dense):
    return kind(
        [
            layers.Input((FEATURES,)),
            layers.Dense(24, activation="relu", **dense),
            *between,
            layers.Dense(CLASSES, activation="softmax"),
        ]
    )


class InPython(cdl.losses.Loss):
    """A loss that cannot be traced."""

    def call(self, y_true, y_pred):
        return np.mean(np.square(np.asarray(y_true) - np.asarray(y_pred)), axis=-1)


class OwnStep(cdl.Sequential):
    def train_step(self, data):
        return super().test_step(data)


def of_parts(size, rank=None):
    """The results of a rank that holds a part of the rows; or of one process, from equal batches.

    The batches of 8 rows of all ranks, and the rests of 6 or 4, make a batch each.
    """
    part = 60 // size
    starts = [(rank, at) for at in range(0, part, 8) for rank in range(size)]
    rows = np.concatenate([r * part + np.arange(at, min(at + 8, part)) for r, at in starts])
    if rank is not None:
        rows = np.arange(rank * part, rank * part + part)
    batch = 8 if rank is not None else 8 * size
    found = {}
    for name, optimizer, between in (
        ("plain", "adam", list),
        ("normalization", "sgd", lambda: [layers.BatchNormalization()]),
        ("dropout", optimizers.SGD(gradient_accumulation_steps=2), lambda: [layers.Dropout(0.3)]),
    ):
        cdl.utils.set_random_seed(3)
        model = net(*between(), kernel_regularizer="l2")
        model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
        history = model.fit(
            X[rows],
            Y[rows],
            batch_size=batch,
            epochs=2,
            verbose=0,
            shuffle=False,
            sample_weight=WEIGHTS[rows],
            validation_data=(X[rows], Y[rows]),
        )
        found |= {f"{name} {i}": weight for i, weight in enumerate(model.get_weights())}
        found |= {f"{name} {key}": np.array(value) for key, value in history.history.items()}
        found[f"{name} evaluate"] = np.array(model.evaluate(X[rows], Y[rows], verbose=0))
        assert len(model.predict(X[rows], verbose=0)) == len(rows)
    return found


def trained(model, loss):
    model.compile("sgd", loss)
    model.fit(X, np.eye(CLASSES)[Y], verbose=0)


def refused(rank):
    """The errors of calls that need all rows of a batch, or that have parts of unequal sizes."""
    found = {}
    model = net()
    model.compile("sgd", "sparse_categorical_crossentropy")
    rows = ROWS - (rank == 1)
    for name, run in {
        "rows": lambda: model.fit(X[:rows], Y[:rows], verbose=0),
        "one batch": lambda: model.train_on_batch(X[:rows], Y[:rows]),
        "validation": lambda: model.fit(X, Y, verbose=0, validation_data=(X[:rows], Y[:rows])),
        "in Python": lambda: trained(net(), InPython()),
        "own step": lambda: trained(net(kind=OwnStep), "mse"),
    }.items():
        try:
            run()
            found[name] = ""
        except ValueError as error:
            found[name] = str(error)
    return {name: np.array(words) for name, words in found.items()}


def main(folder):
    there = cdl.distribution.DataParallel(auto_shard_dataset=False)
    cdl.distribution.set_distribution(there)
    rank = there.data_shard_id
    found = of_parts(there.num_processes, rank)
    errors = {f"refused, {name}": words for name, words in refused(rank).items()}
    np.savez(Path(folder) / f"{rank}.npz", **found, **errors)


if __name__ == "__main__":
    main(sys.argv[1])
