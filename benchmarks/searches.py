"""Random configurations with bags: nets for tables beside LightGBM, CPU time and scores.

    python -m benchmarks.searches [--configurations 50] [--methods lightgbm mlp realmlp]

Each configuration is fitted on five folds of three quarters of the rows, the mean of these five
predicts the last quarter; one thread. Nets draw rate, width, depth, dropout and decay, and end
after 40 epochs without a better score; LightGBM draws leaves, rate, shares of rows and columns,
least rows and penalty, and ends after 40 rounds, 10,000 at most.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from statistics import mean, median
from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import KFold, train_test_split
from threadpoolctl import threadpool_limits

from cdl.sklearn import TabularClassifier, TabularRegressor

DATA: dict[str, tuple[Callable[..., Any], bool]] = {
    "breast cancer": (load_breast_cancer, True),
    "diabetes": (load_diabetes, False),
}
METHODS = ("lightgbm", "mlp", "realmlp")
RATES = {"mlp": (3e-4, 1e-2), "realmlp": (0.02, 0.3)}


def outputs(model: Any, x: Any, classes: bool) -> Any:
    return model.predict_proba(x)[:, 1] if classes else model.predict(x)


def log_uniform(random: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(random.uniform(np.log(low), np.log(high))))


def trees(random: np.random.Generator, classes: bool, x: Any, y: Any) -> list[Any]:
    """LightGBM's of a configuration, one a fold."""
    import lightgbm

    kind = lightgbm.LGBMClassifier if classes else lightgbm.LGBMRegressor
    options: dict[str, Any] = {
        "num_leaves": int(log_uniform(random, 2, 200)),
        "learning_rate": log_uniform(random, 0.005, 0.1),
        "colsample_bytree": random.uniform(0.4, 1),
        "subsample": random.uniform(0.7, 1),
        "subsample_freq": 1,
        "min_child_samples": int(log_uniform(random, 1, 64)),
        "reg_lambda": log_uniform(random, 1e-4, 10),
    }
    stop = lightgbm.early_stopping(40, verbose=False)
    return [
        kind(**options, n_estimators=10_000, n_jobs=1, verbose=-1).fit(
            x[inside], y[inside], eval_set=[(x[outside], y[outside])], callbacks=[stop]
        )
        for inside, outside in KFold(5, shuffle=True, random_state=0).split(x)
    ]


def net(random: np.random.Generator, classes: bool, recipe: str, x: Any, y: Any) -> Any:
    """Estimator of a configuration, with five bags."""
    width, depth = int(random.choice([64, 128, 256])), int(random.integers(1, 4))
    model = (TabularClassifier if classes else TabularRegressor)(
        recipe,
        hidden_layer_sizes=(width,) * depth,
        learning_rate=log_uniform(random, *RATES[recipe]),
        dropout=float(random.choice([0, 0.15, 0.3])),
        weight_decay=float(random.choice([0, 0.02, 0.1])),
        patience=40,
        n_bags=5,
        n_jobs=1,
        random_state=0,
    )
    return model.fit(x, y)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configurations", type=int, default=50)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for name, (load, classes) in DATA.items():
        x, x_test, y, y_test = train_test_split(*load(return_X_y=True), random_state=0)
        for method in options.methods:
            random, took, scores = np.random.default_rng(0), [], []
            with threadpool_limits(1):
                for _ in range(options.configurations):
                    start = time.process_time()
                    if method == "lightgbm":
                        models = trees(random, classes, x, y)
                    else:
                        models = [net(random, classes, method, x, y)]
                    took.append(time.process_time() - start)
                    found = np.mean([outputs(each, x_test, classes) for each in models], axis=0)
                    scores.append((roc_auc_score if classes else r2_score)(y_test, found))
            print(
                f"{name}, {method}: {50 * mean(took):.1f} s for 50 configurations, "
                f"scores {median(scores):.3f} (median) to {max(scores):.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
