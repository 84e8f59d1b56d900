"""Sequence to sequence with attention: translating dates into ISO format.

An encoder reads "the 3rd of May, 1987" letter by letter; its last state is the first one of the
decoder, which writes "1987-05-03" with attention to what was read. In training the decoder reads
the right letter before (teacher forcing); in prediction it reads the letter that it has just
written.

    python examples/dates.py
"""

from __future__ import annotations

import argparse
import datetime

import numpy as np

import cdl
from cdl import layers

UNITS = 64
START, LENGTH = "\t", 10  # what the decoder reads first; letters of 1987-05-03
FORMS = (
    "{d} {B} {Y}",
    "{B} {d}, {Y}",
    "the {d}{th} of {B}, {Y}",
    "{d}.{m}.{Y}",
    "{A}, {b} {d} {Y}",
)


def written(day: datetime.date, rng: np.random.Generator) -> str:
    """A date as text in one of five formats."""
    ending = {1: "st", 2: "nd", 3: "rd"}.get(day.day % 10 * (day.day not in (11, 12, 13)), "th")
    words = {"d": day.day, "m": day.month, "Y": day.year, "th": ending}
    words |= {code: day.strftime(f"%{code}") for code in "ABb"}
    return str(rng.choice(FORMS)).format(**words).lower()


def draw(n: int, rng: np.random.Generator) -> tuple[list[str], list[str]]:
    """Random dates of a century, as texts in words and as ISO dates."""
    first = datetime.date(1930, 1, 1)
    days = [first + datetime.timedelta(int(k)) for k in rng.integers(0, 36_500, n)]
    return [written(day, rng) for day in days], [day.isoformat() for day in days]


def numbers(texts: list[str], letters: str, length: int) -> np.ndarray:
    """(texts, length): a number for each letter, 0 behind the end."""
    known = {letter: i + 1 for i, letter in enumerate(letters)}
    made = np.zeros((len(texts), length), np.int32)
    for row, text in zip(made, texts, strict=True):
        row[: len(text)] = [known[letter] for letter in text]
    return made


def build(read: int, write: int) -> tuple[cdl.Model, cdl.Model, cdl.Model]:
    """The net that is trained, and its two halves: the encoder, and a step of the decoder."""
    source, target = layers.Input((None,), dtype="int32"), layers.Input((None,), dtype="int32")
    embed = layers.Embedding(write + 1, 16)
    decode = layers.GRU(UNITS, return_sequences=True, return_state=True)
    look = layers.Attention(use_scale=True)
    mix = layers.Dense(UNITS, activation="tanh")
    choose = layers.Dense(write + 1, activation="softmax")

    def step(target, state, seen):
        """The probabilities of each next letter, the last state, and the attention weights."""
        lines, state = decode(embed(target), initial_state=state)
        found, weights = look([lines, seen], return_attention_scores=True)
        return choose(mix(layers.concatenate([lines, found]))), state, weights

    letters = layers.Embedding(read + 1, 16)(source)
    letters, state = layers.GRU(UNITS, return_sequences=True, return_state=True)(letters)
    whole = cdl.Model([source, target], step(target, state, letters)[0])

    before, seen = layers.Input((UNITS,)), layers.Input((None, UNITS))
    return (
        whole,
        cdl.Model(source, [state, letters]),
        cdl.Model([target, before, seen], step(target, before, seen)),
    )


def translate(
    encoder: cdl.Model, step: cdl.Model, texts: np.ndarray, letters: str
) -> tuple[list[str], np.ndarray]:
    """The decoder's texts, by the most likely letter at each place, and its attention weights."""
    state, seen = encoder.predict(texts, verbose=0)
    last = np.full((len(texts), 1), letters.index(START) + 1, np.int32)
    found, looked = [], []
    for _ in range(LENGTH):
        chances, state, weights = step.predict([last, state, seen], verbose=0)
        last = chances.argmax(axis=-1).astype(np.int32)
        found.append(last)
        looked.append(weights)
    rows = np.concatenate(found, axis=1)
    written = ["".join(letters[k - 1] if k else "" for k in row) for row in rows]
    return written, np.concatenate(looked, axis=1)


def paint(texts: list[str], answers: list[str], looked: np.ndarray, file: str) -> None:
    """Draw the attention weights of the decoder for each letter that it wrote."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 1, figsize=(7.2, 5.4))
    for ax, text, answer, weights in zip(axes, texts, answers, looked, strict=False):
        ax.imshow(weights[:, : len(text)], cmap="Blues", aspect="auto")
        ax.set_xticks(range(len(text)), list(text))
        ax.set_yticks(range(LENGTH), list(answer), size=8)
        ax.set(title=f"{text} is {answer}", xlabel="read", ylabel="written")
        ax.grid(visible=False)
    figure.savefig(file)


def main(dates: int = 8000, epochs: int = 6, picture: str | None = None) -> float:
    """Train, and return the share of 500 other dates that are translated without an error."""
    cdl.utils.set_random_seed(1)
    rng = np.random.default_rng(1)
    texts, isos = draw(dates + 500, rng)
    read = "".join(sorted(set("".join(texts))))
    write = START + "-0123456789"
    x = numbers(texts, read, max(map(len, texts)))
    y = numbers(isos, write, LENGTH)
    before = numbers([START + iso[:-1] for iso in isos], write, LENGTH)

    whole, encoder, step = build(len(read), len(write))
    whole.compile(cdl.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    whole.fit([x[:dates], before[:dates]], y[:dates], batch_size=64, epochs=epochs, verbose=0)
    answers, looked = translate(encoder, step, x[dates:], write)
    for text, answer in list(zip(texts[dates:], answers, strict=True))[:5]:
        print(f"{text:28} {answer}")
    if picture is not None:
        paint(texts[dates:], answers, looked, picture)
    return float(np.mean([a == b for a, b in zip(answers, isos[dates:], strict=True)]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dates", type=int, default=8000)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--picture", help="a file to draw into")
    print(f"whole dates right: {main(**vars(parser.parse_args())):.3f}")
