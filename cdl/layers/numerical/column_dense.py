"""ColumnDense: a fully connected layer for each column."""

from __future__ import annotations

from typing import Any

from cdl import activations, initializers, ops
from cdl._common.validation import flag, positive_int
from cdl.layers import rules
from cdl.layers.arguments import Identifier, LayerArguments, Shape, Unpack, Variable
from cdl.layers.input_spec import InputSpec
from cdl.layers.layer import Layer, registry


@registry.add()
class ColumnDense(Layer):
    """Dense layer for each column by itself: ``y_c = activation(x_c @ kernel_c + bias_c)``.

    From an encoding of numbers, of shape (samples, columns, size), to an embedding of shape
    (samples, columns, units).

    Args:
        units: size of the last axis of y.
        activation: a name, one of `cdl.activations`, or None for none.
        use_bias: whether a bias is added.
        kernel_initializer: initial values of the kernel, of shape (columns, size, units). None is
            uniform within ``1 / sqrt(size)``, that of the bias too, as in "On embeddings for
            numerical features in tabular deep learning" (Gorishniy, Rubachev and Babenko, 2022).
        bias_initializer: initial values of the bias, of shape (columns, units).
    """

    kernel: Variable
    bias: Variable | None = None

    def __init__(
        self,
        units: int,
        activation: Identifier | None = None,
        use_bias: bool = True,
        kernel_initializer: Identifier | None = None,
        bias_initializer: Identifier | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.units = positive_int("ColumnDense", "units", units)
        self.activation = activations.get(activation)
        self.use_bias = flag("ColumnDense", "use_bias", use_bias)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.input_spec = InputSpec(ndim=3)

    def build(self, input_shape: Shape) -> None:
        """Create a kernel and a bias for each column."""
        _, columns, size = input_shape
        self._add_dense(columns, size, self.units)
        self.input_spec = InputSpec(ndim=3, axes={1: columns, 2: size})
        super().build(input_shape)

    def _add_dense(self, columns: Any, size: Any, units: int) -> None:
        initial = self.kernel_initializer or rules.uniform_within(size)
        shape = (columns, size, units)
        self.kernel = self.add_weight(shape, initial, name="kernel", matrix=False)
        if self.use_bias:
            initial = self.bias_initializer or rules.uniform_within(size)
            self.bias = self.add_weight(shape[::2], initial, name="bias", matrix=False)

    def call(self, inputs: Any) -> Any:
        """The embeddings, of shape (samples, columns, units)."""
        y = ops.einsum("bci,cio->bco", inputs, self.kernel)
        y = y if self.bias is None else y + self.bias
        return self.activation(y)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Shape of the input with `units` as its last size."""
        return (*input_shape[:-1], self.units)
