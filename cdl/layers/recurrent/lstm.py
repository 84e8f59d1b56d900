"""LSTM: long short-term memory (Hochreiter and Schmidhuber, 1997)."""

from __future__ import annotations

from typing import Any

from cdl import ops
from cdl._common.validation import flag, given
from cdl._configs.identifiers import Identifier
from cdl.compat import renamed
from cdl.layers.layer import registry
from cdl.layers.recurrent import in_core
from cdl.layers.recurrent.cells import UnitsCell, biases_with_forget_gates
from cdl.layers.recurrent.of_cell import FromCell, LayerOfCell


@registry.add()
class LSTMCell(UnitsCell):
    """Long short-term memory cell: one step of `LSTM`, with gates i, f, c, o::

        i, f, g, o = split(x @ kernel + h @ recurrent_kernel + bias, 4)
        c = recurrent_activation(f) * c + recurrent_activation(i) * activation(g)
        h = recurrent_activation(o) * activation(c)

    A call takes inputs of shape (samples, size) and a list of the states h and c, both of shape
    (samples, units), and gives the output, h, and a list of the next h and c.

    Args:
        kernel_initializer: initial values of the kernel, of shape (size of x, 4 * units).
        recurrent_initializer: initial values of the recurrent kernel, of shape (units, 4 * units).
        bias_initializer: initial values of the bias, of shape (4 * units,).
    """

    gates = 4
    _core_cell = in_core.LSTM

    def __init__(
        self,
        units: int,
        activation: Identifier | None = "tanh",
        recurrent_activation: Identifier | None = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Identifier = "glorot_uniform",
        recurrent_initializer: Identifier = "orthogonal",
        bias_initializer: Identifier = "zeros",
        unit_forget_bias: bool = True,
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
        super().__init__(**given(locals(), "unit_forget_bias"))
        self.unit_forget_bias = flag(
            kwargs.get("_owner", type(self).__name__), "unit_forget_bias", unit_forget_bias
        )
        self.state_size = [self.units, self.units]

    def _bias_first(self) -> Any:
        if not self.unit_forget_bias:
            return self.bias_initializer
        return biases_with_forget_gates(self.bias_initializer, self.units)

    def call(self, inputs: Any, states: Any, training: Any = False) -> Any:
        """Output, and a list of the next states.

        Args:
            inputs: of one step.
            states: a list of h and c before it.
            training: whether dropout drops.
        """
        xs, hs = self._dropped(inputs, training), self._dropped_state(states[0], training)
        if self.implementation == 1:
            kernels = ops.split(self.kernel, 4, axis=1)
            recurrent = ops.split(self.recurrent_kernel, 4, axis=1)
            z = [
                ops.matmul(x, w) + ops.matmul(h, u)
                for x, w, h, u in zip(xs, kernels, hs, recurrent, strict=True)
            ]
            if self.bias is not None:
                z = [each + b for each, b in zip(z, ops.split(self.bias, 4), strict=True)]
        else:
            whole = ops.matmul(xs[0], self.kernel) + ops.matmul(hs[0], self.recurrent_kernel)
            z = ops.split(whole if self.bias is None else whole + self.bias, 4, axis=-1)
        i, f, o = (self.recurrent_activation(z[k]) for k in (0, 1, 3))
        c = f * states[1] + i * self.activation(z[2])
        h = o * self.activation(c)
        return h, [h, c]


@registry.add()
class LSTM(LayerOfCell):
    """Long short-term memory layer: an `LSTMCell` run over time (Hochreiter, Schmidhuber, 1997).

    Inputs have shape (samples, steps, size), the output (samples, units), or (samples, steps,
    units) with `return_sequences`; with `return_state` h and c come behind it, both of shape
    (samples, units). See `RNN` for masks, states and what a call takes. Its weights, kernel,
    recurrent_kernel and bias, are those of `cell`.

    Args:
        kwargs: `zero_output_for_mask` as in `RNN`, `implementation` as of the cell; see `Layer`.

    The further arguments are those of `LSTMCell`.

    Raises:
        ValueError: a wrong argument.

    Examples:
        >>> steps = np.zeros((4, 10, 3), "float32")
        >>> cdl.layers.LSTM(16)(steps).shape
        (4, 16)
        >>> cdl.layers.LSTM(16, return_sequences=True)(steps).shape
        (4, 10, 16)
    """

    _of_cell = (*LayerOfCell._of_cell, "implementation")
    _has_cudnn = True
    units = FromCell()
    recurrent_activation = FromCell()
    unit_forget_bias = FromCell()

    @renamed(
        output_dim="units",
        init="kernel_initializer",
        inner_init="recurrent_initializer",
        inner_activation="recurrent_activation",
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
        recurrent_activation: Identifier | None = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Identifier = "glorot_uniform",
        recurrent_initializer: Identifier = "orthogonal",
        bias_initializer: Identifier = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Identifier | None = None,
        recurrent_regularizer: Identifier | None = None,
        bias_regularizer: Identifier | None = None,
        activity_regularizer: Identifier | None = None,
        kernel_constraint: Identifier | None = None,
        recurrent_constraint: Identifier | None = None,
        bias_constraint: Identifier | None = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        use_cudnn: Any = "auto",
        **kwargs: Any,
    ) -> None:
        super().__init__(LSTMCell, given(locals()))
