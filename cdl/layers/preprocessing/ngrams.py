"""N-grams: runs of tokens, counted and looked up as numbers, rarely joined."""

from __future__ import annotations

from collections import Counter
from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cdl.layers.preprocessing.vocabulary import Tokens

    Array = NDArray[Any]

_MANY = 1 << 22  # numbers that wait until they are counted: 32 MB


def joined(rows: Tokens) -> Tokens:
    """All runs of each row as tokens: those of one width after those of the other."""
    flat, widths = rows.flat, rows.widths
    ends = np.fromiter((each == rows.end for each in flat), bool, len(flat))
    row_of = np.cumsum(ends) - ends
    runs: list[Any] = []
    places: list[Array] = []
    for width in widths:
        at = _starts(~ends, width)
        parts = ([flat[j] for j in (at + i).tolist()] for i in range(width))
        runs.extend(map(b" ".join, zip(*parts, strict=True)))
        places.append(row_of[at])
    runs.extend([rows.end] * (rows.n - 1))
    order = _by_row([*places, np.arange(rows.n - 1)])
    return rows._replace(flat=[runs[i] for i in order.tolist()], widths=())


class RunCounts:
    """Counts of runs of tokens, in all and by document.

    A token has a number, by when it was first seen; a run is one number of 63 bits, of which each
    of its tokens has a share.

    Args:
        of_documents: whether the second is asked for.
    """

    def __init__(self, of_documents: bool) -> None:
        self._numbers = _Numbers()
        self._of_documents = of_documents
        self._runs: dict[int, tuple[_Tally, _Tally]] = {}  # by width: of all, and once a document

    def add(self, rows: Tokens) -> bool:
        """Count the runs of rows, each a document; False, and nothing, if numbers are too long."""
        numbers = np.fromiter(map(self._numbers.__getitem__, rows.flat), np.int64, len(rows.flat))
        inside = numbers != self._numbers[rows.end]
        if len(self._numbers) > 1 << _bits(max(rows.widths)):
            return False
        for width, times in Counter(rows.widths).items():
            at, bits = _starts(inside, width), _bits(width)
            keys = numbers[at]
            for i in range(1, width):
                keys = keys << bits | numbers[at + i]
            runs, documents = self._runs.setdefault(width, (_Tally(), _Tally()))
            for _ in range(times):
                runs.add(keys)
            if self._of_documents:
                known, ids = np.unique(keys, return_inverse=True)
                pairs = np.unique(np.cumsum(~inside)[at] * len(known) + ids)
                documents.add(known[pairs % max(len(known), 1)])
        return True

    def any(self) -> bool:
        """Whether a run has been counted."""
        return any(runs.any() for runs, _ in self._runs.values())

    def tokens(self, most: int | None) -> tuple[list[bytes], Array, Array]:
        """Runs as tokens, with their counts in all and by document.

        Args:
            most: leaves out those that are rarer than the most-th by frequency; None for none.
        """
        words = list(self._numbers)
        totals = [(1, *np.zeros((3, 0), np.int64))] + [
            (n, *runs.totals(), documents.totals()[1])
            for n, (runs, documents) in self._runs.items()
        ]
        counts = np.concatenate([each for _, _, each, _ in totals])
        least = 0
        if most is not None and most < len(counts):
            least = np.partition(counts, -most)[-most]
        found: list[bytes] = []
        for width, keys, often, _ in totals:
            keys, bits = keys[often >= least], _bits(width)
            digits = (keys >> bits * i & (1 << bits) - 1 for i in reversed(range(width)))
            parts = ([words[i] for i in each.tolist()] for each in digits)
            found.extend(map(b" ".join, zip(*parts, strict=True)))
        chosen = counts >= least
        documents = np.concatenate([each for *_, each in totals]) if self._of_documents else counts
        return found, counts[chosen], documents[chosen]


