"""Scikit-learn's MLPClassifier replaced by one import: handwritten digits.

pip install 'cdl-nn[sklearn]'
python examples/digits.py
"""

from __future__ import annotations

import time

from sklearn.datasets import load_digits
from sklearn.metrics import classification_report
from sklearn.model_selection import train_test_split

from cdl.sklearn import CDLClassifier as MLPClassifier


def main() -> float:
    """Train, and return the accuracy on digits that were held out."""
    x, y = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(x / 16, y, random_state=0, stratify=y)
    model = MLPClassifier(hidden_layer_sizes=(64,), alpha=0.1, tol=1e-3, random_state=0)
    start = time.perf_counter()
    model.fit(x_train, y_train)
    print(f"{model.n_iter_} epochs in {time.perf_counter() - start:.2f} s")
    print(classification_report(y_test, model.predict(x_test)))
    return float(model.score(x_test, y_test))


if __name__ == "__main__":
    print(f"accuracy: {main():.4f}")
