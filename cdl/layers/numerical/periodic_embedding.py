"""PeriodicEmbedding: vectors of numbers by learned frequencies."""

from __future__ import annotations

import math
from typing import Any

from cdl import initializers, ops
from cdl._common.validation import expected, flag, number, positive_int
from cdl.layers.arguments import Identifier, LayerArguments, Shape, Unpack, Variable
from cdl.layers.input_spec import InputSpec
from cdl.layers.layer import registry
from cdl.layers.numerical.column_dense import ColumnDense


@registry.add()
class PeriodicEmbedding(ColumnDense):
    """Embedding of each number x: a dense layer on cosines and sines of ``2 pi f x``.

    From (samples, columns) to (samples, columns, units), with frequencies f and a dense layer for
    each column: PLR of "On embeddings for numerical features in tabular deep learning" (Gorishniy,
    Rubachev and Babenko, 2022). With ``phases=True, skip=True, activation=None`` it is PBLD of
    RealMLP (Holzmüller, Grinsztajn and Steinwart, 2024): cosines of ``2 pi f x + phase`` alone, and
    x itself as the first of the units.

    Args:
        units: size of the vectors.
        frequencies: how many f each column has.
        sigma: standard deviation of the initial f, which are normal; of a column that has deviation
            1, near 0.01 to 0.1.
        activation: of the dense layer: a name, one of `cdl.activations`, or None for none.
        phases: whether there are learned phases, from -pi to pi at first, in place of the sines.
        skip: whether x is the first of the units; the dense layer has one unit less.
        use_bias: whether the dense layer has a bias.
        kernel_initializer: of the dense layer, as in `ColumnDense`.
        bias_initializer: likewise.
    """

    frequency: Variable
    phase: Variable | None = None

    def __init__(
        self,
        units: int = 24,
        frequencies: int = 48,
        sigma: float = 0.01,
        activation: Identifier | None = "relu",
        phases: bool = False,
        skip: bool = False,
        use_bias: bool = True,
        kernel_initializer: Identifier | None = None,
        bias_initializer: Identifier | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        owner = "PeriodicEmbedding"
        super().__init__(
            units, activation, use_bias, kernel_initializer, bias_initializer, **kwargs
        )
        self.frequencies = positive_int(owner, "frequencies", frequencies)
        self.sigma = number(owner, "sigma", sigma, above=0.0)
        self.phases, self.skip = flag(owner, "phases", phases), flag(owner, "skip", skip)
        if self.skip and self.units == 1:
            raise expected(owner, "units", "an int above 1 with skip=True", units)
        self.input_spec = InputSpec(ndim=2)

    def build(self, input_shape: Shape) -> None:
        """Create frequencies, phases and the dense layer of each column."""
        shape = (input_shape[-1], self.frequencies)
        normal = initializers.RandomNormal(stddev=self.sigma)
        self.frequency = self.add_weight(shape, normal, name="frequency", matrix=False)
        if self.phases:
            turn = initializers.RandomUniform(-math.pi, math.pi)
            self.phase = self.add_weight(shape, turn, name="phase", matrix=False)
        size = self.frequencies * (1 if self.phases else 2)
        self._add_dense(shape[0], size, self.units - self.skip)
        self.input_spec = InputSpec(ndim=2, axes={-1: shape[0]})
        super(ColumnDense, self).build(input_shape)

    def call(self, inputs: Any) -> Any:
        x = inputs[..., None]
        angle = x * (self.frequency * (2 * math.pi))
        if self.phase is None:
            waves = ops.concatenate([ops.cos(angle), ops.sin(angle)], axis=-1)
        else:
            waves = ops.cos(angle + self.phase)
        y = super().call(waves)
        return ops.concatenate([x, y], axis=-1) if self.skip else y

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Shape of the input with a last axis of `units`."""
        return (*input_shape, self.units)
