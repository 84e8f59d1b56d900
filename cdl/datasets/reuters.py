"""Reuters: 11,228 newswires in 46 topics, as word indices."""

from typing import Any

import numpy as np

from cdl._common.public_names import publish
from cdl._common.shared_arguments import described_by
from cdl.datasets import imdb, reading
from cdl.datasets.reading import cached

__all__ = ["get_label_names", "get_word_index", "load_data"]

_TOPICS = """
    cocoa grain veg-oil earn acq wheat copper housing money-supply coffee sugar trade reserves
    ship cotton carcass crude nat-gas cpi money-fx interest gnp meal-feed alum oilseed gold tin
    strategic-metal livestock retail ipi iron-steel rubber heat jobs lei bop zinc orange
    pet-chem dlr gas silver wpi hog lead
"""


@described_by(imdb.load_data)
def load_data(
    path: str = "reuters.npz",
    num_words: int | None = None,
    skip_top: int = 0,
    maxlen: int | None = None,
    test_split: float = 0.2,
    seed: int = 113,
    start_char: int | None = 1,
    oov_char: int | None = 2,
    index_from: int = 3,
) -> Any:
    """Load Reuters: newswires as lists of word indices, frequent words first.

    Args:
        test_split: part of the texts that is held out.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: arrays of lists, and of the numbers of topics.

    Raises:
        FileNotFoundError: the file is not there.
    """
    reading.check_split(test_split)
    found = reading.arrays(cached(path, "reuters.load_data(path)"))
    order = np.arange(len(found["x"]))
    np.random.RandomState(seed).shuffle(order)
    texts = reading.begun(found["x"][order], start_char, index_from)
    texts, labels = reading.shorter(texts, found["y"][order], maxlen)
    words = reading.known_words(texts, num_words, skip_top, oov_char)
    point = int(len(words) * (1 - test_split))
    train, test = reading.objects(words[:point]), reading.objects(words[point:])
    return (train, np.array(labels[:point])), (test, np.array(labels[point:]))


@described_by(imdb.get_word_index)
def get_word_index(path: str = "reuters_word_index.json") -> Any:
    """Load the index of each word, before `index_from` is added.

    Raises:
        FileNotFoundError: the file is not there.
    """
    return reading.word_index(path, "reuters.get_word_index(path)")


def get_label_names() -> tuple[str, ...]:
    """Names of the 46 topics, in the order of their numbers."""
    return tuple(_TOPICS.split())


publish(globals())
