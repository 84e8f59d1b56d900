"""LoRA fine-tuning of a frozen network: handwritten digits turned on their side.

A net of dense layers tells handwritten digits apart, until the camera is turned. Low-rank matrices
beside its kernels, a twentieth of its weights, adapt it from 20 images of each digit.

    pip install 'cdl-nn[sklearn]'
    python examples/lora.py
"""

from __future__ import annotations

import argparse

import numpy as np
from sklearn.datasets import load_digits

import cdl
from cdl import layers

EACH = 20  # images of each digit that the turned camera has


def data():
    """Images and digits: upright ones; turned ones to learn from; and turned ones that are new."""
    x, y = load_digits(return_X_y=True)
    upright = (x / 16).astype(np.float32)
    turned = np.rot90(upright.reshape(-1, 8, 8), axes=(1, 2)).reshape(-1, 64).copy()
    half = len(y) // 2
    learn = np.concatenate([half + np.flatnonzero(y[half:] == digit)[:EACH] for digit in range(10)])
    rest = np.setdiff1d(np.arange(half, len(y)), learn)
    return (upright[:half], y[:half]), (turned[learn], y[learn]), (turned[rest], y[rest])


def compiled(net: cdl.Sequential) -> cdl.Sequential:
    net.compile(cdl.optimizers.Adam(0.003), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return net


def draw(images: list[np.ndarray], rows: list[tuple[str, float]], file: str) -> None:
    """Draw upright and turned digits, and the accuracy on turned ones."""
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(7.2, 4.2))
    left, right = figure.subfigures(1, 2, width_ratios=(3, 2))
    for ax, image in zip(left.subplots(4, 3).flat, np.concatenate(images), strict=True):
        ax.imshow(image.reshape(8, 8), cmap="gray_r")
        ax.axis("off")
    left.suptitle("Upright ones and turned ones", weight="bold", size=11)
    ax = right.subplots()
    bars = ax.bar([name for name, _ in rows], [100 * share for _, share in rows], width=0.5)
    ax.bar_label(bars, fmt="%.0f %%")
    ax.set(title="Turned ones told right", ylim=(0, 100))
    figure.savefig(file)


def main(rank: int = 4, epochs: int = 60, picture: str | None = None) -> float:
    """Train the net, adapt it, and return its accuracy on turned images that it has not seen."""
    cdl.utils.set_random_seed(0)
    upright, learn, rest = data()
    net = cdl.Sequential(
        [
            cdl.Input((64,)),
            layers.Dense(256, activation="relu"),
            layers.Dense(256, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    compiled(net).fit(*upright, batch_size=32, epochs=20, verbose=0)

    def accuracy():
        return net.evaluate(*rest, verbose=0, return_dict=True)["accuracy"]

    before = accuracy()
    print(f"all {net.count_params()} weights trained: {before:.3f} of turned images right")
    for layer in net.layers:
        layer.enable_lora(rank)
    compiled(net).fit(*learn, batch_size=32, epochs=epochs, verbose=0)  # compiled again
    trained = sum(weight.numpy().size for weight in net.trainable_weights)
    print(f"{trained} weights of LoRA and biases trained: {accuracy():.3f} right")
    if picture is not None:
        shares = [("before", before), (f"LoRA of rank {rank}", accuracy())]
        draw([upright[0][:6], rest[0][:6]], shares, picture)
    return accuracy()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rank", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--picture", help="a file to draw into")
    print(f"accuracy: {main(**vars(parser.parse_args())):.4f}")
