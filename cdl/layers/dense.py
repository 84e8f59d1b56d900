"""Dense: a fully connected layer."""

from __future__ import annotations

from typing import Any

from cdl import activations, constraints, initializers, regularizers
from cdl._common.validation import flag, positive_int
from cdl._ir import emit
from cdl.compat import renamed
from cdl.layers import rules
from cdl.layers.activated import Activated
from cdl.layers.arguments import (
    CommonArguments,
    Identifier,
    Lowering,
    Shape,
    Unpack,
    Value,
    Variable,
)
from cdl.layers.input_spec import InputSpec
from cdl.layers.kernel_layer import KernelLayer, weight_property
from cdl.layers.layer import registry


@registry.add()
class Dense(KernelLayer):
    """Fully connected layer: ``y = activation(x @ kernel + bias)`` over the last axis of x.

    Args:
        units: size of the last axis of y.
        activation: a name, one of `cdl.activations`, or None for none.
        use_bias: whether a bias is added.
        kernel_initializer: initial values of the kernel, of shape (size of x's last axis, units).
        bias_initializer: initial values of the bias, of shape (units,).
        lora_alpha: kept until the layer is built, which makes it lora_rank, as in Keras 3.15:
            `enable_lora` takes another one.

    Examples:
        >>> layer = cdl.layers.Dense(2, kernel_initializer="ones")
        >>> layer(np.array([[1.0, 2.0]], "float32"))
        array([[3., 3.]], dtype=float32)
    """

    activation = Activated()
    by_lines = True
    _matrix_by_default = True
    _quantizes = True

    kernel = weight_property("kernel", "Kernel; with LoRA the sum with A B, a new array.")
    bias: Variable | None

    @renamed(
        output_dim="units",
        init="kernel_initializer",
        bias="use_bias",
        W_regularizer="kernel_regularizer",
        b_regularizer="bias_regularizer",
        W_constraint="kernel_constraint",
        b_constraint="bias_constraint",
    )
    def __init__(
        self,
        units: int,
        activation: Identifier | None = None,
        use_bias: bool = True,
        kernel_initializer: Identifier = "glorot_uniform",
        bias_initializer: Identifier = "zeros",
        kernel_regularizer: Identifier | None = None,
        bias_regularizer: Identifier | None = None,
        activity_regularizer: Identifier | None = None,
        kernel_constraint: Identifier | None = None,
        bias_constraint: Identifier | None = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        quantization_config: Any = None,
        **kwargs: Unpack[CommonArguments],
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self._keep_schemes(lora_rank, lora_alpha, quantization_config)
        self.units = positive_int("Dense", "units", units)
        self.activation = activations.compiled("Dense", activation)
        self.use_bias = flag("Dense", "use_bias", use_bias)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.supports_masking = True
        self.input_spec = InputSpec(min_ndim=2)

    def build(self, input_shape: Shape) -> None:
        """Create kernel and bias for inputs whose last axis has that shape's last size."""
        self._add_main_weight((input_shape[-1], self.units), self.kernel_initializer, matrix=True)
        self.bias = rules.add(self, "bias", (self.units,)) if self.use_bias else None
        self.input_spec = InputSpec(min_ndim=2, axes={-1: input_shape[-1]})
        super().build(input_shape)
        if self.lora_rank:
            self.enable_lora(self.lora_rank)

    def lower(self, program: Lowering, x: Value) -> Value:
        """Append the product with the bias, then the activation."""
        y = self._scheme_of_weight.product(program, x, emit.linear, self.bias)
        if self.activation is None:  # by who has set it so
            return y
        activated: Value = self.activation.lower(program, y)
        return activated

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The input's shape with `units` as its last size; once built, with that of the kernel."""
        shape = (*input_shape[:-1], self._scheme_of_weight.shape[1] if self.built else self.units)
        changed = getattr(self.activation, "output_shape", None)
        return changed(shape) if changed is not None else shape
