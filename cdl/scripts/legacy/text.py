"""`keras.preprocessing.text` of Keras 2: tokenization, and indices of words by frequency."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from cdl._common.validation import one_of

__all__ = [
    "Tokenizer",
    "hashing_trick",
    "one_hot",
    "text_to_word_sequence",
    "tokenizer_from_json",
]

FILTERS = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'
_MODES = ("binary", "count", "freq", "tfidf")


def text_to_word_sequence(
    input_text: str, filters: str = FILTERS, lower: bool = True, split: str = " "
) -> list[str]:
    """Split a text into words.

    Args:
        input_text: the text.
        filters: characters to replace by `split`.
        lower: whether to convert to lower case.
        split: separator of words.
    """
    text = input_text.lower() if lower else input_text
    text = text.translate({ord(each): split for each in filters})
    return [word for word in text.split(split) if word]


def _hash(word: str) -> int:
    """Python's hash, which differs between processes, as in Keras."""
    return hash(word)


def _md5(word: str) -> int:
    return int(hashlib.md5(word.encode(), usedforsecurity=False).hexdigest(), 16)


def hashing_trick(
    text: str,
    n: int,
    hash_function: Callable[[str], int] | str | None = None,
    filters: str = FILTERS,
    lower: bool = True,
    split: str = " ",
    analyzer: Callable[[str], Iterable[str]] | None = None,
) -> list[int]:
    """Convert the words of a text to indices from 1 to n - 1 by hashing, with collisions.

    Args:
        text: the text.
        n: size of the index space, including the unused index 0.
        hash_function: "md5", a function, or None for Python's `hash`.
        filters: characters to replace by `split`.
        lower: whether to convert to lower case.
        split: separator of words.
        analyzer: a function that splits a text into words, in place of the last three arguments.
    """
    named: dict[Any, Callable[[str], int]] = {None: _hash, "md5": _md5}
    hashed: Any = hash_function if callable(hash_function) else named[hash_function]
    words = analyzer(text) if analyzer else text_to_word_sequence(text, filters, lower, split)
    return [hashed(word) % (n - 1) + 1 for word in words]


def one_hot(
    input_text: str,
    n: int,
    filters: str = FILTERS,
    lower: bool = True,
    split: str = " ",
    analyzer: Callable[[str], Iterable[str]] | None = None,
) -> list[int]:
    """Convert words to indices by Python's `hash`: `hashing_trick`."""
    return hashing_trick(input_text, n, None, filters, lower, split, analyzer)


