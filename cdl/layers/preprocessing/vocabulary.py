"""Vocabularies: indices of tokens, and their counts while one is learned.

Tokens are the bytes of a text in a list, or ints in an array.
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cdl._common.validation import expected, whole
from cdl.data import PyDataset
from cdl.layers.preprocessing.ngrams import RunCounts, RunIndices, joined

Array = NDArray[Any]

OUT, ENDS = -1, -2  # indices that are none: of other tokens, and of what ends a row


class Tokens(NamedTuple):
    """Tokens of rows of several lengths.

    Attributes:
        flat: the tokens, with `end` between the rows.
        end: what no token is.
        n: the number of rows.
        widths: if any, all runs of so many tokens, joined by spaces, are what is counted and
            looked up; no token then has a space.
    """

    flat: Sequence[Any]
    end: Any
    n: int
    widths: tuple[int, ...] = ()


class Vocabulary:
    """Tokens, and the index of each, as an object that a layer need not search.

    Args:
        tokens: in the order of their indices.
        first: the index of the first one.
        unknown: that of all that are not among them, or OUT.
        mask: the mask token, or None.
        masked: its index.
    """

    def __init__(self, tokens: list[Any], first: int, unknown: int, mask: Any, masked: int) -> None:
        self.tokens = tokens
        self._first = first
        self._unknown = unknown
        self._mask = mask
        self._masked = masked
        self._dicts: dict[Any, dict[Any, int]] = {}  # by what ends a row
        self._sorted: tuple[Array, Array] | None = None
        self._runs: dict[tuple[int, ...], RunIndices] = {}  # by their widths

    def indices(self, flat: Any, end: Any) -> Array:
        """Index of each token; ENDS for `end`."""
        if isinstance(flat, np.ndarray):
            return self._of_numbers(flat)
        found = self._dicts.get(end)
        if found is None:
            found = {token: i for i, token in enumerate(self.tokens, self._first)}
            found |= {self._mask: self._masked, end: ENDS}
            self._dicts[end] = found
        return np.fromiter(map(found.get, flat, repeat(self._unknown)), np.int64, len(flat))

    def indices_of_runs(self, rows: Tokens) -> tuple[Array, Array]:
        """Index of each run of tokens, and the number of runs in each row."""
        found = self._runs.get(rows.widths)
        if found is None:
            found = RunIndices(self.tokens, self._first, self._unknown, rows.widths)
            self._runs[rows.widths] = found
        return found.by_row(rows)

    def _of_numbers(self, flat: Array) -> Array:
        if self._sorted is None:
            tokens = np.array(self.tokens, np.int64)
            order = np.argsort(tokens)
            self._sorted = tokens[order], order + self._first
        tokens, places = self._sorted
        at = np.minimum(np.searchsorted(tokens, flat), len(tokens) - 1)
        indices = np.full(len(flat), self._unknown, np.int64)
        if len(tokens):
            indices = np.where(tokens[at] == flat, places[at], self._unknown)
        return (
            indices if self._mask is None else np.where(flat == self._mask, self._masked, indices)
        )


class TokenCounts:
    """Counts of tokens, in all and by document.

    Args:
        of_documents: whether the second is asked for.

    Attributes:
        tokens: the counts.
    """

    def __init__(self, of_documents: bool) -> None:
        self.tokens: Counter[Any] = Counter()
        self._of_documents = of_documents
        self._documents: Counter[Any] = Counter()
        self._n = 0
        self._runs: RunCounts | None = None

    def any(self) -> bool:
        """Whether a token has been counted."""
        return bool(self.tokens) or (self._runs is not None and self._runs.any())

    def add(self, flat: Any, n: int) -> None:
        """Count the tokens of n documents of equal lengths, one after the other."""
        if isinstance(flat, np.ndarray):
            values, ids, counts = np.unique(flat, return_inverse=True, return_counts=True)
            known = values.tolist()
            _add(self.tokens, known, counts)
        else:
            self.tokens.update(flat)
            known, ids = _numbered(flat) if self._of_documents else ([], np.zeros(0, np.int64))
        if self._of_documents:
            self._add_documents(known, ids, np.arange(len(flat)) // max(len(flat) // max(n, 1), 1))
            self._n += n

    def add_rows(self, rows: Tokens) -> None:
        """Count the tokens of rows, or their runs; a row is a document."""
        if rows.widths:
            self._runs = self._runs or RunCounts(self._of_documents)
            if self._runs.add(rows):
                self._n += rows.n
                return
            rows = joined(rows)
        self.tokens.update(rows.flat)
        if self._of_documents:
            known, ids = _numbered(rows.flat)
            end = known.index(rows.end) if rows.n > 1 else OUT
            self._add_documents(known, ids, np.cumsum(ids == end))
            self._n += rows.n
        del self.tokens[rows.end]

    def _add_documents(self, known: list[Any], ids: Array, documents: Array) -> None:
        """Count each token once a document."""
        if known:
            pairs = np.sort(documents * len(known) + ids)
            once = pairs[np.diff(pairs, prepend=-1) > 0] % len(known)
            _add(self._documents, known, np.bincount(once, minlength=len(known)))

    def most_common(self, special: Iterable[Any], most: int | None) -> list[Any]:
        """Tokens by falling count, and of equal ones by falling token.

        Args:
            special: tokens to leave out.
            most: how many, None for all.
        """
        special = set(special)
        if self._runs is not None:
            self._add_runs(None if most is None or self.tokens else most + len(special))
        tokens = sorted(self.tokens.keys() - special, reverse=True)
        tokens.sort(key=self.tokens.__getitem__, reverse=True)
        return tokens[:most]

    def _add_runs(self, most: int | None) -> None:
        """Add the counts of runs to those of tokens; see `RunCounts.tokens`."""
        assert self._runs is not None
        tokens, counts, documents = self._runs.tokens(most)
        self._runs = None
        _add(self.tokens, tokens, counts)
        if self._of_documents:
            _add(self._documents, tokens, documents)

    def idf_weights(self, tokens: list[Any]) -> Array:
        """Inverse document frequency of each token, as a logarithm."""
        having = np.array([self._documents[each] for each in tokens], np.int64)
        weights: Array = np.log(1 + self._n / (1 + having)).astype(np.float32)
        return weights


def _numbered(flat: Sequence[Any]) -> tuple[list[Any], Array]:
    """Distinct tokens, and the number of each token among these."""
    known = list(set(flat))
    numbers = {token: i for i, token in enumerate(known)}
    return known, np.fromiter(map(numbers.__getitem__, flat), np.int64, len(flat))


def _add(counts: Counter[Any], tokens: list[Any], numbers: Array) -> None:
    for token, number in zip(tokens, numbers.tolist(), strict=True):
        counts[token] += number


def learn(layer: Any, data: Any, steps: int | None) -> None:
    """Count the tokens of data, forgetting earlier counts, and make the layer's vocabulary of them.

    Args:
        layer: with the methods of `IndexLookup` that learn.
        data: an array, list or column, or an iterable of batches.
        steps: how many batches are looked at, None for all.
    """
    layer.reset_state()
    if _is_whole(data):
        layer._learn(data, documents=True)
    else:
        for batch in _batches_of(data, steps):
            layer.update_state(batch)
    layer.finalize_state()


def _is_whole(data: Any) -> bool:
    """Whether data are complete, as an array, list or column, not an iterable of batches."""
    kinds = (list, tuple, str, bytes)
    whole = isinstance(data, kinds) or hasattr(data, "__array__") or hasattr(data, "to_pylist")
    return whole or not isinstance(data, (Iterable, PyDataset))


def _batches_of(data: Any, steps: int | None) -> Iterator[Any]:
    """First `steps` batches of an iterable, or the x of those of a PyDataset."""
    if isinstance(data, PyDataset):
        places = itertools.count() if data.num_batches is None else range(data.num_batches)
        data = (batch[0] for batch in map(data.__getitem__, places))
    return itertools.islice(data, steps)


def refuse_path(owner: str, config: dict[str, Any]) -> None:
    """Check that a config's vocabulary is no file path; ValueError."""
    if is_path(config.get("vocabulary")):
        raise ValueError(
            f"{owner}: vocabulary must be a list in a config, got the path "
            f"{config['vocabulary']!r}: a file must not say which others are read; call "
            "set_vocabulary() with it"
        )


