"""IndexLookup: common base of StringLookup and IntegerLookup: a learned or given vocabulary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from cdl._common.validation import count, expected, flag, not_recognized, not_yet, one_of
from cdl.layers.arguments import NDArray, Self, Shape
from cdl.layers.preprocessing.host_layer import (
    VocabularyLayer,
    as_integers,
    checked_salt,
    count_by_row,
    encode,
    encoded_shape,
)
from cdl.layers.preprocessing.vocabulary import (
    ENDS,
    OUT,
    TokenCounts,
    Tokens,
    Vocabulary,
    check_together,
    is_path,
    learn,
    listed,
    refuse_path,
    weights_of,
)
from cdl.layers.preprocessing.vocabulary_files import EXACT, LINES, exact_tokens, files_of, lines_of

Array = NDArray[Any]

MODES = ("int", "one_hot", "multi_hot", "count", "tf_idf")


class IndexLookup(VocabularyLayer):
    """Base of StringLookup and IntegerLookup: tokens as indices of a vocabulary.

    Subclasses say what tokens are: `_tokens_of` makes them of inputs, `_token` of one value,
    `_shown` gives them back.

    Args:
        kwargs: the other entries of a config, such as `vocabulary_size`; `dtype` and `trainable`
            have no effect, as in Keras.
    """

    vocabulary_dtype = "string"
    _not_in_config = ("vocabulary",)
    _inner: tuple[str, ...] = (
        "encoded", "encoded_rows", "indices", "indices_by_row", "known", "learn_rows",
    )  # fmt: skip

    def __init__(
        self,
        *,
        max_tokens: int | None,
        num_oov_indices: int,
        mask_token: Any,
        oov_token: Any,
        vocabulary: Any,
        idf_weights: Any,
        invert: bool,
        output_mode: str,
        pad_to_max_tokens: bool,
        sparse: bool,
        oov_method: str,
        salt: Any,
        name: str | None,
        **kwargs: Any,
    ) -> None:
        vocabulary_size = kwargs.pop("vocabulary_size", None)
        given = kwargs.pop("has_input_vocabulary", vocabulary is not None)
        kwargs.pop("trainable", None)
        kwargs.pop("dtype", None)
        if kwargs:
            raise not_recognized(type(self), kwargs)
        super().__init__(name=name)
        self._told_dtype = self.vocabulary_dtype
        owner = self._kind()
        output_mode = {"binary": "multi_hot", "tf-idf": "tf_idf"}.get(output_mode, output_mode)
        self.output_mode: str = one_of(owner, "output_mode", output_mode, MODES)
        check_together(owner, max_tokens, pad_to_max_tokens, invert, output_mode, idf_weights)
        self.max_tokens = None if max_tokens is None else int(max_tokens)
        self.pad_to_max_tokens = flag(owner, "pad_to_max_tokens", pad_to_max_tokens)
        self.num_oov_indices = count(owner, "num_oov_indices", num_oov_indices)
        self.oov_method: str = one_of(owner, "oov_method", oov_method, ("floormod", "farmhash"))
        self.salt = checked_salt(owner, salt)
        self.invert = flag(owner, "invert", invert)
        not_yet(owner, sparse=(sparse, False))
        self.sparse = False
        self.mask_token = mask_token
        self.oov_token = oov_token
        self._mask = None if mask_token is None else self._token(mask_token, "mask_token")
        self._oov = None if oov_token is None else self._token(oov_token, "oov_token")
        self._has_input_vocabulary = bool(given)
        self._frozen_size: int | None = vocabulary_size
        self._vocabulary: Vocabulary | None = None
        self.idf_weights: Array | None = None
        self.input_vocabulary = None if is_path(vocabulary) else listed(vocabulary)
        self.input_idf_weights = listed(idf_weights)
        self.reset_state()
        if vocabulary is not None:
            if output_mode == "tf_idf" and idf_weights is None:
                raise ValueError(
                    f"{owner}: idf_weights must be given with a vocabulary where output_mode is "
                    "'tf_idf', got None"
                )
            self.set_vocabulary(vocabulary, idf_weights)

    # --- what subclasses say ---

    def _token(self, value: Any, name: str) -> Any:
        """Token in the form of the vocabulary."""
        raise NotImplementedError

    def _tokens_of(self, values: Any, name: str) -> tuple[Any, tuple[int, ...]]:
        """Flat tokens of inputs, and their shape."""
        raise NotImplementedError

    def _shown(self, token: Any) -> Any:
        """Token in the user's form."""
        raise NotImplementedError

    def _read(self, lines: list[str]) -> list[Any]:
        """Tokens of the lines of a file."""
        raise NotImplementedError

    def _oov_places(self, tokens: Any) -> Any:
        """Index of each unknown token among several for them."""
        raise NotImplementedError

    # --- the vocabulary ---

    def _kind(self) -> str:
        """Public class, for errors."""
        return type(self).__name__

    def _owner(self) -> str:
        return f"{self._kind()} {self.name!r}"

    def _oov_start(self) -> int:
        return int(self.mask_token is not None and self.output_mode == "int")

    def _token_start(self) -> int:
        return self._oov_start() + self.num_oov_indices

    def _specials(self) -> list[Any]:
        """Special tokens in front of all others."""
        return [self._mask] * self._oov_start() + [self._oov] * self.num_oov_indices

    def _tokens(self) -> list[Any]:
        return [] if self._vocabulary is None else self._vocabulary.tokens

    def vocabulary_size(self) -> int:
        """Number of tokens, with the mask token and those for unknown tokens."""
        return len(self._tokens()) + self._token_start()

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[Any]:
        """Tokens in the order of their indices.

        Args:
            include_special_tokens: whether the mask token and those for unknown ones are among
                them, so that each stands in the place of its index.
        """
        tokens = [self._shown(each) for each in self._tokens()]
        if not include_special_tokens:
            return tokens
        specials = [self.mask_token] * self._oov_start()
        return [*specials, *[self.oov_token] * self.num_oov_indices, *tokens]

    def set_vocabulary(self, vocabulary: Any, idf_weights: Any = None) -> None:
        """Set the vocabulary, in place of an earlier one.

        Args:
            vocabulary: its tokens as a list, tuple, array or column, with or without the mask
                token and those for unknown ones in front; or the path of a file with one a line,
                without these.
            idf_weights: for "tf_idf", a number for each token.

        Raises:
            ValueError: no token, one that is there twice, a special token elsewhere than in front,
                too many for `max_tokens`, weights that do not fit, no such file.
            RuntimeError: its size differs from that of the former one, where the shape of the
                output depends on it.
        """
        owner = self._owner()
        if self.output_mode == "tf_idf":
            if idf_weights is None:
                raise ValueError(f"{owner}: idf_weights must be given with 'tf_idf', got None")
            if is_path(vocabulary):
                raise ValueError(
                    f"{owner}: vocabulary must be a list with output_mode='tf_idf', got a file"
                )
        check_together(owner, None, False, self.invert, self.output_mode, idf_weights)
        start = self._token_start()
        if is_path(vocabulary):
            tokens, has_specials = self._read(lines_of(vocabulary, owner)), False
        else:
            found, shape = self._tokens_of(vocabulary, f"{owner}: vocabulary")
            tokens = list(found.tolist() if isinstance(found, np.ndarray) else found)
            if not tokens or len(shape) != 1:
                raise ValueError(
                    f"{owner}: vocabulary must be a list of tokens, not empty, got shape {shape}"
                )
            has_specials = tokens[:start] == self._specials()
            tokens = tokens[start:] if has_specials else tokens
        self._check(tokens)
        weights = None
        if self.output_mode == "tf_idf":
            missing = 0 if has_specials else start
            weights = weights_of(owner, idf_weights, len(tokens) + start, missing)
            weights = self._padded(weights)
        self._keep(tokens, weights)

    def _check(self, tokens: list[Any]) -> None:
        """Check tokens of a vocabulary; ValueError."""
        owner = self._owner()
        if len(set(tokens)) != len(tokens):
            repeated = [self._shown(each) for each, n in Counter(tokens).items() if n > 1]
            raise ValueError(
                f"{owner}: vocabulary must have each token once, got repeated {repeated[:10]}"
            )
        for name, token in (("mask", self._mask), ("OOV", self._oov if self.invert else None)):
            if token is not None and token in tokens:
                shown = [None if each is None else self._shown(each) for each in self._specials()]
                raise ValueError(
                    f"{owner}: vocabulary must have the special tokens in front, as {shown}, or "
                    f"not at all, got the {name} token {self._shown(token)!r} at "
                    f"{tokens.index(token)} of the others"
                )
        size = len(tokens) + self._token_start()
        if self.max_tokens is not None and size > self.max_tokens:
            raise ValueError(
                f"{owner}: vocabulary must have at most max_tokens={self.max_tokens} tokens, the "
                f"special ones included, got {size}"
            )

    def _padded(self, weights: Array) -> Array:
        """Weights, with zeros after them where vectors are padded."""
        size = self.max_tokens if self.pad_to_max_tokens else None
        return weights if size is None else np.pad(weights, (0, size - len(weights)))

    def _keep(self, tokens: list[Any], weights: Array | None) -> None:
        """Store the vocabulary and its weights."""
        size = len(tokens) + self._token_start()
        self._check_size(size)
        unknown = self._oov_start() if self.num_oov_indices == 1 else OUT
        masked = 0 if self.output_mode == "int" else np.iinfo(np.int64).max
        self._vocabulary = Vocabulary(tokens, self._token_start(), unknown, self._mask, masked)
        self._frozen_size = size
        if weights is not None:
            self.idf_weights = weights

    def _check_size(self, size: int) -> None:
        known = None if self.output_mode == "int" or self.pad_to_max_tokens else self._frozen_size
        if known is not None and size != known:
            raise RuntimeError(
                f"{self._owner()}: vocabulary must keep its size with output_mode="
                f"{self.output_mode!r} unless pad_to_max_tokens is set, got {size} tokens after "
                f"{known}"
            )

    # --- learning it ---

    def adapt(self, data: Any, steps: int | None = None) -> None:
        """Learn the vocabulary: tokens by frequency, the greater first of equals.

        Args:
            data: an array, list or column of tokens, or an iterable of batches of them.
            steps: how many batches are looked at, None for all.

        Raises:
            ValueError: the layer was made with a vocabulary.
        """
        learn(self, data, steps)

    def update_state(self, data: Any) -> None:
        """Count the tokens of more data.

        Args:
            data: an array or list of tokens, a document a row; one axis only is one document.
        """
        self._learn(data, documents=False)

    def _learn(self, data: Any, documents: bool) -> None:
        """Count tokens; `documents`: one axis only is one document each."""
        self._check_adapts()
        flat, shape = self._tokens_of(data, f"{self._owner()}: data")
        n = shape[0] if len(shape) > 1 or (shape and documents) else 1
        self._counts.add(flat, n)

    def learn_rows(self, tokens: Tokens) -> None:
        """Count tokens of rows of several lengths, each a document."""
        self._check_adapts()
        self._counts.add_rows(tokens)

    def _check_adapts(self) -> None:
        if self._has_input_vocabulary:
            raise ValueError(
                f"{self._owner()}: adapt() cannot learn a vocabulary, since the layer was given "
                "one: leave out vocabulary="
            )

    def finalize_state(self) -> None:
        """Set the vocabulary to the counted tokens."""
        if self._has_input_vocabulary or not self._counts.any():
            return
        start = self._token_start()
        most = None if self.max_tokens is None else max(self.max_tokens - start, 0)
        special = (self._mask, self._oov if self.num_oov_indices else None)
        tokens = self._counts.most_common(special, most)
        weights = None
        if self.output_mode == "tf_idf":
            learned = self._counts.idf_weights(tokens)
            mean = learned.mean() if len(learned) else 0.0
            weights = np.concatenate([np.full(start, mean, np.float32), learned])
            weights = self._padded(weights)
        self._keep(tokens, weights)
        self.reset_state()

    def reset_state(self) -> None:
        """Forget all counts of tokens."""
        self._counts = TokenCounts(of_documents=self.output_mode == "tf_idf")

    # --- looking up ---

    def _depth(self) -> int | None:
        return self.max_tokens if self.pad_to_max_tokens else self._frozen_size

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Shape of the input, or of its encoding."""
        return encoded_shape(tuple(input_shape), self.output_mode, self._depth())

    def known(self) -> Vocabulary:
        """Vocabulary; RuntimeError without one."""
        if self._vocabulary is None:
            raise RuntimeError(
                f"{self._owner()}: vocabulary must be known before the layer is called: call "
                "adapt() with data, or give vocabulary="
            )
        return self._vocabulary

    def _on_arrays(self, inputs: Any, training: bool | None = None) -> Array:  # type: ignore[override]
        """Indices of tokens, or vectors of them; with `invert` the tokens of indices.

        Args:
            inputs: an array or list, or a single one.
        """
        if self.invert:
            return self._inverted(inputs)
        flat, shape = self._tokens_of(inputs, f"{self._owner()}: inputs")
        return self.encoded(self.indices(flat).reshape(shape))

    def encoded(self, indices: Array) -> Array:
        """Indices in the output mode."""
        if self.output_mode == "int":
            return indices
        mode = "count" if self.output_mode == "tf_idf" else self.output_mode
        return self._weighed(encode(indices, mode, self._depth() or 0))

    def encoded_rows(self, tokens: Tokens) -> Array:
        """Vectors of rows of several lengths."""
        indices, lengths = self.indices_by_row(tokens)
        rows = np.repeat(np.arange(tokens.n), lengths)
        counts = count_by_row(rows, indices, tokens.n, self._depth() or 0)
        return self._weighed(counts > 0 if self.output_mode == "multi_hot" else counts)

    def _weighed(self, counts: Array) -> Array:
        if self.output_mode != "tf_idf":
            return counts
        assert self.idf_weights is not None
        return counts.astype(np.float32) * self.idf_weights

    def indices_by_row(self, tokens: Tokens) -> tuple[Array, Array]:
        """Index of each token, and the number of tokens in each row."""
        if tokens.widths:
            return self.known().indices_of_runs(tokens)
        found = self.indices(tokens.flat, tokens.end)
        ends = np.flatnonzero(found == ENDS)
        lengths = np.diff(ends, prepend=-1, append=len(found)) - 1
        return found[found != ENDS], lengths

    def indices(self, flat: Any, end: Any = None) -> Array:
        """The index of each token; that of none for the mask token, unless the mode is "int".

        Args:
            flat: tokens, and `end` between rows.
            end: what no token is.
        """
        indices = self.known().indices(flat, end)
        if self.num_oov_indices != 1 and (unknown := indices == OUT).any():
            which = np.flatnonzero(unknown)
            numbers = isinstance(flat, np.ndarray)
            some: Any = flat[which] if numbers else [flat[i] for i in which]
            if not self.num_oov_indices:
                shown = [self._shown(each) for each in list(some[:5])]
                raise ValueError(
                    f"{self._owner()}: inputs must all be in the vocabulary with "
                    f"num_oov_indices=0, got {shown}"
                )
            indices[which] = self._oov_places(some) + self._oov_start()
        return indices

    def _inverted(self, inputs: Any) -> Array:
        indices = as_integers(inputs, f"{self._owner()}: inputs")
        tokens, start = self.known().tokens, self._token_start()
        texts = isinstance(self.oov_token, (str, bytes))
        mask = self.oov_token if self.mask_token is None else self.mask_token
        table = np.array([*map(self._shown, tokens), self.oov_token, mask], object)
        table = table if texts else table.astype(np.int64)
        fits = (indices >= start) & (indices < start + len(tokens))
        places = np.where(fits, indices - start, len(tokens) + (indices == 0) * self._oov_start())
        found: Array = table[places]
        return found

    # --- configuration and files ---

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments as a dict; a vocabulary only if it was one of them, and no file."""
        return {
            **super().get_config(),
            "idf_weights": self.input_idf_weights,
            "vocabulary": self.input_vocabulary,
            "vocabulary_size": self._frozen_size,
        }

    def get_build_config(self) -> dict[str, Any]:
        """Empty dict: there is nothing to build."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Create a layer from the dict that `get_config` returned.

        Raises:
            ValueError: the vocabulary is a file's path: a config must not say what is read.
        """
        refuse_path(cls.__name__, config)
        return cls(**config)

    def save_own_variables(self, store: Any) -> None:
        """Save the weights of "tf_idf" to a store."""
        if self.output_mode == "tf_idf" and self.idf_weights is not None:
            store["idf_weights"] = self.idf_weights

    def load_own_variables(self, store: Any) -> None:
        """Load the weights of "tf_idf" from a store."""
        if self.output_mode == "tf_idf":
            weights = store.get("idf_weights")
            self.idf_weights = None if weights is None else np.asarray(weights, np.float32)

    def assets(self) -> dict[str, str]:
        """Vocabulary, if it is not in the config: one token a line, or as JSON."""
        if self.input_vocabulary is not None:
            return {}
        tokens = None if self._vocabulary is None else self._vocabulary.tokens
        return files_of(list(map(str, self.get_vocabulary())), tokens, self._of_lines)

    def _of_lines(self, text: str) -> list[Any]:
        """Tokens of the text of `assets`, without the special ones."""
        tokens = self._read(text.split("\n")) if text else []
        start = self._token_start()
        return tokens[start:] if tokens[:start] == self._specials() else tokens

    def load_from_assets(self, texts: Mapping[str, str]) -> None:
        """Load the text that `assets` returned."""
        if self.input_vocabulary is not None or not texts:
            return
        if (exact := texts.get(EXACT)) is None:
            tokens = self._of_lines(texts[LINES])
        else:
            tokens = exact_tokens(exact, self.vocabulary_dtype)
        if tokens or exact is not None:
            self._check(tokens)
            self._keep(tokens, None)
        shape = () if self.idf_weights is None else self.idf_weights.shape
        if self.output_mode == "tf_idf" and shape != (self._depth(),):
            raise expected(self._owner(), "idf_weights", f"{self._depth()} numbers", shape)
