"""Nets and trees on tables: scores of ten splits, CPU time of a fit, time of one row.

    python -m benchmarks.tables [--splits 10] [--cases wine diabetes] [--methods ...] [--keep]

Five data sets that scikit-learn brings along, all parameters as they are by default, one thread.
Split i leaves out a quarter of the rows, drawn with seed i (a quarter of each class), which is the
seed of the method too. A score is the accuracy, or R2 for diabetes. Peers that are not installed
are left out. scikit-learn's MLP gets scaled columns.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
from sklearn import datasets
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from benchmarks.harness import command, records
from cdl.sklearn import TabularClassifier, TabularRegressor

LOADERS: dict[str, Callable[..., Any]] = {
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
    "breast cancer": datasets.load_breast_cancer,
    "digits": datasets.load_digits,
    "diabetes": datasets.load_diabetes,
}


def tabular(recipe: str) -> Callable[[bool, int], Any]:
    def made(classes: bool, seed: int) -> Any:
        return (TabularClassifier if classes else TabularRegressor)(recipe, random_state=seed)

    return made


def boosting(classes: bool, seed: int) -> Any:
    kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    return kind(random_state=seed)


def perceptron(classes: bool, seed: int) -> Any:
    net = (MLPClassifier if classes else MLPRegressor)(random_state=seed)
    return make_pipeline(StandardScaler(), net)


def lightgbm(classes: bool, seed: int) -> Any:
    from lightgbm import LGBMClassifier, LGBMRegressor

    return (LGBMClassifier if classes else LGBMRegressor)(random_state=seed, n_jobs=1, verbose=-1)


METHODS = {
    "cdl realmlp": tabular("realmlp"),
    "cdl tabm": tabular("tabm"),
    "cdl mlp": tabular("mlp"),
    "HistGradientBoosting": boosting,
    "LightGBM": lightgbm,
    "sklearn MLP": perceptron,
}
BY_DEFAULT = [each for each in METHODS if each != "cdl tabm"]  # which takes minutes a fit


def measure_case(case: str, name: str, splits: int) -> dict:
    x, y = LOADERS[case](return_X_y=True)
    classes = case != "diabetes"
    scores, fits, rows = [], [], []
    for seed in range(splits):
        kept = y if classes else None
        parts = train_test_split(x, y, test_size=0.25, random_state=seed, stratify=kept)
        a, b, c, d = parts
        model = METHODS[name](classes, seed)
        start = time.process_time()
        model.fit(a, c)
        fits.append(time.process_time() - start)
        scores.append(float(model.score(b, d)))
        start = time.process_time()
        for i in range(20):
            model.predict(b[i : i + 1])
        rows.append((time.process_time() - start) / 20)
    return {
        "case": case,
        "method": name,
        "rows": len(x),
        "columns": x.shape[1],
        "score": float(np.mean(scores)),
        "score_std": float(np.std(scores, ddof=1)) if splits > 1 else 0.0,
        "scores": scores,
        "fit_s": float(np.mean(fits)),
        "row_us": 1e6 * min(rows),
    }


def measure(options: argparse.Namespace) -> list[dict]:
    warnings.simplefilter("ignore")
    found = []
    with threadpool_limits(1):
        for case in options.cases:
            for name in options.methods:
                if name == "LightGBM" and find_spec("lightgbm") is None:
                    continue
                command.progress(f"{case}: {name}")
                found.append(measure_case(case, name, options.splits))
    return found


def tables(found: list[dict]) -> str:
    names = list(dict.fromkeys(each["method"] for each in found))
    parts = []
    for title, shown in (
        (
            "Accuracy (R2 for diabetes), mean and deviation of splits",
            lambda r: f"{r['score']:.3f} ({r['score_std']:.3f})",
        ),
        ("CPU seconds of a fit, 1 thread", lambda r: records.number(r["fit_s"])),
        ("Microseconds of `predict` for one row", lambda r: records.number(r["row_us"])),
    ):
        rows = []
        for case in dict.fromkeys(each["case"] for each in found):
            by = {each["method"]: each for each in found if each["case"] == case}
            first = next(iter(by.values()))
            cells = [shown(by[name]) if name in by else "-" for name in names]
            rows.append([case, f"{first['rows']:,} x {first['columns']}", *cells])
        parts += [f"### {title}\n", records.table(["data", "rows", *names], rows), ""]
    return "\n".join(parts)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables", description=__doc__)
    command.add_options(parser, rounds=1, threads=False)
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--cases", nargs="+", default=list(LOADERS), choices=list(LOADERS))
    parser.add_argument("--methods", nargs="+", default=BY_DEFAULT, choices=list(METHODS))
    options = parser.parse_args(arguments)
    absent = {} if find_spec("lightgbm") else {"LightGBM": "not installed"}
    command.run("tables", lambda: measure(options), tables, options, absent)


if __name__ == "__main__":
    main()
