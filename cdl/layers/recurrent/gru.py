"""GRU: gated recurrent unit (Cho et al., 2014)."""

from __future__ import annotations

from typing import Any

from cdl import ops, tree
from cdl._common.validation import flag, given
from cdl._configs.identifiers import Identifier
from cdl.compat import renamed
from cdl.layers.layer import registry
from cdl.layers.recurrent import in_core
from cdl.layers.recurrent.cells import UnitsCell
from cdl.layers.recurrent.of_cell import FromCell, LayerOfCell


@registry.add()
class GRUCell(UnitsCell):
    """Gated recurrent unit cell: one step of `GRU`, with gates z, r, h::

        x_z, x_r, x_h = split(x @ kernel + bias[0], 3)
        h_z, h_r, h_h = split(h @ recurrent_kernel + bias[1], 3)
        z, r = recurrent_activation(x_z + h_z), recurrent_activation(x_r + h_r)
        h = z * h + (1 - z) * activation(x_h + r * h_h)

    Without `reset_after` there is one bias, and the last product is ``(r * h) @ recurrent_kernel``.

    A call takes inputs of shape (samples, size) and a list of the state, of shape (samples, units),
    and gives the output and a list of the next state, which is the same.

    Args:
        kernel_initializer: initial values of the kernel, of shape (size of x, 3 * units).
        recurrent_initializer: initial values of the recurrent kernel, of shape (units, 3 * units).
        bias_initializer: initial values of the bias, of shape (2, 3 * units), or
            (3 * units,) without `reset_after`.
        reset_after: whether the gate to reset multiplies the product of the state and the recurrent
            kernel, rather than the state.
    """

    gates = 3
    _core_cell = in_core.GRU

    def __init__(
        self,
        units: int,
        activation: Identifier | None = "tanh",
        recurrent_activation: Identifier | None = "sigmoid",
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
        reset_after: bool = True,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**given(locals(), "reset_after"))
        self.reset_after = flag(
            kwargs.get("_owner", type(self).__name__), "reset_after", reset_after
        )

    def _bias_shape(self) -> tuple[int, ...]:
        return (2, 3 * self.units) if self.reset_after else (3 * self.units,)

    def call(self, inputs: Any, states: Any, training: Any = False) -> Any:
        """Output, and a list of the next state.

        Args:
            inputs: of one step.
            states: a list of the state before it.
            training: whether dropout drops.
        """
        several = tree.is_nested(states)
        before = states[0] if several else states
        xs, hs = self._dropped(inputs, training), self._dropped_state(before, training)
        (x_z, x_r, x_h), biases = self._seen(xs)
        if self.implementation == 1:
            u_z, u_r, u_h = ops.split(self.recurrent_kernel, 3, axis=1)
            h_z, h_r = ops.matmul(hs[0], u_z), ops.matmul(hs[1], u_r)
            h_h = ops.matmul(hs[2], u_h) if self.reset_after else None
        elif self.reset_after:
            h_z, h_r, h_h = ops.split(ops.matmul(hs[0], self.recurrent_kernel), 3, axis=-1)
        else:
            u_h = self.recurrent_kernel[:, 2 * self.units :]
            both = ops.matmul(hs[0], self.recurrent_kernel[:, : 2 * self.units])
            (h_z, h_r), h_h = ops.split(both, 2, axis=-1), None
        if biases is not None:
            h_z, h_r, h_h = h_z + biases[0], h_r + biases[1], h_h + biases[2]
        z, r = self.recurrent_activation(x_z + h_z), self.recurrent_activation(x_r + h_r)
        inner = ops.matmul(r * hs[-1], u_h) if h_h is None else r * h_h
        h = z * before + (1 - z) * self.activation(x_h + inner)
        return h, [h] if several else h

    def _seen(self, xs: list[Any]) -> tuple[list[Any], list[Any] | None]:
        """Input of each gate, bias included, and the biases of the state's side."""
        first = second = None
        if self.bias is not None:
            first, second = (self.bias[0], self.bias[1]) if self.reset_after else (self.bias, None)
        if self.implementation == 1:
            kernels = ops.split(self.kernel, 3, axis=1)
            z = [ops.matmul(x, w) for x, w in zip(xs, kernels, strict=True)]
            if first is not None:
                z = [each + b for each, b in zip(z, ops.split(first, 3), strict=True)]
        else:
            whole = ops.matmul(xs[0], self.kernel)
            z = ops.split(whole if first is None else whole + first, 3, axis=-1)
        return z, None if second is None else ops.split(second, 3)


@registry.add()
class GRU(LayerOfCell):
    """Gated recurrent unit layer: a `GRUCell` run over time (Cho et al., 2014).

    Inputs have shape (samples, steps, size), the output (samples, units), or (samples, steps,
    units) with `return_sequences`. See `RNN` for masks, states and what a call takes. Its weights,
    kernel, recurrent_kernel and bias, are those of `cell`.

    Args:
        kwargs: `zero_output_for_mask` as in `RNN`, `implementation` as of the cell; see `Layer`.

    The further arguments are those of `GRUCell`.

    Raises:
        ValueError: a wrong argument.
    """

    _of_cell = (*LayerOfCell._of_cell, "implementation")
    _has_cudnn = True
    units = FromCell()
    recurrent_activation = FromCell()
    reset_after = FromCell()

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
        reset_after: bool = True,
        use_cudnn: Any = "auto",
        **kwargs: Any,
    ) -> None:
        super().__init__(GRUCell, given(locals()))
