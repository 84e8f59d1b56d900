"""A pipeline, a search in two processes, calibration: which tumours are benign?

pip install 'cdl-nn[sklearn]'
python examples/breast_cancer.py
"""

from __future__ import annotations

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


def main() -> float:
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
    for name, model in (("the net", search), ("calibrated", calibrated)):
        probability = model.predict_proba(x_test)[:, 1]
        print(f"Brier score of {name}: {brier_score_loss(y_test, probability):.4f}")
    return float(search.score(x_test, y_test))


if __name__ == "__main__":
    print(f"accuracy: {main():.4f}")
