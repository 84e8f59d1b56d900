"""Transfer learning from a Keras file: frozen convolutions and a new classification head.

The file is of real Keras 3.15; its net tells the handwritten digits 0 to 4 apart. Here it learns 5
to 9 from five images of each, and is compared with a net that is trained from scratch.

    pip install 'cdl-nn[sklearn]'
    python examples/transfer.py
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

import cdl
from cdl import layers

FILE = Path(__file__).parents[1] / "tests" / "saving" / "from_keras" / "small_digits.keras"
EACH = 5


def data():
    """Images of the digits 5 to 9 with their classes: some to learn from, and the others."""
    x, y = load_digits(return_X_y=True)
    images = x.reshape(-1, 8, 8, 1).astype(np.float32)
    places = [np.flatnonzero(y == digit) for digit in range(5, 10)]
    learn = np.concatenate([each[:EACH] for each in places])
    rest = np.concatenate([each[EACH:] for each in places])
    return (images[learn], y[learn] - 5), (images[rest], y[rest] - 5)


def with_new_head(net: cdl.Sequential, frozen: bool) -> cdl.Model:
    """The net up to its pooling, and another layer of classes behind."""
    body = cdl.Model(net.inputs, net.get_layer("max_pooling2d").output, name="body")
    body.trainable = not frozen
    x = layers.Dropout(0.3)(layers.Flatten()(body.output))
    return cdl.Model(body.inputs, layers.Dense(5, activation="softmax")(x))


def draw(curves: dict[str, list[float]], file: str) -> None:
    """Draw the accuracy of both nets on the other images, epoch by epoch."""
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots()
    for name, curve in curves.items():
        ax.plot(range(1, len(curve) + 1), curve, label=name)
    ax.set(title="Five images of each digit", xlabel="epoch", ylabel="share of others right")
    ax.set_ylim(0, 1)
    ax.legend(loc="lower right")
    figure.savefig(file)


def main(epochs: int = 60, picture: str | None = None) -> float:
    """Train both, and return the accuracy of the one that goes on from Keras's file."""
    cdl.utils.set_random_seed(0)
    learn, rest = data()
    keras_net = cdl.models.load_model(FILE)
    accuracy, curves = 0.0, {}
    for name, net, frozen in (
        ("from the beginning", cdl.models.clone_model(keras_net), False),
        ("from Keras's file", keras_net, True),
    ):
        model = with_new_head(net, frozen)
        model.compile(
            cdl.optimizers.Adam(0.003), "sparse_categorical_crossentropy", metrics=["accuracy"]
        )
        history = model.fit(*learn, batch_size=20, epochs=epochs, validation_data=rest, verbose=0)
        curves[name] = history.history["val_accuracy"]
        trained = sum(weight.size for weight in map(np.asarray, model.trainable_weights))
        accuracy = model.evaluate(*rest, verbose=0, return_dict=True)["accuracy"]
        print(f"{name}: {trained} of {model.count_params()} weights trained, {accuracy:.3f} right")
    if picture is not None:
        draw(curves, picture)
    return accuracy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--picture", help="a file to draw into")
    print(f"accuracy: {main(**vars(parser.parse_args())):.4f}")
