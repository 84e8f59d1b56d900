"""Records from_keras/small_digits.keras: a net of convolutions that real Keras trained.

    python tests/saving/small_digits.py .../sklearn/datasets/data/digits.csv.gz

It tells the digits 0 to 4 apart. examples/transfer.py has it learn the others.
"""

import os
import sys
from pathlib import Path

import numpy as np

FILE = Path(__file__).parent / "from_keras" / "small_digits.keras"


def main(table):
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    rows = np.loadtxt(table, delimiter=",", dtype="float32")
    rows = rows[rows[:, -1] < 5]
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Rescaling(1 / 16),
            layers.RandomTranslation(0.1, 0.1, fill_mode="constant"),
            layers.Conv2D(16, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.Activation("relu"),
            layers.SeparableConv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, activation="relu", name="last_maps"),
            layers.Flatten(),
            layers.Dense(5, activation="softmax", name="head"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(rows[:, :-1].reshape(-1, 8, 8, 1), rows[:, -1], epochs=15, verbose=0)
    model.save(FILE, include_optimizer=False)
    print(model.evaluate(rows[:, :-1].reshape(-1, 8, 8, 1), rows[:, -1], verbose=0))


if __name__ == "__main__":
    main(sys.argv[1])