class Tokenizer:
    """Converts texts to sequences of word indices; index 1 is the most frequent word.

    Args:
        num_words: keep the `num_words` - 1 most frequent words; None for all.
        filters: characters to replace by `split`.
        lower: whether to convert to lower case.
        split: separator of words.
        char_level: whether every character is a token.
        oov_token: token with index 1 for words that are not kept; None drops such words.
        analyzer: a function that splits a text into words, in place of `filters`, `lower`, `split`
            and `char_level`.
        kwargs: `document_count`, and `nb_words`, an older name of `num_words`.

    Attributes:
        word_counts: occurrences of each word, in order of first appearance.
        word_docs: the number of texts with each word.
        word_index: index of each word.
        index_word: word of each index.
        index_docs: the number of texts with the word of each index.
        document_count: the number of texts.
    """

    def __init__(
        self,
        num_words: int | None = None,
        filters: str = FILTERS,
        lower: bool = True,
        split: str = " ",
        char_level: bool = False,
        oov_token: str | None = None,
        analyzer: Callable[[str], Iterable[str]] | None = None,
        **kwargs: Any,
    ) -> None:
        self.document_count = int(kwargs.pop("document_count", 0))
        if "nb_words" in kwargs:
            num_words = kwargs.pop("nb_words")
        if kwargs:
            raise TypeError(f"Tokenizer: arguments not recognized: {kwargs}")
        self.num_words, self.filters, self.lower, self.split = num_words, filters, lower, split
        self.char_level, self.oov_token, self.analyzer = char_level, oov_token, analyzer
        self.word_counts: dict[str, int] = {}
        self.word_docs: dict[str, int] = {}
        self.index_docs: dict[int, int] = {}
        self.word_index: dict[str, int] = {}
        self.index_word: dict[int, str] = {}

    def _words(self, text: Any) -> list[str]:
        if self.analyzer is not None:
            return list(self.analyzer(text))
        if self.char_level or isinstance(text, (list, tuple)):
            lowered = (
                text
                if not self.lower
                else (text.lower() if isinstance(text, str) else [word.lower() for word in text])
            )
            return list(lowered)
        return text_to_word_sequence(str(text), self.filters, self.lower, self.split)

    def fit_on_texts(self, texts: Iterable[Any]) -> None:
        """Add the words of texts to the counts, and update the indices."""
        counts, docs = Counter(self.word_counts), Counter(self.word_docs)
        for text in texts:
            words = self._words(text)
            counts.update(words)
            docs.update({*words})
            self.document_count += 1
        self.word_counts, self.word_docs = dict(counts), dict(docs)
        # The sort is stable, so words of one count stay in order of appearance.
        ordered = sorted(counts, key=counts.__getitem__, reverse=True)
        if self.oov_token is not None:
            ordered = [self.oov_token, *(word for word in ordered if word != self.oov_token)]
        self.word_index = {word: i for i, word in enumerate(ordered, 1)}
        self.index_word = {i: word for word, i in self.word_index.items()}
        self.index_docs = {self.word_index[word]: n for word, n in docs.items()}

    def fit_on_sequences(self, sequences: Iterable[Iterable[int]]) -> None:
        """Count the sequences that contain each index."""
        docs = Counter(self.index_docs)
        for sequence in sequences:
            docs.update({*sequence})
            self.document_count += 1
        self.index_docs = dict(docs)

    def _counts(self, number: int | None) -> bool:
        return number is not None and (self.num_words is None or number < self.num_words)

    def texts_to_sequences_generator(self, texts: Iterable[Any]) -> Iterator[list[int]]:
        """Yield the word indices of each text."""
        unknown = None if self.oov_token is None else self.word_index.get(self.oov_token)
        for text in texts:
            numbers = (self.word_index.get(word) for word in self._words(text))
            known = (number if self._counts(number) else unknown for number in numbers)
            yield [number for number in known if number is not None]

    def texts_to_sequences(self, texts: Iterable[Any]) -> list[list[int]]:
        """The word indices of each text, as a list."""
        return list(self.texts_to_sequences_generator(texts))

    def sequences_to_texts_generator(self, sequences: Iterable[Iterable[int]]) -> Iterator[str]:
        """Yield the words of each sequence of indices, joined by spaces."""
        unknown = self.oov_token
        for sequence in sequences:
            words = (
                self.index_word.get(int(n)) if self._counts(int(n)) else None for n in sequence
            )
            known = (unknown if word is None else word for word in words)
            yield " ".join(word for word in known if word is not None)

    def sequences_to_texts(self, sequences: Iterable[Iterable[int]]) -> list[str]:
        """The words of each sequence of indices, joined by spaces, as a list."""
        return list(self.sequences_to_texts_generator(sequences))

    def texts_to_matrix(self, texts: Iterable[Any], mode: str = "binary") -> Any:
        """Convert texts to a matrix of texts by words: see `sequences_to_matrix`."""
        return self.sequences_to_matrix(self.texts_to_sequences(texts), mode)

    def sequences_to_matrix(self, sequences: Iterable[Any], mode: str = "binary") -> Any:
        """Convert sequences to a matrix of shape (sequences, indices).

        Args:
            sequences: lists of indices.
            mode: "binary" (presence), "count", "freq" (count over length of the sequence), or
                "tfidf": ``(1 + log(count)) * log(1 + texts / (1 + texts with the word))``.

        Raises:
            ValueError: an unknown mode, or a tokenizer that is not fitted.
        """
        one_of("Tokenizer", "mode", mode, _MODES)
        if self.num_words is None and not self.word_index:
            raise ValueError("Tokenizer: num_words must be given, or fit_on_texts called first")
        if mode == "tfidf" and not self.document_count:
            raise ValueError("Tokenizer: mode 'tfidf' needs texts that were counted: fit_on_texts")
        width = len(self.word_index) + 1 if self.num_words is None else self.num_words
        rows = [list(sequence) for sequence in sequences]
        matrix = np.zeros((len(rows), width))
        for row, sequence in zip(matrix, rows, strict=True):
            for number, count in Counter(n for n in sequence if n < width).items():
                if mode == "tfidf":
                    rare = np.log(1 + self.document_count / (1 + self.index_docs.get(number, 0)))
                    row[number] = (1 + np.log(count)) * rare
                else:
                    row[number] = {"binary": 1, "count": count, "freq": count / len(sequence)}[mode]
        return matrix

    def get_config(self) -> dict[str, Any]:
        """The arguments and the tables of counts and indices, the tables as JSON."""
        return {
            "num_words": self.num_words,
            "filters": self.filters,
            "lower": self.lower,
            "split": self.split,
            "char_level": self.char_level,
            "oov_token": self.oov_token,
            "document_count": self.document_count,
            **{name: json.dumps(getattr(self, name)) for name in _TABLES},
        }

    def to_json(self, **kwargs: Any) -> str:
        """The config as JSON; `kwargs` are passed to `json.dumps`."""
        return json.dumps({"class_name": "Tokenizer", "config": self.get_config()}, **kwargs)


_TABLES = ("word_counts", "word_docs", "index_docs", "index_word", "word_index")


def tokenizer_from_json(json_string: str) -> Tokenizer:
    """Restore a tokenizer from the result of `to_json`."""
    config = json.loads(json_string)["config"]
    tables = {name: json.loads(config.pop(name)) for name in _TABLES}
    made = Tokenizer(**config)
    for name, table in tables.items():
        numbers = name.startswith("index")
        setattr(made, name, {int(k) if numbers else k: v for k, v in table.items()})
    return made
