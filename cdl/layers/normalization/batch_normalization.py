"""BatchNormalization: normalization of each channel over the batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from cdl import initializers, ops
from cdl._common.validation import given, not_yet, number, whole
from cdl._tracing.graph import current_scope
from cdl.layers import rules
from cdl.layers.arguments import (
    Identifier,
    LayerArguments,
    Lowering,
    Shape,
    Unpack,
    Value,
    Variable,
)
from cdl.layers.axes import along
from cdl.layers.input_spec import InputSpec
from cdl.layers.layer import registry
from cdl.layers.masks import as_lines
from cdl.layers.normalization.scaled import Scaled, check_samples
from cdl.layers.shapes import axes_within, sizes_of

_MOST = float(np.finfo(np.float32).max)


@registry.add()
class BatchNormalization(Scaled):
    """Batch normalization, ``gamma * (x - mean) / sqrt(variance + epsilon) + beta``, by channel.

    In training they are those of the batch, over all axes but `axis` (the variance divides by the
    count), and the moving ones follow: ``moving = moving * momentum + batch * (1 - momentum)``.
    Otherwise, and always if the layer is not trainable, they are the moving ones. What an input's
    mask leaves out does not count in the statistics of a batch.

    Args:
        axis: the axis of the channels.
        momentum: how much of the moving statistics stays at a step.
        moving_mean_initializer: initial values of the moving mean.
        moving_variance_initializer: initial values of the moving variance.
        renorm: whether to renormalize (Ioffe, 2017): in training x, brought to mean 0 and
            variance 1, becomes ``r x + d``, where ``r = stddev / renorm_stddev`` and ``d = (mean -
            renorm_mean) / renorm_stddev`` come from the batch and from those before.
        renorm_clipping: with `renorm`: a dict of bounds, "rmin" and "rmax" of r, "dmax" of |d|.
        renorm_momentum: with `renorm`: how much of renorm_mean and renorm_stddev stays at a step.
        synchronized: False; there is one device.

    Weights: gamma, beta, then moving_mean, moving_variance, which are never trained; each of the
    shape (channels,). With `renorm` also moving_stddev, renorm_mean, renorm_stddev.

    Raises:
        ValueError: a wrong or an unsupported argument.

    Examples:
        >>> layer = cdl.layers.BatchNormalization(epsilon=0.0)
        >>> layer(np.array([[1.0], [3.0]], "float32"), training=True)
        array([[-1.],
               [ 1.]], dtype=float32)
    """

    takes_mask = True
    _not_in_config = ("synchronized",)
    moving_mean: Variable
    moving_variance: Variable
    moving_stddev: Variable
    renorm_mean: Variable
    renorm_stddev: Variable

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 0.001,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Identifier = "zeros",
        gamma_initializer: Identifier = "ones",
        moving_mean_initializer: Identifier = "zeros",
        moving_variance_initializer: Identifier = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        renorm: bool = False,
        renorm_clipping: Any = None,
        renorm_momentum: float = 0.99,
        synchronized: bool = False,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(
            **given(
                locals(),
                "axis",
                "momentum",
                "moving_mean_initializer",
                "moving_variance_initializer",
                "renorm",
                "renorm_clipping",
                "renorm_momentum",
                "synchronized",
            )
        )
        owner = "BatchNormalization"
        self.axis = whole(owner, "axis", axis)
        self.momentum = number(owner, "momentum", momentum)
        not_yet(owner, synchronized=(synchronized, False))
        self.renorm = bool(renorm)
        self.renorm_clipping = _bounds(renorm_clipping) if renorm else renorm_clipping
        self.renorm_momentum = number(owner, "renorm_momentum", renorm_momentum)
        self.moving_mean_initializer = initializers.get(moving_mean_initializer)
        self.moving_variance_initializer = initializers.get(moving_variance_initializer)

    @property
    def _reads_moved(self) -> bool:
        return self.renorm  # else the statistics of the batch in training

    def build(self, input_shape: Shape) -> None:
        """Create the weights for inputs with that many channels."""
        owner, shape = f"BatchNormalization {self.name!r}", tuple(input_shape)
        (axis,) = axes_within(owner, self.axis, shape)
        (channels,) = sizes_of(owner, (axis,), shape)
        self.add_scale((channels,))
        first: Any = self.moving_mean_initializer
        told: Any = {"trainable": False, "autocast": False}
        self.moving_mean = self.add_weight((channels,), first, name="moving_mean", **told)
        first = self.moving_variance_initializer
        self.moving_variance = self.add_weight((channels,), first, name="moving_variance", **told)
        for name in ("moving_stddev", "renorm_mean", "renorm_stddev") if self.renorm else ():
            first = self.moving_mean_initializer if name == "renorm_mean" else self._first_stddev
            setattr(self, name, self.add_weight((channels,), first, name=name, **told))
        self.input_spec = InputSpec(ndim=len(shape), axes={self.axis: channels})
        super().build(input_shape)

    def _first_stddev(self, shape: Shape, dtype: Any = None) -> Any:
        """Initial values of a moving deviation: the root of those of the variance."""
        first: Any = self.moving_variance_initializer
        return np.sqrt(first(shape, dtype))

    def lower(self, program: Lowering, x: Value, mask: Value | None = None) -> Value:
        """Append the normalization of lines of channels, by the lines that a mask shows.

        Args:
            program: what it is appended to.
            x: the input.
            mask: in the place of that of the input, or None for that.
        """
        params: tuple[Any, ...] = (self.gamma, self.beta, self.moving_mean, self.moving_variance)
        renorm: tuple[float, ...] = ()
        if self.renorm:
            params += (self.moving_stddev, self.renorm_mean, self.renorm_stddev)
            bounds = {"rmin": 0.0, "rmax": _MOST, "dmax": _MOST, **self.renorm_clipping}
            renorm = (self.renorm_momentum, bounds["rmin"], bounds["rmax"], bounds["dmax"])
        attributes = {
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "frozen": int(not self.trainable),
        }

        (axis,) = axes_within(self.name, self.axis, (None, *x.shape))
        check_samples(f"BatchNormalization {self.name!r}", (axis,), self.moving_mean)
        shown = (
            x.mask
            if mask is None
            else as_lines(program, f"BatchNormalization {self.name!r}", x, mask)
        )
        if shown is not None and axis != len(x.shape):
            raise ValueError(
                f"BatchNormalization {self.name!r}: axis must be the last one for an input with a "
                f"mask, got {self.axis}"
            )

        def emit(lines: Value) -> Value:
            inputs = (lines,) if shown is None else (lines, shown)
            return program.emit(
                "batch_norm", inputs, lines.shape, params, data=renorm, **attributes
            )

        return along(program, x, (axis,), emit)

    def _of_constants(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Record the normalization of an array, or of what weights give, in code that is traced."""
        (axis,) = axes_within(self.name, self.axis, np.shape(inputs))
        scope = current_scope()
        assert scope is not None
        if training and not scope.training:
            raise ValueError(
                f"BatchNormalization {self.name!r}: inputs must have the samples as their first "
                "axis with training=True on a tape or by name in a call (pass on the `training` of "
                "the call: fit gives True), got an array that has other ones"
            )
        if self.trainable and training is not False and scope.training:
            rest = tuple(n for n in range(len(np.shape(inputs))) if n != axis)
            mean, variance = ops.moments(inputs, rest)
            for moving, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moving.assign(moving * self.momentum + now * (1 - self.momentum))
        else:
            mean, variance = self.moving_mean, self.moving_variance
        return ops.batch_normalization(
            inputs, mean, variance, axis, self.beta, self.gamma, self.epsilon
        )

    def get_config(self) -> dict[str, Any]:
        names = "axis momentum moving_mean_initializer moving_variance_initializer"
        own = {**rules.config(self, names), "synchronized": False}
        renorm = rules.config(self, "renorm renorm_clipping renorm_momentum")
        return {**super().get_config(), **own, **renorm}


def _bounds(clipping: Any) -> dict[str, float]:
    """Bounds of a renormalization, those that are given."""
    owner, names = "BatchNormalization: renorm_clipping", ("rmax", "rmin", "dmax")
    given = {} if clipping is None else clipping
    if not isinstance(given, dict) or set(given) - set(names):
        raise ValueError(f"{owner} must be a dict with keys among {names}, got {clipping!r}")
    bounds = {k: number(owner, k, v) for k, v in given.items() if v is not None}
    if bounds.get("rmax", _MOST) < bounds.get("rmin", 0.0):
        raise ValueError(f"{owner}: rmax must be at least rmin, got {clipping!r}")
    if bounds.get("dmax", 0.0) < 0:
        raise ValueError(f"{owner}: dmax must be at least 0, got {clipping!r}")
    return bounds
