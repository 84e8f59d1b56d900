"""EnsembleDense: dense layers of many members around one kernel."""

from __future__ import annotations

from typing import Any

from cdl import activations, initializers, ops, regularizers
from cdl._common.validation import flag, positive_int
from cdl.layers import rules
from cdl.layers.arguments import Identifier, LayerArguments, Shape, Unpack, Variable
from cdl.layers.input_spec import InputSpec
from cdl.layers.layer import Layer, registry


@registry.add()
class EnsembleDense(Layer):
    """Dense layers of k members: ``y_i = activation((x_i * r_i) @ kernel * s_i + bias_i)``.

    BatchEnsemble (Wen, Tran and Ba, 2020) in the form of TabM (Gorishniy, Kotelnikov and Babenko,
    2024): the members share the kernel, so that samples x members are the rows of one product, and
    each has factors r of the inputs, s of the outputs, and a bias. The input is of shape (samples,
    inputs), which all members get, or (samples, k, inputs); the output of (samples, k, units).
    Train on the mean loss of the members, and predict by the mean of their predictions. ::

        x = EnsembleDense(256, 32, "relu", input_scale_initializer="random_sign")(x)
        x = EnsembleDense(256, 32, "relu")(x)
        y = EnsembleDense(1, 32, shared=False)(x)

    Args:
        units: outputs of each member.
        members: how many there are, k.
        activation: a name, one of `cdl.activations`, or None for none.
        use_bias: whether the members have biases.
        shared: whether they share the kernel; False: each has its own, and no factors.
        input_scale_initializer: initial values of r, of shape (k, inputs); "random_sign" are 1 and
            -1 by chance, by which members of one input begin to differ; None for no r.
        output_scale_initializer: initial values of s, of shape (k, units); None for no s.
        kernel_initializer: initial values of the kernel; None is uniform within
            ``1 / sqrt(inputs)``.
        bias_initializer: initial values of the biases, of shape (k, units); None likewise.
        kernel_regularizer: a penalty on the kernel.
    """

    kernel: Variable
    input_scale: Variable | None = None
    output_scale: Variable | None = None
    bias: Variable | None = None

    def __init__(
        self,
        units: int,
        members: int = 32,
        activation: Identifier | None = None,
        use_bias: bool = True,
        shared: bool = True,
        input_scale_initializer: Identifier | None = "ones",
        output_scale_initializer: Identifier | None = "ones",
        kernel_initializer: Identifier | None = None,
        bias_initializer: Identifier | None = None,
        kernel_regularizer: Identifier | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        owner = "EnsembleDense"
        self.units = positive_int(owner, "units", units)
        self.members = positive_int(owner, "members", members)
        self.activation = activations.get(activation)
        self.use_bias, self.shared = (
            flag(owner, "use_bias", use_bias),
            flag(owner, "shared", shared),
        )
        self.input_scale_initializer = initializers.get(input_scale_initializer)
        self.output_scale_initializer = initializers.get(output_scale_initializer)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)

    def build(self, input_shape: Shape) -> None:
        """Create the kernel, and the factors and biases of the members."""
        shape = self._checked(input_shape)
        inputs, k = shape[-1], self.members
        self.kernel = self.add_weight(
            (inputs, self.units) if self.shared else (k, inputs, self.units),
            self.kernel_initializer or rules.uniform_within(inputs),
            regularizer=self.kernel_regularizer,
            name="kernel",
            matrix=self.shared,
        )
        first_r, first_s = self.input_scale_initializer, self.output_scale_initializer
        if self.shared and first_r is not None:
            self.input_scale = self.add_weight(
                (k, inputs), first_r, name="input_scale", matrix=False
            )
        if self.shared and first_s is not None:
            self.output_scale = self.add_weight(
                (k, self.units), first_s, name="output_scale", matrix=False
            )
        if self.use_bias:
            first = self.bias_initializer or rules.uniform_within(inputs)
            self.bias = self.add_weight((k, self.units), first, name="bias", matrix=False)
        self.input_spec = InputSpec(ndim=len(shape), axes={-1: inputs})
        super().build(input_shape)

    def _checked(self, shape: Shape) -> Shape:
        """Shape of an input, which must be that of samples or of the members' samples."""
        if len(shape) == 2 or (len(shape) == 3 and shape[1] == self.members):
            return shape
        raise ValueError(
            f"EnsembleDense {self.name!r}: input must have shape (samples, inputs) or (samples, "
            f"{self.members}, inputs), got {tuple(shape)}"
        )

    def call(self, inputs: Any) -> Any:
        """The outputs of the members, of shape (samples, members, units)."""
        x = inputs if len(inputs.shape) == 3 else inputs[:, None, :]
        if not self.shared:
            if x.shape[1] == 1:
                x = ops.repeat(x, self.members, axis=1)
            if self.units == 1:  # sums of lines, not as many products of one column
                y = ops.sum(x * self.kernel[..., 0], axis=-1, keepdims=True)
            else:
                y = ops.einsum("bki,kio->bko", x, self.kernel)
        else:
            if self.input_scale is not None:
                x = x * self.input_scale
            elif x.shape[1] == 1:
                x = ops.repeat(x, self.members, axis=1)
            y = ops.matmul(x, self.kernel)
        y = y if self.output_scale is None else y * self.output_scale
        y = y if self.bias is None else y + self.bias
        return self.activation(y)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The shape (samples, members, units)."""
        return (self._checked(tuple(input_shape))[0], self.members, self.units)
