"""Variable-length sequences in buckets: motif detection in DNA.

Does a strand of DNA hold a motif? The strands are drawn here, 30 to 900 letters long; half of them
hold the motif TATAWAWR, as a promoter does (W is A or T, R is A or G). Padded to the longest, most
of a batch is padding; in batches of strands of about one length little is, and `Input((None,))`
takes each batch as it comes.

    python examples/buckets.py
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import cdl
from cdl import layers

LETTERS = "ACGT"
MOTIF = ["T", "A", "T", "A", "AT", "A", "AT", "AG"]
STEP = 32  # lengths are padded to a multiple: fewer sizes, so fewer programs to make and keep


def draw(n: int, seed: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Strands as numbers from 1, 0 being left for padding, and which of them hold the motif."""
    rng = np.random.default_rng(seed)
    strands = [rng.integers(1, 5, int(length)) for length in np.exp(rng.uniform(3.4, 6.8, n))]
    holds = rng.random(n) < 0.5
    for strand, holding in zip(strands, holds, strict=True):
        if holding:
            at = rng.integers(len(strand) - len(MOTIF) + 1)
            letters = [rng.choice(list(each)) for each in MOTIF]
            strand[at : at + len(MOTIF)] = [1 + LETTERS.index(letter) for letter in letters]
    return strands, holds


def padded(strands: list[np.ndarray], rows: np.ndarray) -> np.ndarray:
    """Some strands as an array, padded to the longest and on to a multiple of STEP."""
    longest = max(len(strands[row]) for row in rows)
    batch = np.zeros((len(rows), -(-longest // STEP) * STEP), np.int32)
    for place, row in enumerate(rows):
        batch[place, : len(strands[row])] = strands[row]
    return batch


class Buckets(cdl.utils.PyDataset):
    """Batches of strands of about one length, in a new order in each epoch.

    Args:
        strands: of any lengths.
        holds: the target of each.
        batch: strands of a batch.
    """

    def __init__(self, strands: list[np.ndarray], holds: np.ndarray, batch: int = 32) -> None:
        super().__init__()
        self.strands, self.holds = strands, holds
        self.rng = np.random.default_rng(0)
        self.batch = batch
        self.on_epoch_end()

    def on_epoch_end(self) -> None:
        """Draw a new order of the strands within buckets, and of the buckets."""
        lengths = np.array([len(strand) for strand in self.strands])
        order = np.argsort(lengths * self.rng.uniform(0.9, 1.1, len(lengths)))
        starts = range(0, len(order), self.batch)
        self.rows = [order[start : start + self.batch] for start in starts]
        self.rng.shuffle(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        rows = self.rows[number]
        return padded(self.strands, rows), self.holds[rows]


def net() -> cdl.Model:
    """A detector of motifs that takes strands of any length."""
    model = cdl.Sequential(
        [
            cdl.Input((None,)),
            layers.Embedding(5, 4),
            layers.Conv1D(24, len(MOTIF), activation="relu"),
            layers.GlobalMaxPooling1D(),
            layers.Dense(1, "sigmoid"),
        ]
    )
    model.compile(cdl.optimizers.Adam(0.01), "binary_crossentropy", metrics=["accuracy"])
    return model


def paint(buckets: Buckets, file: str) -> None:
    """Draw the number of letters of each batch, and its size after padding."""
    import matplotlib.pyplot as plt

    batches = sorted((buckets[i][0] for i in range(len(buckets))), key=lambda batch: batch.shape[1])
    letters = [(batch > 0).sum() for batch in batches]
    longest = buckets.batch * batches[-1].shape[1]
    figure, ax = plt.subplots()
    places = np.arange(len(batches))
    ax.fill_between(places, longest, color="C1", alpha=0.25, label="padded to the longest of all")
    sizes = [batch.size for batch in batches]
    ax.fill_between(places, sizes, step="mid", color="C0", alpha=0.4, label="padded in buckets")
    ax.fill_between(places, letters, step="mid", color="C0", label="letters")
    ax.set(title="What a net computes", xlabel="batch, by length", ylabel="numbers of the batch")
    ax.legend(loc="upper left")
    figure.savefig(file)


def main(strands: int = 4000, epochs: int = 12, picture: str | None = None) -> float:
    """Train in buckets; return the accuracy on new strands."""
    cdl.utils.set_random_seed(1)
    data, holds = draw(strands, 0)
    buckets = Buckets(data, holds)
    whole = strands * padded(data, np.arange(strands)).shape[1]
    lengths = {buckets[i][0].shape[1] for i in range(len(buckets))}
    within = sum(buckets[i][0].size for i in range(len(buckets)))
    print(
        f"{sum(map(len, data)):,} letters: {whole:,} padded to the longest, {within:,} in buckets"
    )

    model = net()
    start = time.perf_counter()
    model.fit(buckets, epochs=epochs, verbose=0)
    print(f"{epochs} epochs in {time.perf_counter() - start:.1f} s, {len(lengths)} lengths")

    new, hold = draw(1000, 1)
    order = np.argsort([len(strand) for strand in new])
    found = np.empty(len(new))
    for rows in np.array_split(order, len(new) // 50):  # predictions go back to their places
        found[rows] = model.predict(padded(new, rows), verbose=0)[:, 0]
    accuracy = float(np.mean((found > 0.5) == hold))
    print(f"{100 * accuracy:.1f} % of new strands are told")
    if picture is not None:
        paint(buckets, picture)
    return accuracy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--strands", type=int, default=4000)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--picture", help="a file to draw into")
    main(**vars(parser.parse_args()))
