"""Hyperparameter search with Optuna: the trials of a round trained in parallel.

The nets classify handwritten digits. Each round asks for eight trials and tells Optuna their
results, from which it proposes the next ones. The nets of a round train beside one another, one a
core; with `--backend dask` or `ray` on the workers of an engine.

    pip install 'cdl-nn[sklearn]' optuna
    python examples/sweep.py [--rounds 5] [--backend loky]
"""

from __future__ import annotations

import argparse

import numpy as np
import optuna
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import cdl
from cdl import layers


def net(trial: optuna.Trial) -> cdl.Sequential:
    """The net with the hyperparameters of a trial."""
    units = trial.suggest_int("units", 8, 128, log=True)
    model = cdl.Sequential([layers.Input((64,))])
    for _ in range(trial.suggest_int("depth", 1, 3)):
        model.add(layers.Dense(units, trial.suggest_categorical("activation", ["relu", "tanh"])))
        model.add(layers.Dropout(trial.suggest_float("dropout", 0.0, 0.5)))
    model.add(layers.Dense(10, "softmax"))
    rate = trial.suggest_float("rate", 1e-4, 3e-2, log=True)
    loss = "sparse_categorical_crossentropy"
    model.compile(cdl.optimizers.Adam(rate), loss, metrics=["accuracy"])
    return model


def draw(study: optuna.Study, file: str) -> None:
    """Draw the accuracy of each trial by its learning rate and units."""
    import matplotlib.pyplot as plt

    trials = study.trials
    figure, ax = plt.subplots()
    points = ax.scatter(
        [trial.params["rate"] for trial in trials],
        [trial.value for trial in trials],
        s=[2 * trial.params["units"] for trial in trials],
        c=[trial.number for trial in trials],
        alpha=0.8,
    )
    title = f"{len(trials)} nets; the larger the dot, the wider the net"
    ax.set(title=title, xlabel="learning rate", ylabel="accuracy in validation", xscale="log")
    figure.colorbar(points, label="number of the trial")
    figure.savefig(file)


def main(
    rounds: int = 5,
    together: int = 8,
    epochs: int = 15,
    backend: str | None = None,
    picture: str | None = None,
) -> float:
    """Search, print the best net, and return its accuracy on digits that no trial has seen."""
    cdl.utils.set_random_seed(0)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    x, y = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split(
        (x / 16).astype(np.float32), y, test_size=0.3, random_state=0, stratify=y
    )
    sampler = optuna.samplers.TPESampler(seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    best, reached = None, 0.0
    for _ in range(rounds):
        trials = [study.ask() for _ in range(together)]
        nets = [net(trial) for trial in trials]
        histories = cdl.train_many(
            [(model, x, y) for model in nets],
            backend=backend,
            epochs=epochs,
            validation_split=0.2,
        )
        for trial, model, history in zip(trials, nets, histories, strict=True):
            accuracy = max(history.history["val_accuracy"])
            study.tell(trial, accuracy)
            if accuracy > reached:
                best, reached = model, accuracy
    assert best is not None
    if picture is not None:
        draw(study, picture)
    print(f"{len(study.trials)} nets, the best: {study.best_params}")
    accuracy = best.evaluate(x_test, y_test, verbose=0, return_dict=True)["accuracy"]
    return float(accuracy)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backend", help="of joblib: loky, dask, ray; threads if left out")
    parser.add_argument("--picture", help="a file to draw into")
    print(f"accuracy: {main(**vars(parser.parse_args())):.4f}")
