"""ConvLSTMCell: one step of the convolutional LSTMs."""

from __future__ import annotations

from typing import Any

from cdl import activations, ops
from cdl._common.validation import flag, per_axis, positive_int
from cdl._ir.windows import Window
from cdl.config import standardize_data_format
from cdl.layers import rules
from cdl.layers.layer import Layer
from cdl.layers.recurrent.cells import (
    OF_WEIGHTS,
    WeightedCell,
    biases_with_forget_gates,
    owner_of,
)
from cdl.layers.shapes import batch_of, image_of


class ConvLSTMCell(WeightedCell):
    """One step of `ConvLSTM1D` to `ConvLSTM3D`: an `LSTMCell` with convolutions.

    Args:
        rank: how many axes the images have.
        filters: how many channels the output and each state have.
        kernel_size: the size of the window, an int or one for each axis.
        strides: how far apart the windows of the input are, likewise; of the state there is one at
            each place.
        padding: "valid" or "same", for the input; that of the state is "same".
        data_format: "channels_last" or "channels_first"; None is the configured one.
        dilation_rate: how far apart the numbers are that a window of the input sees, as `strides`.
        kernel_initializer: initial values of the kernel, of shape (window..., channels, 4 filters).
        recurrent_initializer: initial values of the recurrent kernel, of shape (window..., filters,
            4 filters).
        bias_initializer: initial values of the bias, of shape (4 filters,).
    """

    gates = 4

    def __init__(
        self,
        rank: int,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        unit_forget_bias: bool = True,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        owner = owner_of(self, kwargs)
        first = {
            "kernel_initializer": "glorot_uniform",
            "recurrent_initializer": "orthogonal",
            "bias_initializer": "zeros",
        }
        given = {name: kwargs.pop(name, first.get(name)) for name in OF_WEIGHTS}
        super().__init__(**kwargs)
        self.rank = rank
        self.filters = positive_int(owner, "filters", filters)
        self.kernel_size = per_axis(owner, "kernel_size", kernel_size, rank)
        self.strides = per_axis(owner, "strides", strides, rank)
        self.dilation_rate = per_axis(owner, "dilation_rate", dilation_rate, rank)
        self.padding = padding.lower() if isinstance(padding, str) else padding
        if self.padding not in ("valid", "same"):
            raise ValueError(f"{owner}: padding must be 'valid' or 'same', got {padding!r}")
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ValueError(
                f"{owner}: strides must be 1 if dilation_rate is not, got strides={self.strides} "
                f"and dilation_rate={self.dilation_rate}"
            )
        self.data_format = standardize_data_format(data_format, owner)
        self.activation = activations.get(activation)
        self.recurrent_activation = activations.get(recurrent_activation)
        self.use_bias = flag(owner, "use_bias", use_bias)
        self.unit_forget_bias = flag(owner, "unit_forget_bias", unit_forget_bias)
        rules.keep(self, **given)
        self._init_dropout(owner, dropout, recurrent_dropout, seed)
        self.dropout_mask_count = 4
        self.state_size = -1  # each state is an image

    def build(self, input_shape: Any) -> None:
        """Create the weights for images of one step of that shape.

        Raises:
            ValueError: a size of them is not known.
        """
        sizes, channels = image_of(tuple(input_shape), self.data_format)
        if None in sizes or channels is None:
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: all sizes of the images must be known, got "
                f"shape {tuple(input_shape)}"
            )
        self.spatial_dims, self.input_dim = sizes, channels
        columns = 4 * self.filters
        self.kernel = self._add("kernel", "kernel", (*self.kernel_size, channels, columns), True)
        self.recurrent_kernel = self._add(
            "recurrent_kernel", "recurrent", (*self.kernel_size, self.filters, columns), True
        )
        self.bias = self._add("bias", "bias", (columns,)) if self.use_bias else None
        Layer.build(self, input_shape)

    def _bias_first(self) -> Any:
        if not self.unit_forget_bias:
            return self.bias_initializer
        return biases_with_forget_gates(self.bias_initializer, self.filters)

    def compute_output_shape(self, inputs_shape: Any, states_shape: Any = None) -> Any:
        """Shape of the output, and a list of those of the states, which are the same."""
        del states_shape
        sizes, _ = image_of(tuple(inputs_shape), self.data_format)
        window = Window(self.kernel_size, self.strides, self.dilation_rate, self.padding)
        places = window.map(sizes)
        if any(n is not None and n < 1 for n in places):
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: kernel_size must fit into the images, got "
                f"{self.kernel_size} for shape {tuple(inputs_shape)}"
            )
        shape = batch_of(inputs_shape[0], places, self.filters, self.data_format)
        return shape, [shape, shape]

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        """Initial states of zeros, h and c.

        Args:
            batch_size: how many samples.
        """
        image = batch_of(None, self.spatial_dims, self.input_dim, self.data_format)
        shape, _ = self.compute_output_shape(image)
        return [ops.zeros((batch_size, *shape[1:])) for _ in range(2)]

    def call(self, inputs: Any, states: Any, training: Any = False) -> Any:
        """Output, and a list of the next states.

        Args:
            inputs: images of one step.
            states: a list of h and c before it.
        """
        options = {
            "strides": self.strides,
            "padding": self.padding,
            "dilation_rate": self.dilation_rate,
        }
        drops = training and self.dropout > 0, training and self.recurrent_dropout > 0
        xs = self._dropped(inputs, training) if drops[0] else [inputs]
        hs = self._dropped_state(states[0], training) if drops[1] else [states[0]]
        z = self._gates(xs, self.kernel, **options)
        u = self._gates(hs, self.recurrent_kernel, padding="same")
        z = [a + b for a, b in zip(z, u, strict=True)]
        if self.bias is not None:
            last = self.data_format == "channels_last"
            shape = (-1,) if last else (-1, *(1 for _ in range(self.rank)))
            biases = ops.split(self.bias, 4)
            z = [a + ops.reshape(b, shape) for a, b in zip(z, biases, strict=True)]
        i, f, o = (self.recurrent_activation(z[k]) for k in (0, 1, 3))
        c = f * states[1] + i * self.activation(z[2])
        h = o * self.activation(c)
        return h, [h, c]

    def _gates(self, images: list[Any], kernel: Any, **options: Any) -> list[Any]:
        """Convolution for each gate of images: the same for all, or one for each."""
        options["data_format"] = self.data_format
        if len(images) == 1:
            axis = -1 if self.data_format == "channels_last" else 1
            return list(ops.split(ops.conv(images[0], kernel, **options), 4, axis=axis))
        kernels = ops.split(kernel, 4, axis=-1)
        return [ops.conv(x, w, **options) for x, w in zip(images, kernels, strict=True)]