def is_path(vocabulary: Any) -> bool:
    """Whether a vocabulary is given as the path of a file."""
    return isinstance(vocabulary, (str, os.PathLike))


def listed(values: Any) -> Any:
    """Arrays and columns as lists, for configs."""
    for method in ("tolist", "to_pylist", "to_list"):
        if not isinstance(values, list) and hasattr(values, method):
            return getattr(values, method)()
    return values


def check_together(
    owner: str, max_tokens: Any, pads: bool, invert: bool, mode: str, idf_weights: Any
) -> None:
    """Check that arguments of a lookup go together; ValueError."""
    if max_tokens is not None and whole(owner, "max_tokens", max_tokens) <= 1:
        raise expected(owner, "max_tokens", "an int greater than 1, or None", max_tokens)
    if pads and max_tokens is None:
        raise expected(owner, "max_tokens", "an int with pad_to_max_tokens=True", None)
    if invert and mode != "int":
        raise expected(owner, "output_mode", "'int' with invert=True", mode)
    if idf_weights is not None and mode != "tf_idf":
        raise ValueError(
            f"{owner}: idf_weights must be None unless output_mode is 'tf_idf', got some with "
            f"output_mode={mode!r}"
        )


def weights_of(owner: str, weights: Any, size: int, missing: int) -> Array:
    """Weights of "tf_idf" from the user, one for each index.

    Args:
        owner: whose they are, for errors.
        weights: an array or list.
        size: how many indices there are.
        missing: how many of these, the first ones, have none: theirs is the mean of all.
    """
    given = np.asarray(weights, np.float64)
    if given.shape != (size - missing,):
        raise ValueError(
            f"{owner}: idf_weights must have shape ({size - missing},), as long as the "
            f"vocabulary, got {given.shape}"
        )
    return np.concatenate([np.full(missing, given.mean()), given]).astype(np.float32)
