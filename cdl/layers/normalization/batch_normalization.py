"""batch_normalization.py - BatchNormalization: each channel brought to mean 0 and variance 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cdl import initializers
from cdl._arguments import not_yet, number, whole
from cdl.layers.axes import along
from cdl.layers.input_spec import InputSpec
from cdl.layers.layer import family
from cdl.layers.normalization.scaled import Scaled
from cdl.layers.shapes import axes_within, sizes_of

if TYPE_CHECKING:
    from cdl._program import Program, Value
    from cdl._variable import Variable


@family.add()
class BatchNormalization(Scaled):
    """``gamma * (x - mean) / sqrt(variance + epsilon) + beta``, by channel.

    In training they are those of the batch, over all axes but `axis` (the variance divides by the
    count), and the moving ones follow: ``moving = moving * momentum + batch * (1 - momentum)``.
    Otherwise, and always if the layer is not trainable, they are the moving ones. What an input's
    mask leaves out does not count in the statistics of a batch.

    Args:
        axis: the axis of the channels.
        momentum: how much of the moving statistics stays at a step.
        epsilon: keeps the root away from 0.
        center: whether there is a beta.
        scale: whether there is a gamma.
        beta_initializer: first values of beta.
        gamma_initializer: first values of gamma.
        moving_mean_initializer: first values of the moving mean.
        moving_variance_initializer: first values of the moving variance.
        beta_regularizer: a penalty on beta.
        gamma_regularizer: a penalty on gamma.
        beta_constraint: what beta must be after each update.
        gamma_constraint: what gamma must be after each update.
        renorm: not supported.
        renorm_clipping: kept; it would only matter with `renorm`.
        renorm_momentum: likewise.
        synchronized: not supported, as in Keras without TensorFlow.
        kwargs: see `Layer`.

    Weights: gamma, beta, then moving_mean, moving_variance, which are never trained; each of the
    shape (channels,).

    Raises:
        ValueError: a wrong or an unsupported argument.
    """

    takes_mask = True
    moving_mean: Variable
    moving_variance: Variable

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 0.001,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        renorm: bool = False,
        renorm_clipping: Any = None,
        renorm_momentum: float = 0.99,
        synchronized: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            epsilon,
            center,
            scale,
            beta_initializer,
            gamma_initializer,
            beta_regularizer,
            gamma_regularizer,
            beta_constraint,
            gamma_constraint,
            **kwargs,
        )
        owner = "BatchNormalization"
        self.axis = whole(owner, "axis", axis)
        self.momentum = number(owner, "momentum", momentum)
        not_yet(owner, renorm=(renorm, False), synchronized=(synchronized, False))
        self.renorm_clipping = renorm_clipping
        self.renorm_momentum = renorm_momentum
        self.moving_mean_initializer = initializers.get(moving_mean_initializer)
        self.moving_variance_initializer = initializers.get(moving_variance_initializer)

    def build(self, input_shape: Any) -> None:
        """Make the weights for inputs with that many channels."""
        owner, shape = f"BatchNormalization {self.name!r}", tuple(input_shape)
        (axis,) = axes_within(owner, self.axis, shape)
        (channels,) = sizes_of(owner, (axis,), shape)
        self.add_scale((channels,))
        self.moving_mean = self.add_weight(
            (channels,), self.moving_mean_initializer, name="moving_mean", trainable=False
        )
        self.moving_variance = self.add_weight(
            (channels,), self.moving_variance_initializer, name="moving_variance", trainable=False
        )
        self.input_spec = InputSpec(ndim=len(shape), axes={axis: channels})
        super().build(input_shape)

    def lower(self, program: Program, x: Value) -> Value:
        """Append the normalization of lines of channels."""
        params = (self.gamma, self.beta, self.moving_mean, self.moving_variance)
        attributes = {
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "frozen": float(not self.trainable),
        }

        (axis,) = axes_within(self.name, self.axis, (None, *x.shape))
        if x.mask is not None and axis != len(x.shape):
            raise ValueError(
                f"BatchNormalization {self.name!r}: axis must be the last one for an input with a "
                f"mask, got {self.axis}"
            )

        def emit(lines: Value) -> Value:
            inputs = (lines,) if x.mask is None else (lines, x.mask)
            return program.emit("batch_norm", inputs, lines.shape, params, **attributes)

        return along(program, x, (axis,), emit)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "axis": self.axis,
            "momentum": self.momentum,
            "moving_mean_initializer": initializers.serialize(self.moving_mean_initializer),
            "moving_variance_initializer": initializers.serialize(self.moving_variance_initializer),
            "synchronized": False,
            "renorm": False,
            "renorm_clipping": self.renorm_clipping,
            "renorm_momentum": self.renorm_momentum,
        }
