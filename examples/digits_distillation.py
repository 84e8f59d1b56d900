"""Knowledge distillation: a small network learns from a large one what digits look alike.

The small net (the student) learns from the probabilities of a convolutional net (the teacher), at a
temperature that shows which wrong classes are likelier (Hinton et al., 2015), and from the labels.
The model is that of Keras's example. The teacher saw 1,000 digits, and students have 150 of them:
of four widths and from five seeds each, with the teacher and without.

    pip install 'cdl-nn[sklearn]'
    python examples/digits_distillation.py [--epochs 200] [--seeds 5]
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

import cdl
from cdl import layers, ops

WIDTHS = (4, 8, 16, 32)


def build_teacher() -> cdl.Sequential:
    """A convolutional net that gives logits."""
    return cdl.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(10),
        ],
        name="teacher",
    )


def build_student(units: int) -> cdl.Sequential:
    """A net with one hidden layer of so many units."""
    stack = [layers.Input((8, 8, 1)), layers.Flatten(), layers.Dense(units, activation="relu")]
    return cdl.Sequential([*stack, layers.Dense(10)], name="student")


class Distiller(cdl.Model):
    """A student that trains beside a teacher, which stays as it is."""

    def __init__(self, student: cdl.Model, teacher: cdl.Model) -> None:
        super().__init__()
        self.student, self.teacher = student, teacher
        self.teacher.trainable = False

    def compile(self, alpha: float = 0.1, temperature: float = 4.0, **kwargs: Any) -> None:
        super().compile(**kwargs)
        self.alpha, self.temperature = alpha, temperature
        self.student_loss = cdl.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.distillation_loss = cdl.losses.KLDivergence()

    def call(self, x: Any) -> Any:
        return self.student(x)

    def compute_loss(self, x: Any, y: Any, y_pred: Any, *args: Any, **kwargs: Any) -> Any:
        wanted = self.teacher(x, training=False)
        distillation = self.temperature**2 * self.distillation_loss(
            ops.softmax(wanted / self.temperature, axis=1),
            ops.softmax(y_pred / self.temperature, axis=1),
        )
        return self.alpha * self.student_loss(y, y_pred) + (1 - self.alpha) * distillation


def draw(alone: np.ndarray, distilled: np.ndarray, teacher: float, file: str) -> None:
    """Draw the accuracy of students by their width, alone and with the teacher."""
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots()
    for some, name in ((alone, "labels alone"), (distilled, "labels and teacher")):
        ax.errorbar(WIDTHS, some.mean(axis=1), some.std(axis=1), marker="o", label=name)
    ax.axhline(teacher, color="black", linewidth=1, label="teacher")
    ax.set(xscale="log", xlabel="units of the student", ylabel="accuracy on new digits")
    ax.set_xticks(WIDTHS, map(str, WIDTHS))
    ax.minorticks_off()
    ax.legend(loc="lower right")
    figure.savefig(file)


def main(epochs: int = 200, seeds: int = 5, picture: str | None = None) -> float:
    """Train all, print accuracies, and return by how much the teacher helps, on the mean."""
    cdl.utils.set_random_seed(0)
    digits = load_digits()
    x, y = (digits.images[..., None] / 16).astype(np.float32), digits.target
    x, y, x_new, y_new = x[:1000], y[:1000], x[1000:], y[1000:]
    loss = cdl.losses.SparseCategoricalCrossentropy(from_logits=True)
    teacher = build_teacher()
    teacher.compile("adam", loss)
    teacher.fit(x, y, epochs=min(epochs, 40), verbose=0)

    def accuracy(model: cdl.Model) -> float:
        return float((model.predict(x_new, verbose=0).argmax(axis=1) == y_new).mean())

    alone, distilled = np.zeros((2, len(WIDTHS), seeds))
    for i, units in enumerate(WIDTHS):
        for seed in range(seeds):
            cdl.utils.set_random_seed(seed)
            student = build_student(units)
            distiller = Distiller(build_student(units), teacher)
            distiller.student.set_weights(student.get_weights())
            student.compile(cdl.optimizers.Adam(0.003), loss)
            distiller.compile(optimizer=cdl.optimizers.Adam(0.003))
            for model, scores in ((student, alone), (distiller, distilled)):
                model.fit(x[:150], y[:150], epochs=epochs, verbose=0)
                scores[i, seed] = accuracy(model)
    if picture is not None:
        draw(alone, distilled, accuracy(teacher), picture)
    print(f"teacher: {teacher.count_params()} weights, accuracy {accuracy(teacher):.3f}")
    for i, units in enumerate(WIDTHS):
        print(f"student of {units}: {alone[i].mean():.3f} alone, {distilled[i].mean():.3f} taught")
    return float((distilled - alone).mean())


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--picture", help="a file to draw into")
    print(f"gain of accuracy by the teacher: {main(**vars(parser.parse_args())):.3f}")
