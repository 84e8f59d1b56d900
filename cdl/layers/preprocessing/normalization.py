"""Normalization: features scaled to mean 0 and variance 1 of data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from cdl._common.validation import axes, flag
from cdl._tracing.variable import Variable
from cdl.layers.arguments import LayerArguments, Lowering, NDArray, Shape, Unpack, Value
from cdl.layers.axes import along
from cdl.layers.layer import registry
from cdl.layers.preprocessing.missing import Missing
from cdl.layers.same_shape import SameShape
from cdl.layers.shapes import axes_within, sizes_of


@registry.add()
class Normalization(SameShape):
    """Feature normalization ``(x - mean) / max(sqrt(variance), 1e-7)``, by statistics of data.

    Args:
        axis: the axis (or axes) whose elements have a mean each; all others are averaged over. None
            for one mean of everything.
        mean: given instead of learned by `adapt`: a number, or an array that broadcasts to the
            sizes of `axis`.
        variance: likewise; both or neither.
        invert: whether the map goes the other way: ``x * max(sqrt(variance), 1e-7) + mean``.

    Weights, unless mean and variance are given: mean, variance, count, none of which is trained.

    Raises:
        ValueError: only one of mean and variance is given, or their shapes do not fit.
    """

    takes_lists = True

    def __init__(
        self,
        axis: int | Sequence[int] = -1,
        mean: Any = None,
        variance: Any = None,
        invert: bool = False,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        given = () if axis is None else axes("Normalization", "axis", axis)
        self.axis: tuple[int, ...] = given if isinstance(given, tuple) else (given,)
        self.invert = flag("Normalization", "invert", invert)
        self.input_mean = mean
        self.input_variance = variance
        self.mean: NDArray[np.float32] | None = None
        self.variance: NDArray[np.float32] | None = None
        self._sizes: tuple[int, ...] = ()  # of the axes that are kept
        if (mean is None) != (variance is None):
            raise ValueError(
                "Normalization: mean and variance must be given both or not at all, got "
                f"mean={mean}, variance={variance}"
            )
        if mean is not None and np.shape(mean) != np.shape(variance):
            raise ValueError(
                "Normalization: mean and variance must have the same shape, got "
                f"{np.shape(mean)} and {np.shape(variance)}"
            )
        if mean is not None and np.ndim(mean) > len(self.axis):
            raise ValueError(
                f"Normalization: mean must have at most the {len(self.axis)} axes that axis names, "
                f"got shape {np.shape(mean)}"
            )

    def build(self, input_shape: Shape) -> None:
        """Create the statistics of inputs with those sizes of the kept axes."""
        owner, shape = f"Normalization {self.name!r}", tuple(input_shape)
        axes = axes_within(owner, self.axis, shape)
        if 0 in axes:
            raise ValueError(f"{owner}: axis must not be the axis of the samples, got {self.axis}")
        self._sizes = sizes_of(owner, axes, shape)
        if self.input_mean is None:
            kept: dict[str, Any] = {"trainable": False, "matrix": False}
            self._mean = self.add_weight(self._sizes, "zeros", name="mean", **kept)
            self._variance = self.add_weight(self._sizes, "ones", name="variance", **kept)
            self.add_weight((), "zeros", name="count", trainable=False)
        else:
            self._mean = self._constant("mean", self.input_mean)
            self._variance = self._constant("variance", self.input_variance)
        super().build(input_shape)
        self.finalize_state()

    def _constant(self, name: str, given: Any) -> Variable:
        try:
            values = np.broadcast_to(np.asarray(given, np.float32), self._sizes)
        except ValueError:
            raise ValueError(
                f"Normalization {self.name!r}: {name} must broadcast to the sizes {self._sizes} of "
                f"axis {self.axis}, got shape {np.shape(given)}"
            ) from None
        return Variable(self._sizes, lambda shape: values, name=name, trainable=False)

    def adapt(self, data: Any) -> None:
        """Learn mean and variance of data, and forget those of earlier data.

        NaN is left out, with a warning that says in which columns, as scikit-learn's scalers do.

        Args:
            data: an array whose first axis are the samples, or an iterable of such batches; of a
                batch that is a tuple the first element counts.

        Raises:
            ValueError: the layer was given its mean, the data are empty, infinite or all missing,
                or their shape does not fit.
        """
        moments = Moments(self)
        for batch in batches_of(data, f"Normalization {self.name!r}: adapt"):
            moments.add(batch)
        moments.finish()

    def finalize_state(self) -> None:
        """Update `mean` and `variance` from the weights."""
        if self.built:
            shape = self._build_shape or ()
            kept = axes_within(self.name, self.axis, shape)
            wide = tuple(shape[a] or 1 if a in kept else 1 for a in range(len(shape)))
            self.mean = self._mean.numpy().reshape(wide)
            self.variance = self._variance.numpy().reshape(wide)

    def lower(self, program: Lowering, x: Value) -> Value:
        """Append the map of lines that have an element for each mean."""
        kept = axes_within(self.name, self.axis, (None, *x.shape))
        params, invert = (self._mean, self._variance), int(self.invert)

        def emit(lines: Value) -> Value:
            return program.emit("feature_norm", (lines,), lines.shape, params, invert=invert)

        return along(program, x, kept, emit)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments as a dict; learned statistics are in the weights."""
        return {
            **super().get_config(),
            "mean": np.array(self.input_mean).tolist(),
            "variance": np.array(self.input_variance).tolist(),
        }


