"""MLPClassifier and MLPRegressor replaced by one import: time and accuracy.

    python -m benchmarks.estimators [--rounds 7] [--keep]

Five data sets that scikit-learn brings along, columns scaled, all parameters as they are by
default. Both libraries take turns in one process, on one thread, with the same seed: a fit of one,
then of the other; CPU time, the minimum of the rounds. Accuracy (R2 for diabetes) is the mean over
five folds and three seeds, with its standard deviation over those fits.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
from sklearn import datasets
from sklearn.model_selection import cross_val_score
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from benchmarks.harness import command, records
from cdl.sklearn import CDLClassifier, CDLRegressor

LOADERS: dict[str, Callable[..., Any]] = {
    "digits": datasets.load_digits,
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
    "breast cancer": datasets.load_breast_cancer,
    "diabetes": datasets.load_diabetes,
}
SEEDS = range(3)


def data(case: str) -> tuple[np.ndarray, np.ndarray]:
    x, y = LOADERS[case](return_X_y=True)
    x = StandardScaler().fit_transform(x)
    return x, ((y - y.mean()) / y.std() if case == "diabetes" else y)


def scores(kind: type, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    each = [cross_val_score(kind(random_state=seed), x, y, cv=5) for seed in SEEDS]
    return np.concatenate(each)


def measure_case(case: str, rounds: int) -> dict:
    x, y = data(case)
    theirs, ours = (
        (MLPRegressor, CDLRegressor) if case == "diabetes" else (MLPClassifier, CDLClassifier)
    )
    took: dict[type, list[float]] = {theirs: [], ours: []}
    epochs = {}
    for seed in range(rounds):
        for kind, seconds in took.items():
            model = kind(random_state=seed)
            start = time.process_time()
            model.fit(x, y)
            seconds.append(time.process_time() - start)
            epochs[kind] = model.n_iter_
    found = {"case": case, "rows": len(x), "columns": x.shape[1], "threads": 1}
    for name, kind in (("sklearn", theirs), ("cdl", ours)):
        score = scores(kind, x, y)
        found[name] = {
            "ms": 1e3 * min(took[kind]),
            "median_ms": 1e3 * median(took[kind]),
            "epochs": epochs[kind],
            "score": float(score.mean()),
            "score_std": float(score.std()),
        }
    return found


def measure(options: argparse.Namespace) -> list[dict]:
    warnings.simplefilter("ignore")
    found = []
    with threadpool_limits(1):
        for case in options.cases:
            command.progress(case)
            found.append(measure_case(case, options.rounds))
    return found


def tables(found: list[dict]) -> str:
    rows = []
    for each in found:
        sk, cdl = each["sklearn"], each["cdl"]
        shown = [f"{side['score']:.3f} ({side['score_std']:.3f})" for side in (sk, cdl)]
        rows.append(
            [
                each["case"],
                f"{each['rows']:,} x {each['columns']}",
                cdl["epochs"],
                records.number(sk["ms"]),
                records.number(cdl["ms"]),
                records.ratio(sk["ms"] / cdl["ms"]),
                *shown,
            ]
        )
    head = ["data", "rows", "epochs", "sklearn, ms", "cdl, ms", "faster", "sklearn", "cdl"]
    title = "### A fit with default parameters, 1 thread, CPU time; accuracy (R2) of five folds\n"
    return "\n".join([title, records.table(head, rows), ""])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.estimators", description=__doc__)
    command.add_options(parser, rounds=7, threads=False)
    parser.add_argument("--cases", nargs="+", default=list(LOADERS), choices=list(LOADERS))
    options = parser.parse_args(arguments)
    command.run("estimators", lambda: measure(options), tables, options)


if __name__ == "__main__":
    main()
