"""Character-level language model: a transformer that generates text with a key-value cache.

The text is Python's own help, which comes with it; the net learns to predict its next letter. In
generation it reads one letter at a time: keys and values of the letters before are in a cache, so
that a letter costs one step and not the whole text again.

    python examples/language_model.py --epochs 10
"""

from __future__ import annotations

import argparse
import time
from pydoc_data.topics import topics

import numpy as np

import cdl
from cdl import layers, ops

LENGTH, WIDTH, HEADS, BLOCKS = 64, 64, 4, 2
RNG = np.random.default_rng(1)


def load(letters: int) -> tuple[np.ndarray, list[str]]:
    """A text as numbers, and the letter of each."""
    text = " ".join(" ".join(topics[name].split()) for name in sorted(topics))[:letters]
    alphabet = sorted(set(text))
    numbers = {letter: i for i, letter in enumerate(alphabet)}
    return np.array([numbers[letter] for letter in text], np.int32), alphabet


class Places(layers.Layer):
    """Position embeddings, added to the vectors: at given places, or from 0 on."""

    def __init__(self) -> None:
        super().__init__()
        self.table = layers.Embedding(LENGTH, WIDTH)

    def call(self, x, places=None):
        return x + self.table(np.arange(LENGTH) if places is None else places)


class Block(layers.Layer):
    """A transformer block: causal attention and a feed-forward net, each with a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.attend = layers.MultiHeadAttention(HEADS, WIDTH // HEADS)
        self.norms = [layers.LayerNormalization(), layers.LayerNormalization()]
        self.dense = [layers.Dense(4 * WIDTH, activation="gelu"), layers.Dense(WIDTH)]

    def call(self, x):
        """The output for all letters of a text at once."""
        y = self.norms[0](x)
        return self.think(x + self.attend(y, y, use_causal_mask=True))

    def think(self, x):
        """The feed-forward part of the block."""
        return x + self.dense[1](self.dense[0](self.norms[1](x)))


class Step(layers.Layer):
    """A block for one letter, with keys and values of the letters before in a cache."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.block = block

    def call(self, x, here, seen, keys, values):
        """The block's output, and the cache with this letter's key and value in it."""
        attend, y = self.block.attend, self.block.norms[0](x)
        keys = ops.where(here, attend.key_dense(y), keys)
        values = ops.where(here, attend.value_dense(y), values)
        y = ops.dot_product_attention(attend.query_dense(y), keys, values, mask=seen)
        return self.block.think(x + attend.output_dense(y)), keys, values


