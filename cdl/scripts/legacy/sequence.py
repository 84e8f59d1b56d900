"""`keras.preprocessing.sequence` of Keras 2: windows of time series, and skip-grams."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np

from cdl._common.validation import positive_int
from cdl.utils import PyDataset

__all__ = ["TimeseriesGenerator", "make_sampling_table", "skipgrams"]


class TimeseriesGenerator(PyDataset):
    """Batches of windows of a time series, with the target of the step after each window.

    Args:
        data: an array of shape (steps, ...).
        targets: an array of the length of `data`.
        length: length of a window in steps.
        sampling_rate: steps between the values in a window.
        stride: steps between the starts of windows.
        start_index: first step to use.
        end_index: last step to use; None for the last of the series.
        shuffle: whether to draw windows at random.
        reverse: whether to reverse the time axis of each window.
        batch_size: windows in a batch.

    Raises:
        ValueError: data and targets of different lengths, or a series shorter than a window.
    """

    def __init__(
        self,
        data: Any,
        targets: Any,
        length: int,
        sampling_rate: int = 1,
        stride: int = 1,
        start_index: int = 0,
        end_index: int | None = None,
        shuffle: bool = False,
        reverse: bool = False,
        batch_size: int = 128,
    ) -> None:
        super().__init__()
        if len(data) != len(targets):
            raise ValueError(
                "TimeseriesGenerator: targets must be as long as data, got "
                f"{len(targets)} for {len(data)}"
            )
        self.data, self.targets = np.asarray(data), np.asarray(targets)
        self.length = length
        self.sampling_rate = positive_int("TimeseriesGenerator", "sampling_rate", sampling_rate)
        self.stride = positive_int("TimeseriesGenerator", "stride", stride)
        self.batch_size = positive_int("TimeseriesGenerator", "batch_size", batch_size)
        self.start_index = start_index + length
        self.end_index = len(data) - 1 if end_index is None else end_index
        self.shuffle, self.reverse = shuffle, reverse
        if self.start_index > self.end_index:
            raise ValueError(
                f"TimeseriesGenerator: start_index + length must be at most end_index, got "
                f"{self.start_index} and {self.end_index}: no window fits"
            )

    def __len__(self) -> int:
        """The number of batches."""
        steps = self.end_index - self.start_index + self.batch_size * self.stride
        return steps // (self.batch_size * self.stride)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """The batch at an index: windows and their targets."""
        if self.shuffle:
            rows = np.random.randint(self.start_index, self.end_index + 1, size=self.batch_size)
        else:
            first = self.start_index + self.batch_size * self.stride * index
            last = min(first + self.batch_size * self.stride, self.end_index + 1)
            rows = np.arange(first, last, self.stride)
        windows = np.array(
            [self.data[row - self.length : row : self.sampling_rate] for row in rows]
        )
        targets = np.array([self.targets[row] for row in rows])
        return (windows[:, ::-1, ...] if self.reverse else windows), targets

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, with data and targets as JSON."""
        return {
            "data": json.dumps(self.data.tolist()),
            "targets": json.dumps(self.targets.tolist()),
            "length": self.length,
            "sampling_rate": self.sampling_rate,
            "stride": self.stride,
            "start_index": self.start_index,
            "end_index": self.end_index,
            "shuffle": self.shuffle,
            "reverse": self.reverse,
            "batch_size": self.batch_size,
        }


def make_sampling_table(size: int, sampling_factor: float = 1e-5) -> Any:
    """The probability of keeping the word of each rank, as word2vec subsamples them.

    Word frequencies are estimated from ranks by Zipf's law.

    Args:
        size: size of the vocabulary.
        sampling_factor: threshold frequency; smaller values drop more of the frequent words.
    """
    rank = np.arange(size)
    rank[0] = 1
    rare = rank * (np.log(rank) + 0.577) + 0.5 - 1.0 / (12.0 * rank)
    share = sampling_factor * rare
    return np.minimum(1.0, share / np.sqrt(share))


def skipgrams(
    sequence: Any,
    vocabulary_size: int,
    window_size: int = 4,
    negative_samples: float = 1.0,
    shuffle: bool = True,
    categorical: bool = False,
    sampling_table: Any = None,
    seed: int | None = None,
) -> tuple[list[list[int]], list[Any]]:
    """Skip-grams: pairs (word, context) with label 1, and negative samples with label 0.

    Args:
        sequence: indices of words; 0 is padding.
        vocabulary_size: largest index plus 1.
        window_size: largest distance of a context word.
        negative_samples: negative samples for each positive pair.
        shuffle: whether to shuffle the pairs.
        categorical: whether labels are [0, 1] and [1, 0] instead of 1 and 0.
        sampling_table: probability of keeping each word: see `make_sampling_table`.
        seed: seed of the order of the pairs.
    """
    words = [int(word) for word in sequence]
    couples, labels = [], list[Any]()
    for i, word in enumerate(words):
        if not word or (sampling_table is not None and sampling_table[word] < random.random()):
            continue
        for j in range(max(0, i - window_size), min(len(words), i + window_size + 1)):
            if j != i and words[j]:
                couples.append([word, words[j]])
                labels.append([0, 1] if categorical else 1)
    if negative_samples > 0:
        firsts = [first for first, _ in couples]
        random.shuffle(firsts)
        for i in range(int(len(labels) * negative_samples)):
            couples.append([firsts[i % len(firsts)], random.randint(1, vocabulary_size - 1)])
            labels.append([1, 0] if categorical else 0)
    if shuffle:
        order = list(range(len(couples)))
        random.Random(random.randrange(10**7) if seed is None else seed).shuffle(order)
        couples, labels = [couples[i] for i in order], [labels[i] for i in order]
    return couples, labels