class RunIndices:
    """Indices of runs of tokens in a vocabulary, without joining them.

    A token has a number, and a run of n tokens one that is found by that of the first n - 1 and
    that of the last. 0 is of all that begin nothing in the vocabulary.

    Args:
        tokens: of the vocabulary: runs, joined by a space.
        first: the index of the first one.
        unknown: that of all others.
        widths: of runs that are looked up.
    """

    def __init__(
        self, tokens: Sequence[bytes], first: int, unknown: int, widths: tuple[int, ...]
    ) -> None:
        self._widths = widths
        parts_of = {index: token.split(b" ") for index, token in enumerate(tokens, first)}
        parts_of = {i: parts for i, parts in parts_of.items() if len(parts) in widths}
        words = dict.fromkeys(part for parts in parts_of.values() for part in parts)
        self._words = {word: i for i, word in enumerate(words, 1)}
        self._size = len(words) + 1
        levels: list[dict[int, int]] = [{} for _ in range(max(widths) - 1)]
        indices = [[unknown] * self._size, *([unknown] for _ in levels)]
        for index, parts in parts_of.items():
            run, *others = (self._words[part] for part in parts)
            for word, level, known in zip(others, levels, indices[1:], strict=False):
                run = level.setdefault(run * self._size + word, len(known))
                if run == len(known):
                    known.append(unknown)
            indices[len(parts) - 1][run] = index
        self._levels = [_sorted(each) for each in levels]
        self._indices = [np.array(each, np.int64) for each in indices]

    def by_row(self, rows: Tokens) -> tuple[Array, Array]:
        """Index of each run, and the number of runs in each row."""
        flat = rows.flat
        words = self._words | {rows.end: -1}
        numbers = np.fromiter(map(words.get, flat, repeat(0)), np.int64, len(flat))
        inside = numbers >= 0
        row_of = np.cumsum(~inside)
        runs = numbers.copy()
        found: dict[int, tuple[Array, Array]] = {}
        for width, indices in enumerate(self._indices, 1):
            at = _starts(inside, width)
            if width > 1:
                keys, known = self._levels[width - 2]
                wanted = runs[at] * self._size + numbers[at + width - 1]
                place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
                runs[at] = np.where(keys[place] == wanted, known[place], 0)
            found[width] = indices[runs[at]], row_of[at]
        chosen, places = zip(*(found[width] for width in self._widths), strict=True)
        lengths = np.bincount(np.concatenate(places), minlength=rows.n)
        return np.concatenate(chosen)[_by_row(places)], lengths


class _Numbers(dict[Any, int]):
    """Numbers of tokens in the order of first requests."""

    def __missing__(self, token: Any) -> int:
        number = self[token] = len(self)
        return number


def _sorted(level: dict[int, int]) -> tuple[Array, Array]:
    """Keys in ascending order, and the values; -1 is among the keys."""
    keys, values = np.array([*level.items(), (-1, 0)], np.int64).T
    order = np.argsort(keys)
    return keys[order], values[order]


class _Tally:
    """Counter of many numbers."""

    def __init__(self) -> None:
        self._waiting: list[Array] = []
        self._n = 0
        self._totals = np.zeros((2, 0), np.int64)

    def add(self, numbers: Array) -> None:
        self._waiting.append(numbers)
        self._n += len(numbers)
        if self._n > _MANY:
            self.totals()

    def any(self) -> bool:
        return self._n > 0 or self._totals.size > 0

    def totals(self) -> Array:
        """Numbers in ascending order, and their counts: two rows."""
        if self._waiting:
            new = np.stack(np.unique(np.concatenate(self._waiting), return_counts=True))
            self._waiting, self._n = [], 0
            numbers, counts = np.concatenate([self._totals, new], axis=1)
            numbers, ids = np.unique(numbers, return_inverse=True)
            counts = np.bincount(ids, counts).astype(np.int64)  # exact up to 2^53
            self._totals = np.stack([numbers, counts])
        return self._totals


def _bits(width: int) -> int:
    """Bits of each token in the number that encodes a run of `width` tokens."""
    return 63 // width


def _starts(inside: Array, width: int) -> Array:
    """Starts of runs of `width` tokens.

    `inside` says of each element whether it is a token, and no end of a row.
    """
    fits = inside[: max(len(inside) - width + 1, 0)].copy()
    for i in range(1, width):
        fits &= inside[i : len(fits) + i]
    return np.flatnonzero(fits)


def _by_row(places: Sequence[Array]) -> Array:
    """Order of elements by row, stable within one."""
    rows = np.concatenate(places)
    if len(rows) and rows.max() < 1 << 15:
        rows = rows.astype(np.int16)  # sorted by radix: in a third of the time
    return np.argsort(rows, kind="stable")