def nets(letters: int) -> tuple[cdl.Model, cdl.Model]:
    """The net of whole texts, which is trained, and that of a step, with the same weights."""
    embed, places = layers.Embedding(letters, WIDTH), Places()
    blocks = [Block() for _ in range(BLOCKS)]
    norm, scores = layers.LayerNormalization(), layers.Dense(letters)
    text = layers.Input((LENGTH,))
    x = places(embed(text))
    for block in blocks:
        x = block(x)
    whole = cdl.Model(text, scores(norm(x)))

    letter, place = layers.Input((1,)), layers.Input((1,))
    shape = (LENGTH, HEADS, WIDTH // HEADS)
    caches = [layers.Input(shape) for _ in range(2 * BLOCKS)]
    every = np.arange(LENGTH, dtype=np.float32)
    here = ops.reshape(ops.equal(every, place), (-1, LENGTH, 1, 1))
    seen = ops.reshape(ops.less_equal(every, place), (-1, 1, 1, LENGTH))
    x, after = places(embed(letter), place), []
    for block, keys, values in zip(blocks, caches[::2], caches[1::2], strict=True):
        x, *both = Step(block)(x, here, seen, keys, values)
        after += both
    return whole, cdl.Model([letter, place, *caches], [scores(norm(x)), *after])


class Writer:
    """Generates a text letter by letter.

    Args:
        step: the net of a step.
    """

    def __init__(self, step: cdl.Model) -> None:
        self.step = step
        self.forget()

    def forget(self) -> None:
        """Begin a text with an empty cache."""
        shape = (1, LENGTH, HEADS, WIDTH // HEADS)
        self.place, self.caches = 0, [np.zeros(shape, np.float32) for _ in range(2 * BLOCKS)]

    def read(self, letter: int) -> np.ndarray:
        """The scores of what comes behind a letter."""
        given = [np.full((1, 1), x, np.float32) for x in (letter, self.place)]
        scores, *self.caches = self.step.predict_on_batch([*given, *self.caches])
        self.place += 1
        return scores[0, 0]

    def write(self, text: list[int], count: int) -> list[int]:
        """`count` letters behind a text. Where there is no more room, it reads half of it again."""
        text, wanted = list(text), len(text) + count
        self.forget()
        for letter in text:
            scores = self.read(letter)
        while len(text) < wanted:
            shares = np.exp(1.3 * (scores - scores.max()))
            text.append(int(RNG.choice(len(shares), p=shares / shares.sum())))
            if self.place == LENGTH:
                self.forget()
                for letter in text[-LENGTH // 2 : -1]:
                    self.read(letter)
            scores = self.read(text[-1])
        return text


def draw(whole: cdl.Model, text: np.ndarray, alphabet: list[str], file: str) -> None:
    """Draw a text held out, each letter the darker the likelier it is."""
    import matplotlib.pyplot as plt

    scores = whole.predict(text[None, :LENGTH], verbose=0)[0]
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    held = shares[np.arange(LENGTH), text[1 : LENGTH + 1]].reshape(4, -1)
    figure, ax = plt.subplots(figsize=(7.2, 2.6))
    image = ax.imshow(held, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for place, letter in enumerate(text[1 : LENGTH + 1]):
        row, column = divmod(place, LENGTH // 4)
        colour = "white" if held[row, column] > 0.5 else "black"
        ax.text(column, row, alphabet[letter], ha="center", va="center", color=colour, size=13)
    ax.set(xticks=[], yticks=[], title="How likely was each letter, to the net?")
    ax.grid(visible=False)
    figure.colorbar(image, ax=ax, label="probability")
    figure.savefig(file)


def main(
    epochs: int = 10, letters: int = 200_000, count: int = 1000, picture: str | None = None
) -> float:
    """Train, write, and return the accuracy of the next letter on a text held out."""
    cdl.utils.set_random_seed(1)
    text, alphabet = load(letters)
    cut = len(text) * 9 // 10 // LENGTH * LENGTH
    x, y = text[:cut].reshape(-1, LENGTH), text[1 : cut + 1].reshape(-1, LENGTH)
    last = (len(text) - 1 - cut) // LENGTH * LENGTH
    later = [text[cut + i : cut + i + last].reshape(-1, LENGTH) for i in (0, 1)]
    whole, step = nets(len(alphabet))
    loss = cdl.losses.SparseCategoricalCrossentropy(from_logits=True)
    whole.compile(cdl.optimizers.Adam(0.002), loss, metrics=["accuracy"])
    whole.fit(x, y, batch_size=32, epochs=epochs, verbose=0)
    _, accuracy = whole.evaluate(*later, verbose=0)
    print(f"{100 * accuracy:.1f} % of the next letters are guessed right")

    writer = Writer(step)
    begin = list(text[:20])
    seen = whole.predict(np.resize(begin, (1, LENGTH)), verbose=0)[0, len(begin) - 1]
    writer.forget()
    for letter in begin:
        scores = writer.read(letter)
    np.testing.assert_allclose(scores, seen, 1e-3, 1e-3)  # step by step is as all at once
    started = time.perf_counter()
    written = writer.write(begin, count)
    spent = (time.perf_counter() - started) / max(count, 1)
    print("".join(alphabet[i] for i in written))
    print(f"{spent * 1e6:.0f} us a letter")
    if picture is not None:
        draw(whole, text[cut + 256 :], alphabet, picture)
    return float(accuracy)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--picture", help="a file to draw into")
    main(**vars(parser.parse_args()))
