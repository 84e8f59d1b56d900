"""Distributed data-parallel training with MPI: handwritten digits.

Several processes learn at once: each takes a part of every batch, and gradients are added up. The
weights are the same for any number of processes, up to rounding; files and lines are written once.
Without mpiexec it is one process.

    pip install 'cdl-nn[mpi,sklearn]' mpich
    mpiexec -n 2 python examples/digits_ranks.py
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from sklearn.datasets import load_digits

import cdl
from cdl import layers


def main(epochs: int = 20, batch_size: int = 64, picture: str | None = None) -> float:
    """Train, print what was reached, and return the accuracy on images that were held out."""
    cdl.distribution.set_distribution(cdl.distribution.DataParallel())  # the one line
    try:
        return train(epochs, batch_size, picture)
    finally:
        cdl.distribution.set_distribution(None)


def draw(history: cdl.callbacks.History, file: str) -> None:
    """Draw loss and accuracy over the epochs; dashed lines are of validation."""
    history.plot()[0].figure.savefig(file)


def train(epochs: int, batch_size: int, picture: str | None) -> float:
    """Train on one process or on several: the lines are those of one process."""
    cdl.utils.set_random_seed(0)
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype("float32")
    model = cdl.Sequential(
        [
            layers.Input((64,)),
            layers.Dense(128, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.2),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    with tempfile.TemporaryDirectory() as folder:
        best = Path(folder) / "best.keras"
        history = model.fit(
            x[:1400],
            y[:1400],
            batch_size=batch_size,  # of all processes together
            epochs=epochs,
            validation_split=0.1,
            verbose=0,
            callbacks=[cdl.callbacks.ModelCheckpoint(best, save_best_only=True)],
        )
        written = best.exists()  # by the first process, in a folder of its own
    accuracy = float(model.evaluate(x[1400:], y[1400:], verbose=0)[1])
    devices = cdl.distribution.list_devices()
    if written:
        print(f"{len(devices)} process(es): {accuracy:.3f} of new images right")
        if picture is not None:
            draw(history, picture)
    return accuracy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--picture", help="a file to draw into")
    main(**vars(parser.parse_args()))
