"""TextVectorization: texts split into tokens, as indices of a vocabulary."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from cdl._common.validation import expected, not_yet
from cdl._configs.serialization import deserialize, serialize
from cdl.data.texts import as_texts, decoded, encoded, known_encoding
from cdl.layers.arguments import NDArray, Self, Shape
from cdl.layers.layer import registry
from cdl.layers.preprocessing.host_layer import VocabularyLayer
from cdl.layers.preprocessing.ngrams import joined
from cdl.layers.preprocessing.string_lookup import StringLookup
from cdl.layers.preprocessing.vocabulary import Tokens, learn, refuse_path

Array = NDArray[Any]

_PUNCTUATION = string.punctuation.encode()
_LOWER = bytes.maketrans(string.ascii_uppercase.encode(), string.ascii_lowercase.encode())
_STANDARDIZE = ("lower_and_strip_punctuation", "lower", "strip_punctuation")
_END = b"\0"  # between the texts of a block, where none has it
_BLOCK = 8192  # texts that are cut together: their words are in memory at once


class _Words(StringLookup):
    """Vocabulary of a TextVectorization, whose errors name that."""

    def _kind(self) -> str:
        return "TextVectorization"


@registry.add()
class TextVectorization(VocabularyLayer):
    """Tokenization of texts: the indices of their words, or vectors of counts.

    A text is standardized, split, its tokens are joined to n-grams, and these are looked up in a
    vocabulary that `adapt` learns or that is given.

    Args:
        max_tokens: the most tokens of the vocabulary, with '' for padding (only with output_mode
            "int") and '[UNK]' for what is unknown; None for any number.
        standardize: "lower_and_strip_punctuation", "lower", "strip_punctuation", None for none, or
            a function from an array of str to one of the same shape. Only ASCII letters and
            punctuation are looked at; punctuation is deleted.
        split: "whitespace", of ASCII; "character"; None, if the inputs are tokens already; or a
            function from an array of str of shape (n,) to n lists of tokens.
        ngrams: an int n for all runs of 1 to n tokens, a tuple of ints for runs of these lengths,
            None for the tokens alone.
        output_mode: "int", the indices, with 0 behind the last; "multi_hot", "count" or "tf_idf",
            a vector for each text: see `StringLookup`.
        output_sequence_length: how many indices of a text there are, cut or padded; None for as
            many as the longest of the call has. A model whose first layer this is needs it.
        ragged: not supported: rows of several lengths are no array.

    Called on an array or list of texts of shape (n,) or (n, 1) it gives int64, or float32 for
    "tf_idf".

    Raises:
        ValueError: a wrong argument.
    """

    _file_parts = ("_lookup_layer",)  # which Keras keeps in files too
    _not_in_config = (
        "max_tokens", "standardize", "split", "ngrams", "output_sequence_length",
        "pad_to_max_tokens", "vocabulary", "idf_weights", "sparse", "ragged", "encoding",
    )  # fmt: skip

    def __init__(
        self,
        max_tokens: int | None = None,
        standardize: str | Callable[[Any], Any] | None = "lower_and_strip_punctuation",
        split: str | Callable[[Any], Any] | None = "whitespace",
        ngrams: int | tuple[int, ...] | None = None,
        output_mode: str = "int",
        output_sequence_length: int | None = None,
        pad_to_max_tokens: bool = False,
        vocabulary: Any = None,
        idf_weights: Any = None,
        sparse: bool = False,
        ragged: bool = False,
        encoding: str = "utf-8",
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        owner = "TextVectorization"
        more = {key: kwargs.pop(key) for key in _OF_LOOKUP if key in kwargs}
        if kwargs.get("dtype") in ("string", str):
            del kwargs["dtype"]
        super().__init__(name=name, **kwargs)
        self._told_dtype = "string"
        if ragged:
            raise ValueError(
                f"{owner}: ragged={ragged!r} is not supported, since rows of several lengths are "
                "no array: without it there are zeros behind the shorter ones"
            )
        not_yet(owner, sparse=(sparse, False))
        self._standardize = _one_of(owner, "standardize", standardize, _STANDARDIZE)
        self._split = _one_of(owner, "split", split, ("whitespace", "character"))
        self._ngrams_arg = ngrams
        self._ngrams = _widths(owner, ngrams)
        length = output_sequence_length
        if length is not None and (
            output_mode != "int"
            or isinstance(length, bool)
            or not isinstance(length, (int, np.integer))
            or length < 0
        ):
            what = (
                "an int >= 0 or None"
                if output_mode == "int"
                else "None unless output_mode is 'int'"
            )
            raise expected(owner, "output_sequence_length", what, length)
        self._length = None if length is None else int(length)
        self._encoding = known_encoding(owner, encoding)
        self._lookup_layer = _Words(
            max_tokens=max_tokens,
            mask_token="",
            vocabulary=vocabulary,
            idf_weights=idf_weights,
            output_mode=output_mode,
            pad_to_max_tokens=pad_to_max_tokens,
            encoding=encoding,
            name=self.name,
            **more,
        )
        self.output_mode = self._lookup_layer.output_mode

    def _owner(self) -> str:
        return f"TextVectorization {self.name!r}"

    # --- the vocabulary ---

    def adapt(self, data: Any, batch_size: int | None = None, steps: int | None = None) -> None:
        """Learn the vocabulary: tokens by frequency, the greater first of equals.

        Args:
            data: an array, list or column of texts, or an iterable of batches of them.
            batch_size: without a meaning here.
            steps: how many batches are looked at, None for all.

        Raises:
            ValueError: the layer was made with a vocabulary.
        """
        learn(self, data, steps)

    def update_state(self, data: Any) -> None:
        """Count the tokens of more texts."""
        self._learn(data, documents=False)

    def _learn(self, data: Any, documents: bool) -> None:
        texts, shape = self._standardized(data, f"{self._owner()}: data")
        width = 1
        if self._split is None and not (documents and len(shape) < 2):
            width = shape[-1] if shape else 1
        for tokens in self._tokens(texts, width):
            self._lookup_layer.learn_rows(tokens)

    def finalize_state(self) -> None:
        """Set the vocabulary to the counted tokens."""
        self._lookup_layer.finalize_state()

    def reset_state(self) -> None:
        """Forget all counts of tokens."""
        self._lookup_layer.reset_state()

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[str]:
        """Tokens in the order of their indices; see `StringLookup.get_vocabulary`."""
        return self._lookup_layer.get_vocabulary(include_special_tokens)

    def vocabulary_size(self) -> int:
        """Number of tokens, with '' for padding and '[UNK]'."""
        return self._lookup_layer.vocabulary_size()

    def set_vocabulary(self, vocabulary: Any, idf_weights: Any = None) -> None:
        """Set the vocabulary; see `StringLookup.set_vocabulary`."""
        self._lookup_layer.set_vocabulary(vocabulary, idf_weights)

    # --- texts to indices ---

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Output shape ``(n, output_sequence_length)``, or ``(n, tokens)`` for vectors."""
        shape = tuple(input_shape)
        if self.output_mode == "int":
            return (*shape[:1], self._length)
        if self._split is not None:
            shape = (*shape[:1], None)
        elif len(shape) == 1:
            shape = (*shape, 1)
        return self._lookup_layer.compute_output_shape(shape)

    def _on_arrays(self, inputs: Any, training: bool | None = None) -> Any:  # type: ignore[override]
        """Indices of the words of texts, or vectors of them.

        Args:
            inputs: an array or list of texts, (n,) or (n, 1), or a single text.
        """
        texts, shape = self._standardized(inputs, f"{self._owner()}: inputs")
        lookup = self._lookup_layer
        if self._split is None and self._ngrams is None:
            found = lookup.encoded(lookup.indices(texts).reshape(shape))
            return found if self._length is None else _cut(found, self._length)
        width, dtype = self._length, "int64"
        if self.output_mode != "int":
            lookup.known()
            width = lookup.compute_output_shape((None, None))[-1]
            dtype = "float32" if self.output_mode == "tf_idf" else "int64"
        each = 1 if self._split is not None else (shape[-1] if shape else 1)
        n = len(texts) // max(each, 1)
        y: Any = None if width is None else np.empty((n, width), dtype)
        parts, at = [], 0
        for tokens in self._tokens(texts, each):
            as_int = self.output_mode == "int"
            part = self._padded(tokens) if as_int else lookup.encoded_rows(tokens)
            if y is None:
                parts.append(part)
            else:
                y[at : at + tokens.n] = part
            at += tokens.n
        if y is None:
            width = max((part.shape[1] for part in parts), default=0)
            y = np.concatenate(
                [np.zeros((0, width), dtype), *(_cut(part, width) for part in parts)]
            )
        splits_a_column = self._split is not None and len(shape) < 2
        return y.reshape(*(shape if splits_a_column else shape[:-1]), y.shape[-1])

    def _padded(self, tokens: Tokens) -> Array:
        """Indices of rows as an array, with zeros after the last of each."""
        indices, lengths = self._lookup_layer.indices_by_row(tokens)
        longest = int(lengths.max(initial=0))
        width = longest if self._length is None else self._length
        if longest > width:
            starts = np.cumsum(lengths) - lengths
            indices = indices[np.arange(len(indices)) - np.repeat(starts, lengths) < width]
            lengths = np.minimum(lengths, width)
        y = np.zeros((tokens.n, width), np.int64)
        y[np.arange(width) < lengths[:, None]] = indices
        return y

    def _standardized(self, values: Any, name: str) -> tuple[list[bytes], tuple[int, ...]]:
        """Standardized texts, except for the parts that `_tokens` does."""
        if callable(self._standardize):
            values = self._standardize(self._as_str(values, name))
            name = f"{name}: what standardize returned"
        texts, shape = as_texts(values, name, self._encoding)
        if self._split is not None and len(shape) > 1 and shape[-1] != 1:
            raise ValueError(f"{name} must have shape (n,) or (n, 1) to be split, got {shape}")
        if self._split != "whitespace":
            texts = [_translated(self._standardize, each) for each in texts]
        return texts, shape

    def _as_str(self, values: Any, name: str) -> Array:
        """Array of str of texts."""
        texts, shape = as_texts(values, name, self._encoding)
        array = values if isinstance(values, np.ndarray) else np.empty(0, object)
        if array.dtype.kind == "U":
            return array
        return np.array([decoded(each, self._encoding) for each in texts], str).reshape(shape)

    def _tokens(self, texts: list[bytes], width: int) -> Iterator[Tokens]:
        """Tokens of texts, a block at a time; `width` of them make a row."""
        step = _BLOCK * max(width, 1)
        for at in range(0, len(texts), step):
            tokens = self._tokens_of_block(texts[at : at + step], width)
            if self._ngrams is not None:
                tokens = tokens._replace(widths=self._ngrams)
                if self._split != "whitespace":  # tokens may have spaces: joined they are one
                    tokens = joined(tokens)
            yield tokens

    def _tokens_of_block(self, texts: list[bytes], width: int) -> Tokens:
        if self._split == "whitespace":  # all at once, which takes a third of the time
            joined = b" \0 ".join(texts)
            if joined.count(_END) == len(texts) - 1:
                return Tokens(_translated(self._standardize, joined).split(), _END, len(texts))
        rows = self._rows(texts, width)
        flat: list[Any] = []
        for row in rows:
            flat += row
            flat.append(None)
        return Tokens(flat[:-1], None, len(rows))

    def _rows(self, texts: list[bytes], width: int) -> list[list[bytes]]:
        """Tokens of each text."""
        code = self._encoding
        if self._split is None:
            return [texts[i : i + width] for i in range(0, len(texts), width)]
        if self._split == "whitespace":
            return [_translated(self._standardize, each).split() for each in texts]
        if self._split == "character":
            return [[encoded(c, code) for c in each.decode(code, "replace")] for each in texts]
        assert callable(self._split)
        array = np.array([decoded(each, self._encoding) for each in texts], str)
        found = self._split(array)
        for method in ("to_list", "tolist"):
            if hasattr(found, method):
                found = getattr(found, method)()
        name = f"{self._owner()}: what split returned"
        if not isinstance(found, (list, tuple)) or len(found) != len(texts):
            raise ValueError(f"{name} must be a list of {len(texts)} lists of tokens")
        return [as_texts(list(row), name, code)[0] if len(row) else [] for row in found]

    # --- configuration and files ---

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments as a dict; a vocabulary only if it was one of them, and no file."""
        lookup = self._lookup_layer
        return {
            **super().get_config(),
            "max_tokens": lookup.max_tokens,
            "standardize": _serialized(self._standardize),
            "split": _serialized(self._split),
            "ngrams": self._ngrams_arg,
            "output_mode": self.output_mode,
            "output_sequence_length": self._length,
            "pad_to_max_tokens": lookup.pad_to_max_tokens,
            "sparse": False,
            "ragged": False,
            "vocabulary": lookup.get_config()["vocabulary"],
            "idf_weights": lookup.input_idf_weights,
            "encoding": self._encoding,
            "vocabulary_size": self.vocabulary_size(),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Create a layer from the dict that `get_config` returned.

        Raises:
            ValueError: the vocabulary is a file's path: a config must not say what is read.
        """
        refuse_path(cls.__name__, config)
        config = dict(config)
        for name in ("standardize", "split"):
            if isinstance(config.get(name), dict):
                config[name] = deserialize(config[name])
        if isinstance(config.get("ngrams"), list):
            config["ngrams"] = tuple(config["ngrams"])
        return cls(**config)

    def save_own_variables(self, store: Any) -> None:
        """Save the weights of "tf_idf" to a store."""
        self._lookup_layer.save_own_variables(store)

    def load_own_variables(self, store: Any) -> None:
        """Load the weights of "tf_idf" from a store."""
        self._lookup_layer.load_own_variables(store)

    def assets(self) -> dict[str, str]:
        return self._lookup_layer.assets()

    def load_from_assets(self, texts: Mapping[str, str]) -> None:
        """Load the text that `assets` returned."""
        self._lookup_layer.load_from_assets(texts)


