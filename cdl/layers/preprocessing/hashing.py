"""Hashing: texts and integers as bin indices."""

from __future__ import annotations

from typing import Any

import numpy as np

from cdl._common.validation import expected, not_yet, one_of, positive_int
from cdl.data import as_numeric
from cdl.data.arrays import NoArrayError
from cdl.data.texts import array_of, as_texts, encoded
from cdl.layers.arguments import LayerArguments, NDArray, Shape, Unpack
from cdl.layers.layer import registry
from cdl.layers.preprocessing.fingerprints import bins_of
from cdl.layers.preprocessing.host_layer import HostLayer, checked_salt, encode, encoded_shape


@registry.add()
class Hashing(HostLayer):
    """Feature hashing: the bin of each text or integer by FarmHash64, or SipHash with a salt.

    Numbers are hashed as their decimal texts, after floats have lost their fractions; so a hash
    is the same on every machine, and the same as TensorFlow's.

    Args:
        num_bins: how many bins there are, that of `mask_value` included.
        mask_value: what is put into bin 0, which nothing else is then; a text or a number, as the
            inputs are. None: nothing is.
        salt: an int or two of them, the key of SipHash; None for FarmHash64.
        output_mode: "int", the bin; "one_hot", "multi_hot", "count": vectors of bins, as of
            `CategoryEncoding`.
        sparse: not supported.
        kwargs: see `Layer`; `dtype` is "int64", which None means, or "int32" with output_mode
            "int", else "float32".

    Raises:
        ValueError: a wrong argument.
    """

    def __init__(
        self,
        num_bins: int,
        mask_value: Any = None,
        salt: Any = None,
        output_mode: str = "int",
        sparse: bool = False,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        dtype = kwargs.pop("dtype", None)
        super().__init__(**kwargs)
        modes = ("int", "one_hot", "multi_hot", "count")
        self.num_bins = positive_int("Hashing", "num_bins", num_bins)
        self.output_mode: str = one_of("Hashing", "output_mode", output_mode, modes)
        not_yet("Hashing", sparse=(sparse, False))
        self.sparse = False
        self._told_dtype = dtype_of_bins("Hashing", dtype, output_mode)
        self.mask_value = mask_value
        self.salt = checked_salt("Hashing", salt)

    def _dtype_of_output(self) -> str:
        return self.dtype

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Shape of the input, or of its encoding."""
        return encoded_shape(tuple(input_shape), self.output_mode, self.num_bins)

    def _on_arrays(self, inputs: Any, training: bool | None = None) -> Any:  # type: ignore[override]
        """Bins of texts or numbers.

        Args:
            inputs: an array or list of texts, ints or floats, or a single one.
        """
        name = f"Hashing {self.name!r}: inputs"
        texts, shape, numbers = as_keys(inputs, name)
        bins = self.num_bins
        masked = None
        if self.mask_value is not None and bins > 1:
            bins -= 1
            mask: Any = self.mask_value
            if isinstance(mask, (str, bytes)) != (numbers is None):
                kind = "a number" if numbers is not None else "a string"
                raise NoArrayError(
                    f"Hashing {self.name!r}: mask_value must be {kind}, as the inputs are, "
                    f"got {mask!r}"
                )
            if numbers is None:
                mask = encoded(mask)
                masked = np.fromiter((each == mask for each in texts), bool, len(texts))
            else:
                masked = numbers.ravel() == mask
        indices = bins_of(texts, self.salt, bins)
        if masked is not None:
            indices = np.where(masked, 0, indices + 1)
        indices = indices.reshape(shape)
        if self.output_mode == "int":
            return indices.astype(self.dtype)
        return encode(indices, self.output_mode, self.num_bins, self.dtype)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config["dtype"] = {**config["dtype"], "config": {"name": self.dtype}}
        return config


def as_keys(value: Any, name: str) -> tuple[list[bytes], tuple[int, ...], Any]:
    """Texts to hash, their shape, and the numbers whose texts they are, or None.

    Args:
        value: an array or list of texts or numbers, or a single one.
    """
    array = value
    if isinstance(value, (int, float, np.generic)) and not isinstance(value, (str, bytes)):
        array = np.asarray(value)
    elif not isinstance(value, (str, bytes)):
        array = array_of(value, name)
        if array.dtype.kind == "O" and array.size and not isinstance(array.flat[0], (str, bytes)):
            array = as_numeric(np.array(array.tolist()), name) if array.ndim else array
    if isinstance(array, (str, bytes)) or array.dtype.kind in "OUST":
        texts, shape = as_texts(array, name)
        return texts, shape, None
    if array.dtype.kind not in "biuf":
        raise NoArrayError(f"{name} must hold strings or numbers, got dtype {array.dtype}")
    if array.dtype.kind == "b":
        return [b"true" if each else b"false" for each in array.flat], array.shape, array
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise ValueError(f"{name} must hold finite numbers, got NaN or infinity")
        return decimals(array.astype(np.int64)), array.shape, array
    return decimals(array), array.shape, array


def decimals(numbers: NDArray[Any]) -> list[bytes]:
    """Decimal texts of integers."""
    return numbers.astype("S20").ravel().tolist() if numbers.size else []


def dtype_of_bins(owner: str, dtype: Any, mode: str) -> str:
    """Output dtype of a layer of bin indices, or vectors of them; in any spelling."""
    allowed = ("int64", "int32") if mode == "int" else ("float32",)
    name = dtype
    if isinstance(dtype, dict):
        name = dtype.get("config", {}).get("name")
    elif dtype is not None and not isinstance(dtype, str):
        name = getattr(dtype, "name", None) or np.dtype(dtype).name
    name = allowed[0] if name is None else name
    if name not in allowed:
        what = " or ".join(map(repr, allowed))
        raise expected(owner, "dtype", f"{what} with output_mode={mode!r}", dtype)
    return str(name)
