"""1,000 random seeds of one network: how far a benchmark's result is a matter of luck.

Two nets that differ in their activation are trained on the same digits from 1,000 seeds each, by
`cdl.replicate`: first weights and the order of samples differ, and nothing else. The histogram is
what a table with one run of each draws two numbers from. It is counted how often such a table
has the nets in the wrong order, and how many seeds would be enough.

    pip install 'cdl-nn[sklearn]'
    python examples/seeds.py [--seeds 1000]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from sklearn.datasets import load_digits

import cdl
from cdl import layers


def accuracies(activation: str, seeds: int) -> np.ndarray:
    """Accuracy on 597 new digits, of each seed."""
    digits = load_digits()
    x, y = (digits.data / 16).astype(np.float32), digits.target
    stack = [layers.Input((64,)), layers.Dense(16, activation), layers.Dense(10, "softmax")]
    net = cdl.Sequential(stack)
    net.compile(cdl.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    many = cdl.replicate(net, seeds, seeds=range(seeds))
    many.fit(x[:1200], y[:1200], epochs=15, batch_size=32, seeds=range(seeds))
    return np.asarray(many.evaluate(x[1200:], y[1200:])["accuracy"])


def wrong(better: np.ndarray, worse: np.ndarray, seeds: int) -> float:
    """Share of tables of so many seeds that have the nets in the wrong order."""
    rng = np.random.default_rng(0)
    drawn = [rng.choice(each, (20_000, seeds)).mean(axis=1) for each in (better, worse)]
    return float((drawn[0] < drawn[1]).mean() + (drawn[0] == drawn[1]).mean() / 2)


def draw(found: dict[str, np.ndarray], file: str) -> None:
    """Draw how many seeds have which accuracy on new digits, for both nets."""
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots()
    each = np.concatenate(list(found.values()))
    bins = np.arange(each.min() - 0.5 / 597, each.max() + 1.5 / 597, 1 / 597)
    for color, (name, some) in zip(("C0", "C1"), found.items(), strict=True):
        label = f"{name}: {some.mean():.4f} ± {some.std():.4f}"
        ax.hist(some, bins, alpha=0.6, color=color, label=label)
        ax.axvline(some.mean(), color=color, linewidth=1)
    ax.set(xlabel="accuracy on 597 new digits", ylabel="seeds")
    ax.legend()
    figure.savefig(file)


def main(seeds: int = 1000, picture: str | None = None) -> float:
    """Train all, print the spread, and return how often one seed of each tells the better net."""
    start = time.process_time()
    found = {name: accuracies(name, seeds) for name in ("relu", "tanh")}
    print(f"{2 * seeds} nets in {time.process_time() - start:.1f} s of CPU")
    for name, each in found.items():
        print(f"{name}: mean {each.mean():.4f}, from {each.min():.4f} to {each.max():.4f}")
    worse, better = sorted(found.values(), key=np.mean)
    for count in (1, 3, 5, 10, 30):
        print(f"{count} of each compared: in the wrong order {wrong(better, worse, count):.1%}")
    if picture is not None:
        draw(found, picture)
    return 1.0 - wrong(better, worse, 1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--picture", help="a file to draw into")
    print(f"right by one seed of each: {main(**vars(parser.parse_args())):.1%}")
