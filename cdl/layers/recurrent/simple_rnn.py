"""SimpleRNN: a fully connected recurrent layer."""

from __future__ import annotations

from typing import Any

from cdl import ops, tree
from cdl._common.validation import given
from cdl._configs.identifiers import Identifier
from cdl.compat import renamed
from cdl.layers.layer import registry
from cdl.layers.recurrent import in_core
from cdl.layers.recurrent.cells import UnitsCell
from cdl.layers.recurrent.of_cell import FromCell, LayerOfCell


@registry.add()
class SimpleRNNCell(UnitsCell):
    """Simple recurrent cell, ``h = activation(x @ kernel + bias + h @ recurrent_kernel)``.

    A call takes inputs of shape (samples, size) and a list of the state, of shape (samples, units),
    and gives the output and a list of the next state, which is the same.

    Args:
        kernel_initializer: initial values of the kernel, of shape (size of x, units).
        recurrent_initializer: initial values of the recurrent kernel, of shape (units, units).
        bias_initializer: initial values of the bias, of shape (units,).
        kwargs: see `Layer`.
    """

    _core_cell = in_core.SIMPLE

    def __init__(
        self,
        units: int,
        activation: Identifier | None = "tanh",
        use_bias: bool = True,
        kernel_initializer: Identifier = "glorot_uniform",
        recurrent_initializer: Identifier = "orthogonal",
        bias_initializer: Identifier = "zeros",
        kernel_regularizer: Identifier | None = None,
        recurrent_regularizer: Identifier | None = None,
        bias_regularizer: Identifier | None = None,
        kernel_constraint: Identifier | None = None,
        recurrent_constraint: Identifier | None = None,
        bias_constraint: Identifier | None = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**given(locals()))

    def call(self, sequence: Any, states: Any, training: Any = False) -> Any:
        """Output, and a list of the next state.

        Args:
            sequence: of one step.
            states: a list of the state before it.
            training: whether dropout drops.
        """
        several = tree.is_nested(states)
        (x,) = self._dropped(sequence, training)
        (h,) = self._dropped_state(states[0] if several else states, training)
        z = ops.matmul(x, self.kernel)
        if self.bias is not None:
            z = z + self.bias
        output = self.activation(z + ops.matmul(h, self.recurrent_kernel))
        return output, [output] if several else output


@registry.add()
class SimpleRNN(LayerOfCell):
    """Fully connected recurrent layer: a `SimpleRNNCell` run over time.

    ``h = activation(x @ kernel + bias + h @ recurrent_kernel)``

    Inputs have shape (samples, steps, size), the output (samples, units), or (samples, steps,
    units) with `return_sequences`; see `RNN` for masks, states and what a call takes. Its weights,
    kernel, recurrent_kernel and bias, are those of `cell`.

    Args:
        kwargs: `zero_output_for_mask` as in `RNN`; see `Layer`.

    The further arguments are those of `SimpleRNNCell`.

    Raises:
        ValueError: a wrong argument.
    """

    units = FromCell()

    @renamed(
        output_dim="units",
        init="kernel_initializer",
        inner_init="recurrent_initializer",
        W_regularizer="kernel_regularizer",
        U_regularizer="recurrent_regularizer",
        b_regularizer="bias_regularizer",
        dropout_W="dropout",
        dropout_U="recurrent_dropout",
    )
    def __init__(
        self,
        units: int,
        activation: Identifier | None = "tanh",
        use_bias: bool = True,
        kernel_initializer: Identifier = "glorot_uniform",
        recurrent_initializer: Identifier = "orthogonal",
        bias_initializer: Identifier = "zeros",
        kernel_regularizer: Identifier | None = None,
        recurrent_regularizer: Identifier | None = None,
        bias_regularizer: Identifier | None = None,
        activity_regularizer: Identifier | None = None,
        kernel_constraint: Identifier | None = None,
        recurrent_constraint: Identifier | None = None,
        bias_constraint: Identifier | None = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(SimpleRNNCell, given(locals()))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments as a dict; as in Keras without a seed, unless one was given."""
        config = super().get_config()
        if config["seed"] is None:
            del config["seed"]
        return config
