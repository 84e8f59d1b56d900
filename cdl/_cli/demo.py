"""`python -m cdl demo`: a small net on 1,797 handwritten digits, and a picture of it."""

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def run(output: Path, epochs: int, seed: int) -> int:
    """Train, print the accuracy on unseen digits, draw `output`; returns the exit status."""
    try:
        import matplotlib
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
        from sklearn.preprocessing import StandardScaler
    except ModuleNotFoundError as missing:
        print(f"cdl demo: {missing}; try: pip install 'cdl-nn[demo]'", file=sys.stderr)
        return 1
    matplotlib.use("Agg")

    from cdl.layers import Dense
    from cdl.models import Sequential
    from cdl.optimizers import Adam
    from cdl.utils import set_random_seed, to_categorical

    set_random_seed(seed)
    images, labels = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(
        images, labels, test_size=0.2, stratify=labels, random_state=42
    )
    scaler = StandardScaler().fit(x_train)

    model = Sequential()
    model.add(Dense(units=64, activation="relu", input_dim=x_train.shape[1]))
    model.add(Dense(units=10, activation="softmax"))
    model.compile(
        optimizer=Adam(lr=0.002, decay=0.001),
        loss="categorical_crossentropy",
        metrics=["accuracy"],
    )
    model.summary()

    start = time.perf_counter()
    history = model.fit(
        scaler.transform(x_train),
        to_categorical(y_train, 10),
        epochs=epochs,
        batch_size=32,
        validation_split=0.2,
    )
    seconds = time.perf_counter() - start

    x = scaler.transform(x_test)
    loss, accuracy = model.evaluate(x, to_categorical(y_test, 10), verbose=0)
    guesses = np.argmax(model.predict(x, verbose=0), axis=1)
    draw(output, history.history, x_test, y_test, guesses)

    print(f"\ntest accuracy {accuracy:.1%}, loss {loss:.3f} on {len(x)} digits it has not seen")
    print(f"{epochs} epochs in {seconds:.2f} s, {1000 * seconds / epochs:.1f} ms an epoch")
    print(f"wrote {output}")
    return 0


def draw(
    output: Path,
    history: dict[str, list[float]],
    images: Any,
    labels: Any,
    guesses: Any,
) -> None:
    """Plot learning curves on the left, and test digits with their predicted class on the right.

    The digits are the mistakes, in red, and as many right ones as there is room for.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    halves: Any = figure.subfigures(1, 2, width_ratios=[3, 2])
    left, right = halves

    for axes, key in zip(left.subplots(1, 2), ("loss", "accuracy"), strict=True):
        epochs = range(1, len(history[key]) + 1)
        axes.plot(epochs, history[key], label="training")
        axes.plot(epochs, history[f"val_{key}"], label="validation")
        axes.set(xlabel="epoch", title=key)
        axes.grid(alpha=0.3)
        axes.legend()

    mistakes = np.flatnonzero(guesses != labels)[:12]
    others = np.flatnonzero(guesses == labels)
    shown = np.concatenate([mistakes, others])[:24]
    right.suptitle(f"test digits ({np.mean(guesses == labels):.1%} right)")
    grid = list(right.subplots(4, 6).flat)
    for axes in grid:
        axes.set_axis_off()
    for axes, i in zip(grid, shown, strict=False):
        wrong = guesses[i] != labels[i]
        axes.imshow(images[i].reshape(8, 8), cmap="gray_r")
        axes.set_title(
            f"{guesses[i]} (is {labels[i]})" if wrong else f"{guesses[i]}",
            color="tab:red" if wrong else "black",
            fontsize=9,
        )

    figure.savefig(output, dpi=120)
