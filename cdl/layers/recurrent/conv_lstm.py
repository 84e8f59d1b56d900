"""ConvLSTM1D to 3D: convolutional LSTMs on sequences of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cdl._common.validation import given
from cdl.layers.input_spec import InputSpec
from cdl.layers.layer import registry
from cdl.layers.recurrent.conv_cell import ConvLSTMCell
from cdl.layers.recurrent.of_cell import FromCell, LayerOfCell

if TYPE_CHECKING:
    from cdl._configs.identifiers import Identifier


class ConvLSTM(LayerOfCell):
    """Base of `ConvLSTM1D` to `ConvLSTM3D`: a `ConvLSTMCell` along time.

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
        """Shapes of a call's outputs, batch axis included, for sequences of that shape."""
        del initial_state_shape
        samples, steps, *image = sequences_shape
        state, _ = self.cell.compute_output_shape((samples, *image))
        shape = (samples, steps, *state[1:]) if self.return_sequences else state
        return (shape, state, state) if self.return_state else shape

    def _tensors_by_state(self) -> list[int]:
        return [1, 1]

    def compute_mask(self, _: Any, mask: Any = None) -> Any:
        """Mask, with `return_sequences`; states have none."""
        shown = super().compute_mask(_, mask)
        return [shown[0], None, None] if self.return_state else shown


@registry.add()
class ConvLSTM1D(ConvLSTM):
    """1D convolutional LSTM, for sequences of images of one axis.

    Inputs have shape (samples, steps, size, channels), all sizes of the images
    being known. The output has the shape (samples, size, filters), with the sizes
    that the convolution of the input has, and with `return_sequences` (samples, steps, ...). See
    `RNN` for masks, states and what a call takes.

    Args:
        filters: how many channels the output and each state have.
        kernel_size: the size of the window, an int or one for each axis.
        strides: how far apart the windows of the input are, likewise; of the state there is one at
            each place.
        padding: "valid" or "same", for the input; that of the state is "same".
        data_format: "channels_last" or "channels_first"; None is the configured one.
        dilation_rate: how far apart the numbers are that a window of the input sees, as `strides`.
        activation: a name, one of `cdl.activations`, or None for none.
        recurrent_activation: the same for the gates.
        use_bias: whether a bias is added.
        kernel_initializer: initial values of the kernel, of shape (window..., channels, 4 filters).
        recurrent_initializer: initial values of the recurrent kernel, of shape (window..., filters,
            4 filters).
        bias_initializer: initial values of the bias, of shape (4 filters,).
        unit_forget_bias: whether the bias of the gate to forget begins with ones.
        kernel_regularizer: a penalty on the kernel.
        recurrent_regularizer: a penalty on the recurrent kernel.
        bias_regularizer: a penalty on the bias.
        activity_regularizer: a penalty on all that a call gives; see `Layer`.
        kernel_constraint: what the kernel must be after each update.
        recurrent_constraint: what the recurrent kernel must be after each update.
        bias_constraint: what the bias must be after each update.
        dropout: which share of the inputs is dropped in training; the same ones in all steps.
        recurrent_dropout: which share of the states, likewise.
        seed: an int, or None for one drawn now.
        return_sequences: whether the outputs of all steps are given.
        return_state: whether the states after the last step, h and c, are given too.
        go_backwards: whether to begin with the last step.
        stateful: whether states go on from batch to batch.
        kwargs: `unroll`, `zero_output_for_mask` as in `RNN`; see `Layer`.

    Raises:
        ValueError: a wrong argument, or strides beside a dilation rate.
    """

    rank = 1


