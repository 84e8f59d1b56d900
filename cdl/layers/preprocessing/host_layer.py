"""HostLayer: a layer that runs in Python, ahead of the program: on texts and other keys."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cdl._common.validation import expected
from cdl._tracing.keras_tensor import KerasTensor
from cdl._variables.stepping import touched
from cdl.data import brief
from cdl.data.arrays import NoArrayError
from cdl.data.texts import array_of, decoded
from cdl.layers.arguments import Lowering, NDArray, Shape, Value
from cdl.layers.call_arguments import shapes_of
from cdl.layers.layer import Layer
from cdl.layers.preprocessing.vocabulary_files import EXACT, LINES

Array = NDArray[Any]


class HostLayer(Layer):
    """Base of layers on texts and keys, which the core cannot read.

    In a model such a layer is run in Python on what the user hands in, with all that stands between
    it and the inputs; the program begins behind it.
    """

    _runs_on_host = True
    takes_lists = True
    output_mode = "int"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Output of the layer; for a list or array at once, without a look at each element."""
        if len(args) == 1 and not kwargs and hasattr(self, "_inbound_nodes"):
            touched("a layer that runs ahead of programs is called")
            x = args[0]
            if type(x) is np.ndarray or (type(x) is list and x and isinstance(x[0], (str, bytes))):
                if type(self).call is Layer.call:
                    return self._on_arrays(x)
                args = (array_of(x, f"{type(self).__name__} {self.name!r}: inputs"),)
        return super().__call__(*args, **kwargs)

    def lower(self, program: Lowering, x: Value) -> Value:
        """Refuse to lower: the core cannot run the layer.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            f"{type(self).__name__} {self.name!r}: inputs must come from an Input by layers "
            "without weights alone: such a layer runs in Python, ahead of the compiled program"
        )

    def _dtype_of_output(self) -> str:
        if getattr(self, "invert", False):  # tokens of indices
            return str(self.dtype)
        return "int64" if self.output_mode == "int" else "float32"

    def compute_output_spec(self, inputs: Any, **kwargs: Any) -> KerasTensor:
        shape = self.compute_output_shape(shapes_of(inputs))
        return KerasTensor(shape, self._dtype_of_output())

    @property
    def compute_dtype(self) -> str:
        """Dtype of its inputs, as in Keras: "string", "int64" or "float32"."""
        return str(self.dtype)

    @property
    def variable_dtype(self) -> str:
        return str(self.dtype)

    def check_input(self, shape: Any) -> None:
        """Do nothing: errors are found in the data."""


class VocabularyLayer(HostLayer):
    """Layer with a vocabulary, a text file beside the weights in a `.keras` file.

    Args:
        max_tokens: the most tokens of the vocabulary, special ones included; None for any number.
        vocabulary: the tokens as a list or array, or the path of a file with one a line; None if
            they are to be learned.
        idf_weights: for "tf_idf" a number for each token of `vocabulary`.
        pad_to_max_tokens: whether vectors have `max_tokens` elements in any case.
        sparse: not supported.
        encoding: of texts that are bytes: a str is the same text as its bytes in that encoding.

    Attributes:
        _assets: the names that this file may have, of which it has one.
    """

    _assets = (LINES, EXACT)

    _inner: tuple[str, ...] = ("assets", "load_from_assets")

    def assets(self) -> dict[str, str]:
        """Contents of text files, by name."""
        return {}

    def load_from_assets(self, texts: Mapping[str, str]) -> None:
        """Load the contents that `assets` returned."""

    def save_assets(self, dir_path: str | os.PathLike[str]) -> None:
        """Write the vocabulary, if it is not in the config, to a file of text in a folder.

        It is `vocabulary.txt` with one token a line, or `vocabulary.json` where a line does not do.
        """
        texts = self.assets()
        for name in self._assets if texts else ():
            Path(dir_path, name).unlink(missing_ok=True)
        for name, text in texts.items():
            Path(dir_path, name).write_bytes(text.encode("utf-8"))

    def load_assets(self, dir_path: str | os.PathLike[str]) -> None:
        """Load the vocabulary, if it is not in the config, from the files of `save_assets`.

        Raises:
            FileNotFoundError: there is no such file in the folder.
        """
        if not self.assets():  # it is in the config
            return
        paths = [path for name in self._assets if (path := Path(dir_path, name)).exists()]
        if not paths:
            raise FileNotFoundError(
                f"load_assets: {' or '.join(self._assets)} must be in {os.fspath(dir_path)!r}"
            )
        self.load_from_assets({path.name: decoded(path.read_bytes()) for path in paths})


def encoded_shape(shape: Shape, mode: str, depth: int | None) -> Shape:
    """Shape of `encode`'s result for an array of that shape; batch axis included."""
    if mode == "int":
        return shape
    if mode == "one_hot" and not (len(shape) > 1 and shape[-1] == 1):
        return (*shape, depth)
    return (*shape[:-1], depth)


