"""Drop-in replacement for scikit-learn's MLPClassifier: handwritten digits.

One import is another one: `CDLClassifier` takes the arguments of `MLPClassifier` and has its
attributes.

    pip install 'cdl-nn[sklearn]'
    python examples/digits.py
"""

from __future__ import annotations

import argparse
import time

from sklearn.datasets import load_digits
from sklearn.metrics import classification_report
from sklearn.model_selection import train_test_split

from cdl.sklearn import CDLClassifier as MLPClassifier


def draw(model: MLPClassifier, x, y, file: str) -> None:
    """Draw the confusion matrix, and eight digits with wrong predictions."""
    import matplotlib.pyplot as plt
    from sklearn.metrics import ConfusionMatrixDisplay

    figure = plt.figure()
    left, right = figure.subfigures(1, 2, width_ratios=(3, 2))
    ax = left.subplots()
    ConfusionMatrixDisplay.from_estimator(model, x, y, ax=ax, cmap="Blues", colorbar=False)
    ax.set(title="Digits, and what they are taken for")
    ax.grid(visible=False)
    guess = model.predict(x)
    wrong = [i for i in range(len(y)) if guess[i] != y[i]][:8]
    right.suptitle("Wrong ones", weight="bold", size=11)
    for ax, i in zip(right.subplots(4, 2).flat, wrong, strict=False):
        ax.imshow(x[i].reshape(8, 8), cmap="gray_r")
        ax.set_title(f"{y[i]}, not {guess[i]}", size=9, weight="normal", loc="center")
        ax.axis("off")
    figure.savefig(file)


def main(picture: str | None = None) -> float:
    """Train, and return the accuracy on digits that were held out."""
    x, y = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(x / 16, y, random_state=0, stratify=y)
    model = MLPClassifier(hidden_layer_sizes=(64,), alpha=0.1, tol=1e-3, random_state=0)
    start = time.perf_counter()
    model.fit(x_train, y_train)
    print(f"{model.n_iter_} epochs in {time.perf_counter() - start:.2f} s")
    print(classification_report(y_test, model.predict(x_test)))
    if picture is not None:
        draw(model, x_test, y_test, picture)
    return float(model.score(x_test, y_test))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--picture", help="a file to draw into")
    print(f"accuracy: {main(**vars(parser.parse_args())):.4f}")
