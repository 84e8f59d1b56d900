"""ConvLSTM1D to 3D: convolutional LSTMs on sequences of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cdl._common.validation import given
from cdl._configs.identifiers import Identifier
from cdl.layers.input_spec import InputSpec
from cdl.layers.layer import registry
from cdl.layers.recurrent.conv_cell import ConvLSTMCell
from cdl.layers.recurrent.of_cell import FromCell, LayerOfCell


class ConvLSTM(LayerOfCell):
    """Base of `ConvLSTM1D` to `ConvLSTM3D`: a `ConvLSTMCell` along time.

    Args:
        kwargs: `unroll`, `zero_output_for_mask` as in `RNN`; see `Layer`.

    Attributes:
        rank: how many axes the images have.
    """

    rank: int

    filters = FromCell()
    kernel_size = FromCell()
    strides = FromCell()
    padding = FromCell()
    data_format = FromCell()
    dilation_rate = FromCell()
    recurrent_activation = FromCell()
    unit_forget_bias = FromCell()

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
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
        **kwargs: Any,
    ) -> None:
        super().__init__(ConvLSTMCell, given(locals()), rank=self.rank)
        self.input_spec = InputSpec(ndim=self.rank + 3)

    def compute_output_shape(self, sequences_shape: Any, initial_state_shape: Any = None) -> Any:
        del initial_state_shape
        samples, steps, *image = sequences_shape
        state, _ = self.cell.compute_output_shape((samples, *image))
        shape = (samples, steps, *state[1:]) if self.return_sequences else state
        return (shape, state, state) if self.return_state else shape

    def _tensors_by_state(self) -> list[int]:
        return [1, 1]

    def compute_mask(self, _: Any, mask: Any = None) -> Any:
        shown = super().compute_mask(_, mask)
        return [shown[0], None, None] if self.return_state else shown


@registry.add()
class ConvLSTM1D(ConvLSTM):
    """1D convolutional LSTM, for sequences of images of one axis.

    (samples, steps, size, channels) becomes (samples, size', filters), as in `ConvLSTM2D`.

    The further arguments are those of `ConvLSTMCell`.
    """

    rank = 1


@registry.add()
class ConvLSTM2D(ConvLSTM):
    """2D convolutional LSTM, for sequences of images of two axes.

    Inputs have shape (samples, steps, height, width, channels), all sizes of the images
    being known. The output has the shape (samples, height, width, filters), with the sizes
    that the convolution of the input has, and with `return_sequences` (samples, steps, ...). See
    `RNN` for masks, states and what a call takes.

    The further arguments are those of `ConvLSTMCell`.

    Raises:
        ValueError: a wrong argument, or strides beside a dilation rate.
    """

    rank = 2


@registry.add()
class ConvLSTM3D(ConvLSTM):
    """3D convolutional LSTM, for sequences of images of three axes.

    (samples, steps, a, b, c, channels) becomes (samples, a', b', c', filters), as in `ConvLSTM2D`.

    The further arguments are those of `ConvLSTMCell`.
    """

    rank = 3
