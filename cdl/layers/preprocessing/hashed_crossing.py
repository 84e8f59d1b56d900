"""HashedCrossing: hashed combinations of features."""

from __future__ import annotations

from typing import Any

import numpy as np

from cdl._common.validation import expected, not_recognized, not_yet, one_of, positive_int
from cdl.data import brief
from cdl.layers.layer import registry
from cdl.layers.preprocessing.fingerprints import crossed, fingerprints
from cdl.layers.preprocessing.hashing import as_keys, dtype_of_bins
from cdl.layers.preprocessing.host_layer import HostLayer, encode, encoded_shape


@registry.add()
class HashedCrossing(HostLayer):
    """Hashed feature crossing: the bin of several features together, as in TensorFlow.

    It is called on a list of arrays of one shape, ``(n,)`` or ``(n, 1)``, of texts or ints.

    Args:
        num_bins: how many bins there are.
        output_mode: "int", the bin, or "one_hot", a vector for each.
        sparse: not supported.
        dtype: "int64", which None means, or "int32" with output_mode "int", else "float32".
        kwargs: `trainable`, which is without a meaning here.

    Raises:
        ValueError: a wrong argument.
    """

    def __init__(
        self,
        num_bins: int,
        output_mode: str = "int",
        sparse: bool = False,
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        kwargs.pop("trainable", None)
        if kwargs:
            raise not_recognized(type(self), kwargs)
        super().__init__(name=name)
        owner = "HashedCrossing"
        not_yet(owner, sparse=(sparse, False))
        self.output_mode: str = one_of(owner, "output_mode", output_mode, ("int", "one_hot"))
        self.num_bins = positive_int(owner, "num_bins", num_bins)
        self.sparse = False
        self._told_dtype = dtype_of_bins(owner, dtype, output_mode)

    def _dtype_of_output(self) -> str:
        return self.dtype

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of one input, or that of its encoding; ValueError for fewer than two inputs."""
        several = isinstance(input_shape, (list, tuple)) and len(input_shape) > 1
        if not several or not all(isinstance(each, (list, tuple)) for each in input_shape):
            raise expected(
                self._owner(), "input_shape", "a list of two shapes or more", input_shape
            )
        shapes = [tuple(each) for each in input_shape]
        if any(each[1:] != shapes[0][1:] for each in shapes):
            raise expected(self._owner(), "input_shape", "a list of equal shapes", input_shape)
        return encoded_shape(shapes[0], self.output_mode, self.num_bins)

    def _owner(self) -> str:
        return f"HashedCrossing {self.name!r}"

    def _on_arrays(self, inputs: Any, training: bool | None = None) -> Any:  # type: ignore[override]
        """Bins of the features of each sample.

        Args:
            inputs: a list of two arrays or more, of one shape; `()` for a single sample.
        """
        owner = self._owner()
        if not isinstance(inputs, (list, tuple)) or len(inputs) < 2:
            got = f"{len(inputs)} of them" if isinstance(inputs, (list, tuple)) else brief(inputs)
            raise ValueError(f"{owner}: inputs must be a list of two arrays or more, got {got}")
        columns, shapes = [], []
        for i, each in enumerate(inputs):
            texts, shape, numbers = as_keys(each, f"{owner}: inputs[{i}]")
            if numbers is not None and numbers.dtype.kind not in "iu":
                raise ValueError(
                    f"{owner}: inputs[{i}] must hold integers or strings, got dtype {numbers.dtype}"
                )
            shapes.append(shape)
            if numbers is None:
                columns.append(fingerprints(texts))
            else:
                columns.append(numbers.ravel().astype(np.int64).view(np.uint64))
        shape = shapes[0]
        if len(shape) > 2 or (len(shape) == 2 and shape[1] != 1):
            raise ValueError(f"{owner}: inputs must have shape (), (n,) or (n, 1), got {shape}")
        if any(each != shape for each in shapes):
            raise ValueError(f"{owner}: inputs must have equal shapes, got {shapes}")
        bins = (crossed(columns) % np.uint64(self.num_bins)).astype(np.int64).reshape(shape)
        if self.output_mode == "int":
            return bins.astype(self.dtype)
        return encode(bins, "one_hot", self.num_bins, self.dtype)

    def get_config(self) -> dict[str, Any]:
        return {
            "num_bins": self.num_bins,
            "output_mode": self.output_mode,
            "sparse": False,
            "name": self.name,
            "dtype": self.dtype,
        }
