"""StringLookup: texts as indices of a vocabulary."""

from __future__ import annotations

from typing import Any

from cdl._common.validation import expected, given
from cdl.data.texts import as_texts, decoded, encoded, known_encoding
from cdl.layers.layer import registry
from cdl.layers.preprocessing.fingerprints import bins_of
from cdl.layers.preprocessing.index_lookup import IndexLookup


@registry.add()
class StringLookup(IndexLookup):
    """Vocabulary of texts, learned by `adapt` or given: the index of each.

    Args:
        num_oov_indices: how many indices are for texts that are not in it: of several a hash
            chooses one; with 0 such a text is an error.
        mask_token: the text that is 0 with output_mode "int", and leaves no mark with others; None
            for none.
        oov_token: what the indices of unknown texts are called.
        invert: whether it makes texts of indices instead: an array of str.
        output_mode: "int", the index; "one_hot", a vector for each text, after a last axis of size
            1 is dropped; "multi_hot", a vector for each row, with 1 for each token in it; "count",
            the same with how often it is; "tf_idf", the same times `log(1 + n / (1 + rows with
            it))`.
        salt: an int or two of them: unknown texts are then hashed by SipHash with that key, else
            by FarmHash64.

    Indices are int64, as are the vectors but for "tf_idf".

    Raises:
        ValueError: a wrong argument.
    """

    def __init__(
        self,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        mask_token: str | None = None,
        oov_token: str = "[UNK]",
        vocabulary: Any = None,
        idf_weights: Any = None,
        invert: bool = False,
        output_mode: str = "int",
        pad_to_max_tokens: bool = False,
        sparse: bool = False,
        encoding: str = "utf-8",
        name: str | None = None,
        salt: Any = None,
        **kwargs: Any,
    ) -> None:
        self.encoding = known_encoding(self._kind(), encoding)
        kwargs.setdefault("oov_method", "floormod")
        super().__init__(**given(locals(), "encoding"))

    def _token(self, value: Any, name: str) -> bytes:
        if not isinstance(value, (str, bytes)):
            raise expected(self._kind(), name, "a string or None", value)
        return encoded(value, self.encoding)

    def _tokens_of(self, values: Any, name: str) -> tuple[list[bytes], tuple[int, ...]]:
        return as_texts(values, name, self.encoding)

    def _shown(self, token: bytes) -> str:
        return decoded(token, self.encoding)

    def _read(self, lines: list[str]) -> list[bytes]:
        return [encoded(line, self.encoding) for line in lines]

    def _oov_places(self, tokens: Any) -> Any:
        return bins_of(tokens, self.salt, self.num_oov_indices)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        if config["vocabulary"] is not None:
            config["vocabulary"] = list(map(self._text, config["vocabulary"]))
        special = {name: self._text(config[name]) for name in ("oov_token", "mask_token")}
        return {**config, **special, "encoding": self.encoding}

    def _text(self, token: Any) -> Any:
        """Token given as bytes, as the text of a config."""
        return decoded(token, self.encoding) if isinstance(token, bytes) else token
