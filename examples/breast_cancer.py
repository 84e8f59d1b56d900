"""Scikit-learn pipeline, grid search and probability calibration: breast cancer.

Which tumours are benign? `GridSearchCV` tries widths and penalties in two processes, and
`CalibratedClassifierCV` calibrates the probabilities of the best net.

    pip install 'cdl-nn[sklearn]'
    python examples/breast_cancer.py
"""

from __future__ import annotations

import argparse

from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import brier_score_loss
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cdl.sklearn import CDLClassifier

GRID = {
    "cdlclassifier__hidden_layer_sizes": [(16,), (32, 16)],
    "cdlclassifier__alpha": [1e-4, 1e-1, 1.0],
}


def draw(models: dict, x, y, file: str) -> None:
    """Draw calibration curves, and histograms of the predicted probabilities."""
    import matplotlib.pyplot as plt
    from sklearn.calibration import CalibrationDisplay

    figure, axes = plt.subplots(1, 2)
    for name, model in models.items():
        CalibrationDisplay.from_estimator(
            model, x, y, n_bins=5, strategy="quantile", name=name, ax=axes[0]
        )
        axes[1].hist(model.predict_proba(x)[:, 1], bins=20, range=(0, 1), alpha=0.6, label=name)
    axes[0].set(title="Is 80 % right in 80 %?", xlabel="probability given", ylabel="share benign")
    axes[1].set(title="Probabilities given", xlabel="probability of benign", ylabel="tumours")
    axes[1].legend()
    figure.savefig(file)


def main(picture: str | None = None) -> float:
    """Search, calibrate, and return the accuracy on tumours that were held out."""
    x, y = load_breast_cancer(return_X_y=True, as_frame=True)
    x_train, x_test, y_train, y_test = train_test_split(x, y, random_state=0, stratify=y)
    net = CDLClassifier(max_iter=300, tol=1e-3, random_state=0, class_weight="balanced")
    # Each of the two processes trains on its share of the cores.
    search = GridSearchCV(make_pipeline(StandardScaler(), net), GRID, cv=5, n_jobs=2)
    search.fit(x_train, y_train)
    print(f"best of {len(search.cv_results_['params'])}: {search.best_params_}")
    print(f"accuracy in cross-validation: {search.best_score_:.4f}")

    calibrated = CalibratedClassifierCV(search.best_estimator_, cv=5).fit(x_train, y_train)
    models = {"the net": search, "calibrated": calibrated}
    for name, model in models.items():
        probability = model.predict_proba(x_test)[:, 1]
        print(f"Brier score of {name}: {brier_score_loss(y_test, probability):.4f}")
    if picture is not None:
        draw(models, x_test, y_test, picture)
    return float(search.score(x_test, y_test))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--picture", help="a file to draw into")
    print(f"accuracy: {main(**vars(parser.parse_args())):.4f}")
