"""Reuters: 11,228 newswires in 46 topics, as word indices."""

from typing import Any

import numpy as np

from cdl._common.public_names import publish
from cdl.datasets import reading
from cdl.datasets.reading import cached

__all__ = ["get_label_names", "get_word_index", "load_data"]

_TOPICS = """
    cocoa grain veg-oil earn acq wheat copper housing money-supply coffee sugar trade reserves
    ship cotton carcass crude nat-gas cpi money-fx interest gnp meal-feed alum oilseed gold tin
    strategic-metal livestock retail ipi iron-steel rubber heat jobs lei bop zinc orange
    pet-chem dlr gas silver wpi hog lead
"""


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
        path: of the file, or its name in Keras's cache.
        num_words: words of this number or a higher one count as unknown; None for the largest one
            in the texts, which counts as unknown itself, as in Keras.
        skip_top: so do words below this one.
        maxlen: texts of as many words or more are left out.
        test_split: part of the texts that is held out.
        seed: of the order of the texts.
        start_char: the number with which each text begins; None for none.
        oov_char: the number of unknown words; None leaves them out.
        index_from: what is added to the number of each word.

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


def get_word_index(path: str = "reuters_word_index.json") -> Any:
    """Load the index of each word, before `index_from` is added.

    Args:
        path: of the file, or its name in Keras's cache.

    Raises:
        FileNotFoundError: the file is not there.
    """
    return reading.word_index(path, "reuters.get_word_index(path)")


def get_label_names() -> tuple[str, ...]:
    """Names of the 46 topics, in the order of their numbers."""
    return tuple(_TOPICS.split())


publish(globals())
