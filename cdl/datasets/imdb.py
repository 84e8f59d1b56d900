"""IMDB: 50,000 movie reviews as word indices, labelled by sentiment."""

from typing import Any

import numpy as np

from cdl._common.public_names import publish
from cdl.datasets import reading
from cdl.datasets.reading import cached

__all__ = ["get_word_index", "load_data"]


def load_data(
    path: str = "imdb.npz",
    num_words: int | None = None,
    skip_top: int = 0,
    maxlen: int | None = None,
    seed: int = 113,
    start_char: int | None = 1,
    oov_char: int | None = 2,
    index_from: int = 3,
) -> Any:
    """Load IMDB: reviews as lists of word indices, frequent words first.

    Args:
        path: of the file, or its name in Keras's cache.
        num_words: words of this number or a higher one count as unknown; None for the largest one
            in the texts, which counts as unknown itself, as in Keras.
        skip_top: so do words below this one.
        maxlen: texts of as many words or more are left out.
        seed: of the order of the texts.
        start_char: the number with which each text begins; None for none.
        oov_char: the number of unknown words; None leaves them out.
        index_from: what is added to the number of each word.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: arrays of 25,000 lists, and of 0 and 1.

    Raises:
        ValueError: no text is shorter than maxlen.
        FileNotFoundError: the file is not there.
    """
    found = reading.arrays(cached(path, "imdb.load_data(path)"))
    rng = np.random.RandomState(seed)
    texts, labels = [], []
    for part in ("train", "test"):
        order = np.arange(len(found[f"x_{part}"]))
        rng.shuffle(order)
        x = reading.begun(found[f"x_{part}"][order], start_char, index_from)
        x, y = reading.shorter(x, found[f"y_{part}"][order], maxlen)
        texts.append(x)
        labels.append(np.asarray(y))
    if not all(texts):
        raise ValueError(
            f"After filtering for sequences shorter than maxlen={maxlen}, no sequence was kept. "
            "Increase maxlen."
        )
    words = reading.known_words(texts[0] + texts[1], num_words, skip_top, oov_char)
    point = len(texts[0])
    train, test = reading.objects(words[:point]), reading.objects(words[point:])
    return (train, labels[0]), (test, labels[1])


def get_word_index(path: str = "imdb_word_index.json") -> Any:
    """Load the index of each word, before `index_from` is added.

    Args:
        path: of the file, or its name in Keras's cache.

    Raises:
        FileNotFoundError: the file is not there.
    """
    return reading.word_index(path, "imdb.get_word_index(path)")


publish(globals())
