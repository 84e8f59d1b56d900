"""Export of a trained model to C: a wine classifier without Python.

The net classifies wines by vineyard. The export is two files for any C compiler, without a library
and without allocations. Here ctypes calls the function, and its predictions are compared with those
of the model.

    pip install 'cdl-nn[sklearn]'      and a C compiler
    python examples/without_python.py
"""

from __future__ import annotations

import argparse
import ctypes
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split

import cdl
from cdl import layers


def trained(x: np.ndarray, y: np.ndarray) -> cdl.Sequential:
    """A trained net that scales its inputs itself, so that C takes raw measurements."""
    scaling = layers.Normalization()
    scaling.adapt(x)
    model = cdl.Sequential(
        [layers.Input(x.shape[1:]), scaling, layers.Dense(16, "relu"), layers.Dense(3, "softmax")]
    )
    model.compile(cdl.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    model.fit(x, y, epochs=60, verbose=0)
    return model


def compiled(model: cdl.Sequential, folder: Path):
    """The function `wine_predict(rows, x, y)` out of the model's compiled C file."""
    model.export(folder / "wine.c", format="c")
    command = [os.environ.get("CC", "cc"), "-std=c99", "-O2", "-shared", "-fPIC", "wine.c"]
    subprocess.run([*command, "-o", "wine.so", "-lm"], cwd=folder, check=True)
    size = (folder / "wine.c").stat().st_size
    print(f"wine.c has {size / 1000:.0f} kB, with {model.count_params()} weights")
    return ctypes.CDLL(str(folder / "wine.so")).wine_predict


def draw(found: np.ndarray, kinds: np.ndarray, file: str) -> None:
    """Draw the probabilities of the C function for each wine, those of a vineyard side by side."""
    import matplotlib.pyplot as plt

    order = np.lexsort([-found.max(axis=1), kinds])
    figure, ax = plt.subplots(figsize=(7.2, 3.4))
    below = np.zeros(len(kinds))
    for kind, shares in enumerate(found[order].T):
        ax.bar(range(len(kinds)), shares, bottom=below, width=1, label=f"vineyard {kind}")
        below += shares
    for edge in np.flatnonzero(np.diff(kinds[order])) + 0.5:
        ax.axvline(edge, color="black", linewidth=1)
    ax.set(title="What C says of wines it has not seen", xlabel="wine", ylabel="probability")
    ax.set(xlim=(-0.5, len(kinds) - 0.5), ylim=(0, 1))
    figure.legend(loc="outside lower center", ncols=3)
    figure.savefig(file)


def main(picture: str | None = None) -> float:
    """Return the accuracy of the C function on wines that were held out."""
    cdl.utils.set_random_seed(0)
    x, y = load_wine(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(
        x.astype(np.float32), y, random_state=0, stratify=y
    )
    model = trained(x_train, y_train)
    found = np.empty((len(x_test), 3), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        predict = compiled(model, Path(folder))
        rows, pointer = ctypes.c_size_t(len(x_test)), ctypes.c_void_p
        predict(rows, x_test.ctypes.data_as(pointer), found.ctypes.data_as(pointer))
    difference = np.abs(found - model.predict(x_test, verbose=0)).max()
    print(f"largest difference between C and cdl: {difference:.1g}")
    if picture is not None:
        draw(found, y_test, picture)
    return float(np.mean(found.argmax(1) == y_test)) if difference < 1e-5 else 0.0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--picture", help="a file to draw into")
    print(f"accuracy: {main(**vars(parser.parse_args())):.4f}")
