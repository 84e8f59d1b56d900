"""GroupNormalization: normalization over groups of channels, per sample."""

from __future__ import annotations

from typing import Any

from cdl._common.validation import given, whole
from cdl.layers.arguments import Identifier, LayerArguments, Lowering, Shape, Unpack, Value
from cdl.layers.axes import along, permuted, reshaped
from cdl.layers.input_spec import InputSpec
from cdl.layers.layer import registry
from cdl.layers.normalization.line_normalization import BY_VARIANCE
from cdl.layers.normalization.scaled import Scaled
from cdl.layers.shapes import axes_within, sizes_of


@registry.add()
class GroupNormalization(Scaled):
    """Group normalization, ``gamma * (x - mean) / sqrt(variance + epsilon) + beta``, by group.

    Each sample's channels are cut into groups that lie side by side; mean and variance are over the
    channels of a group and all axes beside that of the channels.

    Args:
        groups: how many groups, a divisor of the number of channels; -1 for a group a channel.
        axis: the axis of the channels.

    Weights: gamma, beta, each of the shape (channels,).

    Raises:
        ValueError: a wrong argument; when it is built, `groups` does not divide the channels.
    """

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
        epsilon: float = 0.001,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Identifier = "zeros",
        gamma_initializer: Identifier = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        if whole("GroupNormalization", "groups", groups) < 1 and groups != -1:
            raise ValueError(
                f"GroupNormalization: groups must be a positive int or -1, got {groups}"
            )
        super().__init__(**given(locals(), "groups", "axis"))
        self.autocast = False
        self.groups = groups
        self.axis = whole("GroupNormalization", "axis", axis)

    def build(self, input_shape: Shape) -> None:
        """Create the weights for inputs with that many channels."""
        owner, shape = f"GroupNormalization {self.name!r}", tuple(input_shape)
        (axis,) = axes_within(owner, self.axis, shape)
        if not axis:
            raise ValueError(f"{owner}: axis must not be the axis of the samples, got {self.axis}")
        (channels,) = sizes_of(owner, (axis,), shape)
        self.groups = channels if self.groups == -1 else self.groups
        if channels % self.groups:
            raise ValueError(
                f"{owner}: groups must divide the {channels} channels, got {self.groups}"
            )
        self.input_spec = InputSpec(ndim=len(shape), axes={self.axis: channels})
        self.add_scale((channels,))
        super().build(input_shape)

    def lower(self, program: Lowering, x: Value) -> Value:
        """Append the normalization of lines that are groups, then scale and shift of channels."""
        (axis,) = axes_within(self.name, self.axis, (None, *x.shape))
        others = [other for other in range(1, len(x.shape) + 1) if other != axis]
        order = [axis, *others]
        moved = permuted(program, x, order)
        size = 1
        for n in x.shape:
            size *= n
        lines = reshaped(program, moved, (self.groups, size // self.groups))
        attributes = {"measure": BY_VARIANCE, "subtracts_mean": 1, "epsilon": self.epsilon}
        u = program.emit("normalize", (lines,), lines.shape, (None, None), **attributes)
        inverse = [order.index(each) + 1 for each in sorted(order)]
        u = permuted(program, reshaped(program, u, moved.shape), inverse)
        if self.gamma is None and self.beta is None:
            return u
        params = (None, self.gamma, self.beta)

        def emit(channels: Value) -> Value:
            return program.emit("affine", (channels,), channels.shape, params)

        return along(program, u, (axis,), emit)