@registry.add()
class ConvLSTM2D(ConvLSTM):
    """2D convolutional LSTM, for sequences of images of two axes.

    Inputs have shape (samples, steps, height, width, channels), all sizes of the images
    being known. The output has the shape (samples, height, width, filters), with the sizes
    that the convolution of the input has, and with `return_sequences` (samples, steps, ...). See
    `RNN` for masks, states and what a call takes.

    Args:
        filters: how many channels the output and each state have.
        kernel_size: the size of the window, an int or one for each axis.
        strides: how far apart the windows of the input are, likewise; of the state there is one at
            each place.
        padding: "valid" or "same", for the input; that of the state is "same".
        data_format: "channels_last" or "channels_first"; None is the configured one.
        dilation_rate: how far apart the numbers are that a window of the input sees, as `strides`.
        activation: a name, one of `cdl.activations`, or None for none.
        recurrent_activation: the same for the gates.
        use_bias: whether a bias is added.
        kernel_initializer: initial values of the kernel, of shape (window..., channels, 4 filters).
        recurrent_initializer: initial values of the recurrent kernel, of shape (window..., filters,
            4 filters).
        bias_initializer: initial values of the bias, of shape (4 filters,).
        unit_forget_bias: whether the bias of the gate to forget begins with ones.
        kernel_regularizer: a penalty on the kernel.
        recurrent_regularizer: a penalty on the recurrent kernel.
        bias_regularizer: a penalty on the bias.
        activity_regularizer: a penalty on all that a call gives; see `Layer`.
        kernel_constraint: what the kernel must be after each update.
        recurrent_constraint: what the recurrent kernel must be after each update.
        bias_constraint: what the bias must be after each update.
        dropout: which share of the inputs is dropped in training; the same ones in all steps.
        recurrent_dropout: which share of the states, likewise.
        seed: an int, or None for one drawn now.
        return_sequences: whether the outputs of all steps are given.
        return_state: whether the states after the last step, h and c, are given too.
        go_backwards: whether to begin with the last step.
        stateful: whether states go on from batch to batch.
        kwargs: `unroll`, `zero_output_for_mask` as in `RNN`; see `Layer`.

    Raises:
        ValueError: a wrong argument, or strides beside a dilation rate.
    """

    rank = 2


@registry.add()
class ConvLSTM3D(ConvLSTM):
    """3D convolutional LSTM, for sequences of images of three axes.

    Inputs have shape (samples, steps, depth, height, width, channels), all sizes of the images
    being known. The output has the shape (samples, depth, height, width, filters), with the sizes
    that the convolution of the input has, and with `return_sequences` (samples, steps, ...). See
    `RNN` for masks, states and what a call takes.

    Args:
        filters: how many channels the output and each state have.
        kernel_size: the size of the window, an int or one for each axis.
        strides: how far apart the windows of the input are, likewise; of the state there is one at
            each place.
        padding: "valid" or "same", for the input; that of the state is "same".
        data_format: "channels_last" or "channels_first"; None is the configured one.
        dilation_rate: how far apart the numbers are that a window of the input sees, as `strides`.
        activation: a name, one of `cdl.activations`, or None for none.
        recurrent_activation: the same for the gates.
        use_bias: whether a bias is added.
        kernel_initializer: initial values of the kernel, of shape (window..., channels, 4 filters).
        recurrent_initializer: initial values of the recurrent kernel, of shape (window..., filters,
            4 filters).
        bias_initializer: initial values of the bias, of shape (4 filters,).
        unit_forget_bias: whether the bias of the gate to forget begins with ones.
        kernel_regularizer: a penalty on the kernel.
        recurrent_regularizer: a penalty on the recurrent kernel.
        bias_regularizer: a penalty on the bias.
        activity_regularizer: a penalty on all that a call gives; see `Layer`.
        kernel_constraint: what the kernel must be after each update.
        recurrent_constraint: what the recurrent kernel must be after each update.
        bias_constraint: what the bias must be after each update.
        dropout: which share of the inputs is dropped in training; the same ones in all steps.
        recurrent_dropout: which share of the states, likewise.
        seed: an int, or None for one drawn now.
        return_sequences: whether the outputs of all steps are given.
        return_state: whether the states after the last step, h and c, are given too.
        go_backwards: whether to begin with the last step.
        stateful: whether states go on from batch to batch.
        kwargs: `unroll`, `zero_output_for_mask` as in `RNN`; see `Layer`.

    Raises:
        ValueError: a wrong argument, or strides beside a dilation rate.
    """

    rank = 3
