"""IntegerLookup: integers as indices of a vocabulary."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl._common.validation import expected, given, whole
from cdl.layers.layer import registry
from cdl.layers.preprocessing.fingerprints import bins_of
from cdl.layers.preprocessing.hashing import decimals
from cdl.layers.preprocessing.host_layer import as_integers
from cdl.layers.preprocessing.index_lookup import IndexLookup


@registry.add()
class IntegerLookup(IndexLookup):
    """Vocabulary of integers, learned by `adapt` or given: the index of each.

    Args:
        num_oov_indices: how many indices are for numbers that are not in the vocabulary; with 0
            such a number is an error.
        mask_token: the number that is 0 with output_mode "int", and leaves no mark with others.
        oov_token: the number that indices of unknown ones become with `invert`.
        vocabulary_dtype: "int64".
        invert: whether it makes numbers of indices instead.
        output_mode: "int", "one_hot", "multi_hot", "count" or "tf_idf".
        oov_method: which of several indices an unknown number has: "floormod", the remainder;
            "farmhash", a hash of its decimal text.
        salt: an int or two of them, with "farmhash": the key of SipHash.

    Raises:
        ValueError: a wrong argument.
    """

    vocabulary_dtype = "int64"

    def __init__(
        self,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        mask_token: int | None = None,
        oov_token: int = -1,
        vocabulary: Any = None,
        vocabulary_dtype: str = "int64",
        idf_weights: Any = None,
        invert: bool = False,
        output_mode: str = "int",
        sparse: bool = False,
        pad_to_max_tokens: bool = False,
        oov_method: str = "floormod",
        salt: Any = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        if vocabulary_dtype != "int64":
            raise expected("IntegerLookup", "vocabulary_dtype", "'int64'", vocabulary_dtype)
        if salt is not None and oov_method != "farmhash":
            raise ValueError(
                "IntegerLookup: salt must be None unless oov_method is 'farmhash', got "
                f"{salt!r} with oov_method={oov_method!r}"
            )
        super().__init__(**given(locals(), "vocabulary_dtype"))

    def _token(self, value: Any, name: str) -> int:
        return whole(self._kind(), name, value)

    def _tokens_of(self, values: Any, name: str) -> tuple[NDArray[Any], tuple[int, ...]]:
        array = as_integers(values, name)
        return array.ravel(), array.shape

    def _shown(self, token: Any) -> int:
        return int(token)

    def _read(self, lines: list[str]) -> list[int]:
        try:
            return [int(line) for line in lines if line.strip()]
        except ValueError as error:
            raise ValueError(
                f"{self._owner()}: vocabulary must hold whole numbers: {error}"
            ) from None

    def _oov_places(self, tokens: Any) -> Any:
        numbers = np.asarray(tokens, np.int64)
        if self.oov_method == "floormod":
            return numbers % self.num_oov_indices
        return bins_of(decimals(numbers), self.salt, self.num_oov_indices)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        if config["vocabulary"] is not None:
            config["vocabulary"] = list(map(int, config["vocabulary"]))
        tokens = {name: config[name] for name in ("oov_token", "mask_token")}
        tokens = {name: None if each is None else int(each) for name, each in tokens.items()}
        return {**config, **tokens, "vocabulary_dtype": "int64"}
