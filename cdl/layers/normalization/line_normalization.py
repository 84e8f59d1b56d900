"""Layer, root mean square and unit normalization, per sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cdl._common.validation import axes, flag, given, number
from cdl.layers.arguments import Identifier, LayerArguments, Lowering, Unpack, Value, Variable
from cdl.layers.axes import along
from cdl.layers.layer import registry
from cdl.layers.normalization.scaled import Scaled, check_samples
from cdl.layers.same_shape import AlongLines, SameShape
from cdl.layers.shapes import Shape, axes_within, lines_within, sizes_of

# Measures of a line's factor: the op's `measure`.
BY_VARIANCE, BY_MEAN_SQUARE, BY_NORM = 0, 1, 2


def normalized(
    program: Lowering,
    x: Value,
    axes: tuple[int, ...],
    params: tuple[Variable | None, Variable | None],
    **attributes: float,
) -> Value:
    """Normalization of lines that have the axes `axes` as their last."""

    def emit(lines: Value) -> Value:
        return program.emit("normalize", (lines,), lines.shape, params, **attributes)

    return along(program, x, axes, emit)


def _normalized_axes(layer: SameShape, shape: Shape, *weights: Variable | None) -> tuple[int, ...]:
    owner = f"{type(layer).__name__} {layer.name!r}"
    check_samples(owner, axes_within(owner, layer.axis, shape), *weights)
    return lines_within(owner, layer.axis, shape)


@registry.add()
class LayerNormalization(AlongLines, Scaled):
    """Layer normalization, ``gamma * (x - mean) / sqrt(variance + epsilon) + beta``, over `axis`.

    Args:
        axis: an axis, or several that are normalized together.
        kwargs: see `Layer`; also `rms_scaling`, which Keras calls deprecated: x itself is divided,
            not ``x - mean``, and there is no beta.

    Weights: gamma, beta, each of the sizes of the axes in ascending order.

    Raises:
        TypeError: `axis` is neither an int nor a list of them.
        ValueError: another wrong argument.
    """

    def __init__(
        self,
        axis: int | Sequence[int] = -1,
        epsilon: float = 0.001,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Identifier = "zeros",
        gamma_initializer: Identifier = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        self.rms_scaling = flag(
            "LayerNormalization", "rms_scaling", kwargs.pop("rms_scaling", False)
        )
        super().__init__(**given(locals(), "axis"))
        self.axis = _int_or_list("LayerNormalization", axis)
        self.autocast = False

    def build(self, input_shape: Shape) -> None:
        """Create the weights for inputs with those sizes of the axes."""
        shape, owner = tuple(input_shape), f"LayerNormalization {self.name!r}"
        axes = axes_within(owner, self.axis, shape)
        self.axis = sorted(self.axis) if isinstance(self.axis, list) else [self.axis]
        center, scale = self.center, self.scale
        if self.rms_scaling:
            self.center, self.scale = False, True
        weighted = self.center or self.scale
        self.add_scale(sizes_of(owner, axes, shape) if weighted else ())
        self.center, self.scale = center, scale
        super().build(input_shape)

    def lower(self, program: Lowering, x: Value) -> Value:
        axes = _normalized_axes(self, (None, *x.shape), self.gamma, self.beta)
        attributes = {"measure": BY_VARIANCE, "subtracts_mean": int(not self.rms_scaling)}
        return normalized(
            program, x, axes, (self.gamma, self.beta), epsilon=self.epsilon, **attributes
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rms_scaling": self.rms_scaling}


@registry.add()
class RMSNormalization(AlongLines):
    """Root mean square normalization, ``scale * x / sqrt(mean(x^2) + epsilon)``, over `axis`.

    Args:
        axis: an axis, or several that are normalized together.
        epsilon: keeps the root away from 0.

    Weights: scale, first all 1, of the sizes of the axes in ascending order.
    """

    _in_float32 = True
    scale: Variable

    def __init__(
        self,
        axis: int | Sequence[int] = -1,
        epsilon: float = 1e-6,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.supports_masking = False
        axes("RMSNormalization", "axis", axis)
        self.axis = axis
        self.epsilon = number("RMSNormalization", "epsilon", epsilon, low=0.0)

    def build(self, input_shape: Shape) -> None:
        """Create the scale for inputs with those sizes of the axes."""
        shape = tuple(input_shape)
        axes = axes_within(f"RMSNormalization {self.name!r}", self.axis, shape)
        several = isinstance(self.axis, (list, tuple))
        self.axis = sorted(self.axis) if several else [self.axis]
        sizes = sizes_of(f"RMSNormalization {self.name!r}", axes, shape)
        self.scale = self.add_weight(sizes, "ones", name="scale", matrix=False)
        super().build(input_shape)

    def lower(self, program: Lowering, x: Value) -> Value:
        axes = _normalized_axes(self, (None, *x.shape), self.scale)
        attributes = {"measure": BY_MEAN_SQUARE, "subtracts_mean": 0, "epsilon": self.epsilon}
        return normalized(program, x, axes, (self.scale, None), **attributes)


@registry.add()
class UnitNormalization(AlongLines):
    """Unit (L2) normalization, ``x / sqrt(sum(x^2))`` over `axis`; zeros stay zeros.

    Args:
        axis: an axis, or several that are normalized together.

    Raises:
        TypeError: `axis` is neither an int nor a list of them.
    """

    def __init__(self, axis: int | Sequence[int] = -1, **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        self.axis = _int_or_list("UnitNormalization", axis)
        self._build_at_init()

    def lower(self, program: Lowering, x: Value) -> Value:
        axes = _normalized_axes(self, (None, *x.shape))
        attributes = {"measure": BY_NORM, "subtracts_mean": 0, "epsilon": 1e-12}
        return normalized(program, x, axes, (None, None), **attributes)


def _int_or_list(owner: str, axis: int | Sequence[int]) -> int | list[int]:
    try:
        checked = axes(owner, "axis", axis)
    except ValueError as error:
        raise TypeError(str(error)) from None
    return list(checked) if isinstance(checked, tuple) else checked