class Moments:
    """Running mean and variance of data in batches.

    Args:
        layer: which has them when all is told.
        fills: whether what uses the layer puts something in the place of missing values.

    Raises:
        ValueError: the layer was given its mean.
    """

    def __init__(self, layer: Normalization, fills: bool = False) -> None:
        self._layer, self._owner = layer, f"Normalization {layer.name!r}: adapt"
        if layer.input_mean is not None:
            raise ValueError(f"{self._owner} needs a layer that was not given a mean")
        self._missing = Missing(self._owner, "" if fills else "they stay NaN")
        self._count, self._mean, self._variance = (np.zeros(()) for _ in range(3))

    def add(self, batch: Any) -> None:
        """Add a batch to the moments."""
        layer, x = self._layer, self._missing.read(batch)
        shape = (None, *x.shape[1:])
        layer.check_input(shape)
        if not layer.built:
            layer.build(shape)
        kept = axes_within(self._owner, layer.axis, shape)
        if sizes_of(self._owner, kept, shape) != layer._sizes:
            raise ValueError(
                f"{self._owner}: data must have sizes {layer._sizes} along axis {layer.axis}, "
                f"got shape {x.shape}"
            )
        over = tuple(axis for axis in range(x.ndim) if axis not in kept)
        if not math.prod(x.shape[axis] for axis in over):
            return
        there: Any = ~np.isnan(x) if x.dtype.kind == "f" and np.isnan(x).any() else True
        n = np.broadcast_to(there, x.shape).sum(over, dtype=np.float64)
        few = np.maximum(n, 1)
        # Means and squares of two parts make those of the whole (Chan, Golub, LeVeque, 1979).
        self._count = self._count + n
        part = n / np.maximum(self._count, 1)
        mean = x.sum(over, dtype=np.float64, where=there) / few
        wide = np.expand_dims(mean, over)
        squares = np.square(x - wide, dtype=np.float64).sum(over, where=there) / few
        step = mean - self._mean
        self._mean = self._mean + step * part
        self._variance = (1 - part) * (self._variance + part * step**2) + part * squares

    def finish(self) -> None:
        """Load the moments into the layer."""
        if not np.any(self._count):
            raise ValueError(f"{self._owner}: data must have at least one sample, got none")
        if not np.all(self._count):
            places = np.flatnonzero(np.ravel(self._count) == 0).tolist()
            raise ValueError(
                f"{self._owner}: data must have a value in each column, got only missing ones "
                f"(NaN) in {places}"
            )
        self._missing.tell()
        self._layer._mean.assign(self._mean)
        self._layer._variance.assign(self._variance)
        self._layer.finalize_state()


def batches_of(data: Any, owner: str) -> Iterator[Any]:
    """Batches of data: the array itself, or the items of an iterable."""
    if hasattr(data, "__array__"):
        yield data
        return
    if isinstance(data, str) or not (isinstance(data, Iterable) or hasattr(data, "__getitem__")):
        raise TypeError(
            f"{owner}: data must be an array or an iterable of batches, got {type(data).__name__}"
        )
    for batch in data if isinstance(data, Iterable) else map(data.__getitem__, range(len(data))):
        x = batch[0] if isinstance(batch, tuple) else batch
        if not hasattr(x, "shape"):
            raise TypeError(f"{owner}: data must yield arrays, got {type(x).__name__}")
        yield x