_OF_LOOKUP = ("vocabulary_size", "has_input_vocabulary")


def _one_of(owner: str, name: str, value: Any, allowed: tuple[str, ...]) -> Any:
    """Check a name, a function or None."""
    if value is None or callable(value) or (isinstance(value, str) and value in allowed):
        return value
    names = ", ".join(map(repr, allowed))
    raise expected(owner, name, f"one of {names}, a function or None", value)


def _widths(owner: str, ngrams: Any) -> tuple[int, ...] | None:
    """Widths of n-grams in tokens."""
    if ngrams is None:
        return None
    single = isinstance(ngrams, int) and not isinstance(ngrams, bool)
    widths = range(1, ngrams + 1) if single else ngrams
    fits = single or isinstance(ngrams, tuple)
    if not fits or not widths or not all(isinstance(n, int) and n > 0 for n in widths):
        raise expected(owner, "ngrams", "None, an int > 0 or a tuple of ints > 0", ngrams)
    return tuple(widths)


def _translated(standardize: Any, text: bytes) -> bytes:
    """Text in lower case, or without punctuation, or both, by the name."""
    if standardize == "lower":
        return text.translate(_LOWER)
    if standardize == "strip_punctuation":
        return text.translate(None, _PUNCTUATION)
    if standardize == "lower_and_strip_punctuation":
        return text.translate(_LOWER, _PUNCTUATION)
    return text


def _cut(y: Array, width: int) -> Array:
    """Array cut or padded with zeros to `width` elements along the last axis."""
    y = y[..., :width]
    missing = width - y.shape[-1]
    return np.pad(y, [(0, 0)] * (y.ndim - 1) + [(0, missing)]) if missing else y


def _serialized(value: Any) -> Any:
    return serialize(value) if callable(value) else value
