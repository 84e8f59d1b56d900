"""Scaled: base of normalizations with a learned scale and shift."""

from __future__ import annotations

from cdl import constraints, initializers, regularizers
from cdl._common.validation import flag, number
from cdl._tracing.keras_tensor import known_samples
from cdl.layers import rules
from cdl.layers.arguments import Identifier, LayerArguments, Unpack, Variable
from cdl.layers.same_shape import AlongAxes


class Scaled(AlongAxes):
    """Base of normalizations ``gamma * u + beta``, u the normalized input.

    Args:
        epsilon: keeps the root away from 0.
        center: whether there is a beta.
        scale: whether there is a gamma.
        beta_initializer: initial values of beta.
        gamma_initializer: initial values of gamma.
        beta_regularizer: a penalty on beta.
        gamma_regularizer: a penalty on gamma.
        beta_constraint: what beta must be after each update.
        gamma_constraint: what gamma must be after each update.
    """

    _in_float32 = True
    _inner: tuple[str, ...] = ("add_scale",)
    gamma: Variable | None
    beta: Variable | None

    def __init__(
        self,
        *,
        epsilon: float,
        center: bool,
        scale: bool,
        beta_initializer: Identifier,
        gamma_initializer: Identifier,
        beta_regularizer: Identifier,
        gamma_regularizer: Identifier,
        beta_constraint: Identifier,
        gamma_constraint: Identifier,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        owner = type(self).__name__
        self.epsilon = number(owner, "epsilon", epsilon, low=0.0)
        self.center = flag(owner, "center", center)
        self.scale = flag(owner, "scale", scale)
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma_initializer = initializers.get(gamma_initializer)
        self.beta_regularizer = regularizers.get(beta_regularizer)
        self.gamma_regularizer = regularizers.get(gamma_regularizer)
        self.beta_constraint = constraints.get(beta_constraint)
        self.gamma_constraint = constraints.get(gamma_constraint)
        self.gamma = self.beta = None

    def add_scale(self, shape: tuple[int, ...]) -> None:
        """Create gamma and beta, as far as the layer has them."""
        if self.scale:
            self.gamma = rules.add(self, "gamma", shape, autocast=False)
        if self.center:
            self.beta = rules.add(self, "beta", shape, autocast=False)


def check_samples(owner: str, axes: tuple[int, ...], *weights: Variable | None) -> None:
    """Check that weights along the samples fit a batch.

    Args:
        axes: along which it works.
        weights: of the sizes of these axes; None for one that it has not.

    Raises:
        ValueError: the batch has another number of samples, or one that is not known.
    """
    samples = known_samples()
    if axes[0] == 0 and any(w is not None and w.shape[0] != samples for w in weights):
        sizes = {w.shape[0] for w in weights if w is not None}
        got = "" if samples is None else f", got {samples}"
        raise ValueError(
            f"{owner}: inputs must be batches of {sizes.pop()} samples, as many as the weights "
            f"along that axis are{got}"
        )
