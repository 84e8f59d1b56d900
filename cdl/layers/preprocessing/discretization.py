"""Discretization: numbers as bin indices."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from cdl._common.validation import expected, not_yet, number, one_of, whole
from cdl._tracing.variable import Variable
from cdl.layers import rules
from cdl.layers.arguments import Lowering, NDArray, Self, Shape, Value
from cdl.layers.layer import Layer, registry
from cdl.layers.preprocessing.category_encoding import encoded, encoded_shape
from cdl.layers.preprocessing.missing import Missing

Array = NDArray[Any]


@registry.add()
class Discretization(Layer):
    """Discretization into bins: 0 below the first boundary, 1 from it on, and so on.

    Args:
        bin_boundaries: ascending numbers, of which a bin contains its lower one; or
        num_bins: how many bins `adapt` makes of the quantiles of data.
        epsilon: how exact those quantiles are: of so large a part of the data each.
        output_mode: "int", the number of the bin; "one_hot", "multi_hot", "count": vectors of them,
            as of `CategoryEncoding`.
        sparse: not supported.
        dtype: "float32", which is also what None means.

    Raises:
        ValueError: neither or both of `bin_boundaries` and `num_bins`, or another wrong argument.
    """

    takes_lists = True

    _in_float32 = True  # boundaries and numbers of bins are not to be rounded

    def __init__(
        self,
        bin_boundaries: Any = None,
        num_bins: int | None = None,
        epsilon: float = 0.01,
        output_mode: str = "int",
        sparse: bool = False,
        dtype: Any = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        owner, modes = "Discretization", ("int", "one_hot", "multi_hot", "count")
        if num_bins is not None and whole(owner, "num_bins", num_bins) < 0:
            raise expected(owner, "num_bins", "an int >= 0", num_bins)
        if (num_bins is None) == (bin_boundaries is None):
            raise ValueError(
                f"{owner}: one of num_bins and bin_boundaries must be given, got "
                f"num_bins={num_bins}, bin_boundaries={bin_boundaries}"
            )
        self.output_mode: str = one_of(owner, "output_mode", output_mode, modes)
        self.epsilon = number(owner, "epsilon", epsilon, above=0.0)
        not_yet(owner, sparse=(sparse, False))
        self.sparse = False
        self.num_bins = num_bins
        self.bin_boundaries = bin_boundaries
        if bin_boundaries is not None and (np.diff(self._boundaries()) < 0).any():
            raise expected(owner, "bin_boundaries", "ascending numbers", bin_boundaries)
        self.summary: Array | None = None  # of the data that `adapt` saw: values and their weights
        self.reset_state()

    def _boundaries(self) -> Array:
        if self.bin_boundaries is None:
            raise ValueError(
                f"Discretization {self.name!r}: the layer must be given bin_boundaries, or see "
                "data by adapt(), before it is used"
            )
        return np.asarray(self.bin_boundaries, np.float32).reshape(-1)

    @property
    def _bins(self) -> int:
        if self.bin_boundaries is None:
            assert self.num_bins is not None
            return self.num_bins
        return len(self._boundaries()) + 1

    def adapt(self, data: Any, steps: int | None = None) -> None:
        """Learn boundaries, the quantiles of data, and forget earlier ones.

        NaN is left out, with a warning that says how many there are.

        Args:
            data: an array, or an iterable of batches.
            steps: how many batches are looked at, None for all.

        Raises:
            ValueError: the layer was given its boundaries, or the data are no finite numbers.
        """
        if self.num_bins is None:
            raise ValueError(
                f"Discretization {self.name!r}: adapt() needs a layer with num_bins, not one that "
                "was given bin_boundaries"
            )
        self.reset_state()
        single = isinstance(data, (list, tuple)) and bool(data) and np.ndim(data[0]) == 0
        if single or hasattr(data, "__array__") or not isinstance(data, Iterable):
            self.update_state(data)
        else:
            for i, batch in enumerate(data):
                if steps is not None and i >= steps:
                    break
                self.update_state(batch)
        self.finalize_state()

    def update_state(self, data: Any) -> None:
        """Add data to the summary of quantiles."""
        assert self.summary is not None
        values = self._missing.read(data).ravel()
        if values.dtype.kind == "f":
            values = values[~np.isnan(values)]
        merged = np.concatenate((_summary(values, self.epsilon), self.summary), axis=1)
        self.summary = _shortened(merged[:, np.argsort(merged[0])], self.epsilon)

    def finalize_state(self) -> None:
        """Set the boundaries to the quantiles of the data seen."""
        if self.num_bins is not None and self.summary is not None and self.summary.size:
            self.bin_boundaries = _shortened(self.summary, 1.0 / self.num_bins)[0, :-1].tolist()
        elif self._missing.any():
            raise ValueError(
                f"Discretization {self.name!r}: adapt: data must hold numbers, got no number"
            )
        self._missing.tell()

    def reset_state(self) -> None:
        """Forget the data seen."""
        self._missing = Missing(
            f"Discretization {self.name!r}: adapt", "they fall into the last bin"
        )
        if self.num_bins is not None:
            self.summary = np.zeros((2, 0), np.float32)

    def _output_dtype(self) -> str | None:
        """None for bin indices, which are not rounded to 16 bits."""
        return None if self.output_mode == "int" else super()._output_dtype()

    def lower(self, program: Lowering, x: Value) -> Value:
        """Append the search for the bin, then its encoding."""
        values = self._boundaries()
        boundaries = None
        if len(values):
            boundaries = Variable(values.shape, lambda shape: values, name="boundaries")
            boundaries.trainable = False
        bins = program.emit("bucketize", (x,), x.shape, (boundaries,))
        if self.output_mode == "int":
            return bins
        return encoded(program, bins, self.output_mode, self._bins)

    def _on_arrays(self, inputs: Any, training: bool | None = False, mask: Any = None) -> Array:
        """Bins of an array or a list of numbers.

        Args:
            inputs: numbers; if they have one axis only, "multi_hot" and "count" take it for one
                sample.
            mask: None.
        """
        if np.ndim(inputs) == 1 and self.output_mode in ("multi_hot", "count"):
            y: Array = super()._on_arrays(np.asarray(inputs)[None])[0]
            return y
        return super()._on_arrays(inputs, training, mask)

    def _run(self, arrays: list[Array], training: bool) -> Any:
        y = super()._run(arrays, training)
        return y.astype(np.int32) if self.output_mode == "int" else y

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Shape of the input, or of its encoding."""
        shape = tuple(input_shape)
        return (
            shape
            if self.output_mode == "int"
            else encoded_shape(shape, self.output_mode, self._bins)
        )

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments as a dict; the boundaries also if they are learned."""
        return rules.config(self, "bin_boundaries num_bins epsilon output_mode sparse name dtype")

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        both = config.get("bin_boundaries") is not None and config.get("num_bins") is not None
        layer = cls(**{**config, "bin_boundaries": None} if both else config)
        if both:
            layer.bin_boundaries = config["bin_boundaries"]
        return layer


def _summary(values: Array, epsilon: float) -> Array:
    """Weighted sample of the sorted values (a quantile sketch)."""
    ordered = np.sort(values.astype(np.float32), axis=None)
    step = max(ordered.size * epsilon, 1)
    kept = ordered[int(step - 1) :: int(step)]
    return np.stack([kept, np.full_like(kept, step)])


def _shortened(summary: Array, epsilon: float) -> Array:
    """Summary of about 1 / epsilon values, of equal weight; itself if it is short."""
    if summary.shape[1] * epsilon < 1:
        return summary
    parts = epsilon + np.arange(0.0, 1.0, epsilon)
    weights = summary[1].cumsum()
    found = weights / weights[-1]
    upto = np.interp(parts, found, weights)
    return np.stack([np.interp(parts, found, summary[0]), np.diff(upto, prepend=0.0)]).astype(
        np.float32
    )