def encode(indices: Array, mode: str, depth: int, dtype: Any = np.int64) -> Array:
    """Indices as vectors: one each, or with "multi_hot" and "count" one for all of axis 1.

    What lies outside of 0 ... depth - 1 leaves no mark.

    Args:
        indices: integers.
        mode: "one_hot", "multi_hot" or "count".
        depth: how long a vector is.
        dtype: of the result.
    """
    indices = np.atleast_1d(indices)
    if mode == "one_hot":
        if indices.ndim > 1 and indices.shape[-1] == 1:
            indices = indices[..., 0]
        shape, rows = indices.shape, np.arange(indices.size)
    else:
        indices = np.moveaxis(indices, 1, -1) if indices.ndim > 2 else indices
        shape = indices.shape[:-1]
        n = int(np.prod(shape, dtype=np.int64))
        rows = np.repeat(np.arange(n), indices.shape[-1])
    counts = count_by_row(rows, indices.ravel(), int(np.prod(shape, dtype=np.int64)), depth)
    if mode != "count":
        counts = counts > 0
    return counts.astype(dtype).reshape(*shape, depth)


def count_by_row(rows: Array, indices: Array, n: int, depth: int) -> Array:
    """Counts of each index from 0 to depth - 1 in each of n rows."""
    fits = (indices >= 0) & (indices < depth)
    places = rows[fits] * depth + indices[fits]
    return np.bincount(places, minlength=n * depth).reshape(n, depth)


def as_integers(value: Any, name: str) -> Array:
    """Array of int64; floats must be whole numbers."""
    single = isinstance(value, (int, float, str, bytes, np.generic))
    array = np.asarray(value) if single else array_of(value, name)
    if array.dtype.kind == "O" and array.size:
        try:
            array = np.array(array.tolist())
        except ValueError:
            raise ValueError(f"{name} must have rows of one length") from None
        if array.dtype.kind == "O" and isinstance(array.flat[0], int):
            raise ValueError(f"{name} must be within int64, got {max(array.flat, key=abs)}")
    if array.size and array.dtype.kind not in "biuf":
        raise NoArrayError(f"{name} must hold whole numbers, got {brief(array.flat[0])}")
    if array.dtype.kind == "f" and not (np.isfinite(array) & (array == np.trunc(array))).all():
        raise ValueError(f"{name} must hold whole numbers, got fractions, NaN or infinity")
    if array.dtype.kind == "f" or array.dtype == np.uint64:
        beyond = (
            (array >= 2.0**63) | (array < -(2.0**63))
            if array.dtype.kind == "f"
            else (array > np.uint64(2**63 - 1))
        )
        if beyond.any():
            raise ValueError(f"{name} must be within int64, got {array[beyond].flat[0]}")
    return array.astype(np.int64)


def checked_salt(owner: str, salt: Any) -> list[int] | None:
    """Key of a hash: two numbers, of which one int stands for both."""
    if salt is None:
        return None
    pair = [salt, salt] if isinstance(salt, (int, np.integer)) else salt
    if (
        not isinstance(pair, (tuple, list))
        or len(pair) != 2
        or not all(isinstance(each, (int, np.integer)) for each in pair)
    ):
        raise expected(owner, "salt", "an int or a tuple of 2 ints", salt)
    return [int(each) for each in pair]
