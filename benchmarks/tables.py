"""Nets and trees on tables: scores of splits, CPU time of a fit, time of one row.

    python -m benchmarks.tables [--splits 10] [--cases wine diabetes] [--methods ...] [--keep]
                                [--resume] [--library DIR] [--most-rows 10000]

All parameters are as they are by default, one thread. Split i leaves out a quarter of the rows,
drawn with seed i (a quarter of each class), which is the seed of the method too; of large sets at
most so many rows are trained on. Splits are the outer loop, so a run may be stopped at any time:
each fit is a line of the file, and --resume goes on with the file's last run. Methods and data sets
that need what is not installed are left out. Methods that refuse categories or missing values get a
flag a category, and medians; scikit-learn's MLP scaled columns and targets.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import traceback
import warnings
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.compose import (
    TransformedTargetRegressor,
    make_column_selector,
    make_column_transformer,
)
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from benchmarks.harness import command, frames, machine, records
from benchmarks.harness.scores import tables
from cdl.sklearn import TabularClassifier, TabularRegressor


def tabular(recipe: str, classes: bool, seed: int) -> Any:
    return (TabularClassifier if classes else TabularRegressor)(recipe, random_state=seed)


def hist_boosting(classes: bool, seed: int) -> Any:
    kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    return kind(random_state=seed)


def lightgbm(classes: bool, seed: int) -> Any:
    from lightgbm import LGBMClassifier, LGBMRegressor

    return (LGBMClassifier if classes else LGBMRegressor)(random_state=seed, n_jobs=1, verbose=-1)


def xgboost(classes: bool, seed: int) -> Any:
    from xgboost import XGBClassifier, XGBRegressor

    kind = XGBClassifier if classes else XGBRegressor
    return kind(random_state=seed, n_jobs=1, enable_categorical=True)


def catboost(classes: bool, seed: int) -> Any:
    from catboost import CatBoostClassifier, CatBoostRegressor

    kind = CatBoostClassifier if classes else CatBoostRegressor
    return kind(random_state=seed, thread_count=1, verbose=0, allow_writing_files=False)


def perceptron(classes: bool, seed: int) -> Any:
    if classes:
        return make_pipeline(plain_columns(), MLPClassifier(random_state=seed))
    net = TransformedTargetRegressor(MLPRegressor(random_state=seed), transformer=StandardScaler())
    return make_pipeline(plain_columns(), net)


def plain_columns() -> Any:
    texts = make_column_selector(dtype_include="category")
    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    flags = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return make_column_transformer((flags, texts), remainder=numbers)


def pytabkit(name: str, classes: bool, seed: int) -> Any:
    import pytabkit

    kind = getattr(pytabkit, f"{name}_{'Classifier' if classes else 'Regressor'}")
    return kind(random_state=seed, device="cpu", n_threads=1, verbosity=0)


class Method(NamedTuple):
    """Way of making an estimator by (classes, seed), what it needs, and splits it is worth."""

    made: Callable[[bool, int], Any]
    package: str = "cdl"
    splits: int = 10


METHODS = {
    "cdl realmlp": Method(partial(tabular, "realmlp")),
    "cdl mlp": Method(partial(tabular, "mlp")),
    "cdl tabm": Method(partial(tabular, "tabm"), splits=3),
    "RealMLP-TD": Method(partial(pytabkit, "RealMLP_TD"), "pytabkit"),
    "TabM-D": Method(partial(pytabkit, "TabM_D"), "pytabkit", 3),
    "LightGBM": Method(lightgbm, "lightgbm"),
    "CatBoost": Method(catboost, "catboost"),
    "XGBoost": Method(xgboost, "xgboost"),
    "HistGradientBoosting": Method(hist_boosting),
    "sklearn MLP": Method(perceptron),
}
ROWS = 20  # that are predicted one by one


def prepared(name: str, parts: list[Any]) -> list[Any]:
    """Frames as a method takes them: CatBoost no missing category, RealMLP no missing number."""
    if name == "CatBoost":
        texts = parts[0].select_dtypes("category").columns
        return [
            x.assign(**{c: x[c].astype(object).fillna("missing") for c in texts}) for x in parts
        ]
    if name in ("RealMLP-TD", "TabM-D"):
        medians = parts[0].median(numeric_only=True)
        gaps = parts[0][medians.index].isna().any()
        flags = {f"{c} missing": c for c in gaps.index[gaps]}
        more = [{new: x[old].isna().astype(float) for new, old in flags.items()} for x in parts]
        return [x.fillna(medians).assign(**new) for x, new in zip(parts, more, strict=True)]
    return parts


def fitted(name: str, classes: bool, seed: int, x: Any, y: Any) -> Any:
    model = METHODS[name].made(classes, seed)
    options = {}
    if name == "CatBoost":
        options["cat_features"] = [c for c in x if x[c].dtype.kind not in "fiu"]
    return model.fit(x, y, **options)


def measured(case: str, name: str, seed: int, data: tuple[Any, Any], most: int) -> dict:
    """Record of a fit."""
    x, y = data
    classes = frames.SOURCES[case].classes
    kept = y if classes else None
    a, b, c, d = train_test_split(x, y, test_size=0.25, random_state=seed, stratify=kept)
    labels, codes = np.unique(y, return_inverse=True)
    if classes:  # numbers, which all take
        c, d = (codes[each.index] for each in (c, d))
    else:
        c, d = c.to_numpy(), d.to_numpy()
    a, c = a[:most], c[:most]
    if classes:  # without the rare ones that only rows left out have
        present, c = np.unique(c, return_inverse=True)
    a, b = prepared(name, [a, b])
    start = time.process_time()
    model = fitted(name, classes, seed, a, c)
    fit = time.process_time() - start
    found: dict[str, Any] = {"case": case, "method": name, "split": seed, "fit_s": round(fit, 4)}
    found |= {"rows": len(a), "columns": x.shape[1], "load": round(os.getloadavg()[0], 1)}
    if classes:
        p = np.zeros((len(b), len(labels)))
        p[:, present] = model.predict_proba(b)
        p /= p.sum(1, keepdims=True)
        found["accuracy"] = float((present[model.predict(b).ravel()] == d).mean())
        binary = len(labels) == 2
        found["auc"] = float(
            roc_auc_score(d, p[:, 1]) if binary else roc_auc_score(d, p, multi_class="ovr")
        )
        found["log_loss"] = float(log_loss(d, p, labels=range(len(labels))))
    else:
        wrong = d - model.predict(b).ravel()
        found["r2"] = float(1 - (wrong**2).sum() / ((d - d.mean()) ** 2).sum())
    times = []
    for i in range(ROWS):
        row = b.iloc[i : i + 1]
        start = time.process_time_ns()
        model.predict(row)
        times.append((time.process_time_ns() - start) / 1e3)
    return found | {"row_us": round(float(np.median(times)), 1)}


def measure(options: argparse.Namespace, done: set, keep: Callable[[dict], None]) -> list[dict]:
    """Measure each fit that is not done yet, and keep its record at once."""
    warnings.simplefilter("ignore")
    found = []
    data = {case: frames.load(case, options.library) for case in options.cases}
    for name in options.methods:  # whose first fit imports what it needs
        if METHODS[name].package == "pytabkit":
            measured("iris", name, 0, frames.load("iris", options.library), 50)
    for seed in range(options.splits):
        for case in options.cases:
            for name in options.methods:
                if (case, name, seed) in done or seed >= METHODS[name].splits:
                    continue
                try:
                    with threadpool_limits(1):
                        record = measured(case, name, seed, data[case], options.most_rows)
                except Exception:  # of a peer, which must not end the others' run
                    command.progress(f"{case}: {name}: {traceback.format_exc()}")
                    continue
                command.progress(f"{case}: {name}: split {seed}: {record['fit_s']:.2f} s")
                keep(record)
                found.append(record)
    return found


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables", description=__doc__)
    command.add_options(parser, rounds=1, threads=False)
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--cases", nargs="+", default=list(frames.SOURCES), choices=frames.SOURCES)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--library", type=Path, default=frames.LIBRARY, help="of R packages")
    parser.add_argument("--most-rows", type=int, default=10_000, help="rows for training")
    parser.add_argument("--resume", action="store_true", help="go on with the last run")
    options = parser.parse_args(arguments)
    absent = {name: frames.missing(name, options.library) for name in options.cases}
    packages = {name: METHODS[name].package for name in options.methods}
    absent |= {n: None if find_spec(p) else f"no package {p}" for n, p in packages.items()}
    left_out = {name: reason for name, reason in absent.items() if reason}
    options.cases = [each for each in options.cases if each not in left_out]
    options.methods = [each for each in options.methods if each not in left_out]
    path = options.output or (records.RESULTS / "tables.jsonl" if options.keep else None)
    facts, old = {**machine.facts(), "left_out": left_out}, []
    if options.resume and path and path.exists():
        facts, old = records.recent("tables", path)[-1]
    elif path:
        records.save("tables", facts, [], path)

    def keep(record: dict) -> None:
        if path:
            with path.open("a") as file:
                file.write(json.dumps(record) + "\n")

    done = {(each["case"], each["method"], each["split"]) for each in old}
    found = old + measure(options, done, keep)
    if found:
        print(command.text("tables", facts, found, tables))


if __name__ == "__main__":
    main()
