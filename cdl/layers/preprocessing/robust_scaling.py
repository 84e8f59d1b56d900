"""RobustScaling: features scaled by medians and quantiles of data, and clipped smoothly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cdl import activations
from cdl._common.validation import expected, number
from cdl._tracing.variable import Variable
from cdl.layers.arguments import LayerArguments, NDArray, Shape, Unpack
from cdl.layers.input_spec import InputSpec
from cdl.layers.layer import registry
from cdl.layers.preprocessing.missing import Missing
from cdl.layers.preprocessing.normalization import batches_of
from cdl.layers.same_shape import SameShape

_MOST = float(np.finfo(np.float32).max)


@registry.add()
class RobustScaling(SameShape):
    """Scaling by quantiles, ``z = (x - median) / (high - low)``, then a smooth clip.

    Outliers do not move median and quantiles, and ``z / sqrt(1 + (z / limit)^2)`` keeps what they
    become within limit (RealMLP; Holzmüller, Grinsztajn and Steinwart, 2024). A column whose
    quantiles are equal is divided by half of the range of its values instead; one of equal values
    becomes 0.

    Args:
        quantile_range: low and high in percent: of the last axis' elements each, over all others.
        limit: of the smooth clip; None for no clip.

    Weights: center and scale, the factor, none of which is trained.

    Raises:
        ValueError: percents that do not ascend within 0 to 100, or a limit that is not above 0.
    """

    takes_lists = True
    center: Variable
    scale: Variable

    def __init__(
        self,
        quantile_range: Sequence[float] = (25.0, 75.0),
        limit: float | None = 3.0,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        owner = "RobustScaling"
        given = np.asarray(quantile_range)
        ascends = given.shape == (2,) and given.dtype.kind in "iuf" and 0 <= given[0] < given[1]
        if not ascends or given[1] > 100:
            what = "two ascending numbers within 0 and 100"
            raise expected(owner, "quantile_range", what, quantile_range)
        self.quantile_range = (float(given[0]), float(given[1]))
        self.limit = None if limit is None else number(owner, "limit", limit, above=0.0)

    def build(self, input_shape: Shape) -> None:
        """Create center and scale of each element of the last axis."""
        kept: dict[str, Any] = {"trainable": False, "matrix": False}
        self.center = self.add_weight(input_shape[-1:], "zeros", name="center", **kept)
        self.scale = self.add_weight(input_shape[-1:], "ones", name="scale", **kept)
        self.input_spec = InputSpec(axes={-1: input_shape[-1]})
        super().build(input_shape)

    def adapt(self, data: Any) -> None:
        """Learn center and scale of data, and forget those of earlier data.

        Args:
            data: an array or frame whose first axis are the samples, or an iterable of such
                batches, all of which are kept until the end. NaN is left out, with a warning.

        Raises:
            ValueError: the data are empty, infinite or all missing, or their shape does not fit.
        """
        owner = f"RobustScaling {self.name!r}: adapt"
        missing = Missing(owner, "they stay NaN")
        parts = [missing.read(batch) for batch in batches_of(data, owner)]
        if not sum(map(len, parts)):
            raise ValueError(f"{owner}: data must have at least one sample, got none")
        self.check_input((None, *parts[0].shape[1:]))
        if not self.built:
            self.build((None, *parts[0].shape[1:]))
        columns = self.center.shape[0]
        for each in parts:
            if each.shape[-1] != columns:
                raise expected(owner, "data", f"arrays with {columns} columns", each.shape)
        x = np.concatenate([each.reshape(-1, columns) for each in parts]).astype(np.float64)
        found = [self._of_column(column[~np.isnan(column)]) for column in x.T]
        if None in found:
            raise ValueError(
                f"{owner}: data must have a value in each column, got only missing ones (NaN) in "
                f"{[i for i, each in enumerate(found) if each is None]}"
            )
        missing.tell()
        center, scale = np.array(found, np.float64).T.reshape(2, columns)
        self.center.assign(center)
        self.scale.assign(scale)

    def _of_column(self, x: NDArray[np.float64]) -> tuple[float, float] | None:
        """Center and factor of a column's values; None without any."""
        if not x.size:
            return None
        least, low, center, high, most = np.percentile(
            x, (0.0, self.quantile_range[0], 50.0, self.quantile_range[1], 100.0)
        )
        spread = high - low if high > low else (most - least) / 2
        return center, float(min(1.0 / spread, _MOST)) if spread else 0.0

    def call(self, inputs: Any) -> Any:
        """The scaled inputs, of their shape."""
        z = (inputs - self.center) * self.scale
        return z if self.limit is None else activations.smooth_clip(z, self.limit)
