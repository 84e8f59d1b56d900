"""Dropout, SpatialDropout1D to 3D, AlphaDropout: random zeros in training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import DTypeLike

from cdl._common.validation import expected, number
from cdl.compat import renamed
from cdl.config import standardize_data_format
from cdl.layers.arguments import LayerArguments, Lowering, Unpack, Value
from cdl.layers.input_spec import InputSpec
from cdl.layers.layer import registry
from cdl.layers.regularization.random import Random

# Alpha dropout (Klambauer et al., 2017) sends what it drops to minus alpha times scale of selu.
_DROPPED = -1.6732632423543772 * 1.0507009873554805


def checked_rate(owner: str, rate: Any, name: str = "rate") -> float:
    """Check a rate, from 0 to 1, of the argument of that name.

    Raises:
        TypeError: it is no number.
        ValueError: it is one outside the limits.
    """
    if isinstance(rate, bool) or not isinstance(rate, (int, float, np.number)):
        raise TypeError(f"{owner}: {name} must be a number between 0 and 1, got {rate!r}")
    if 1 < rate <= 100:
        raise ValueError(
            f"{owner}: {name} must be a number between 0 and 1, got {rate!r}: {rate:g} % is "
            f"{rate / 100:g}"
        )
    number(owner, name, rate, 0.0, 1.0)
    return cast("float", rate)


def checked_noise_shape(owner: str, noise_shape: Any) -> tuple[int | None, ...] | None:
    """Check a noise shape: for each axis a positive int, or None for the input's size."""
    if noise_shape is None:
        return None
    if isinstance(noise_shape, str) or not hasattr(noise_shape, "__iter__"):
        raise expected(owner, "noise_shape", "a tuple of sizes or None", noise_shape)
    sizes = tuple(noise_shape)
    for size in sizes:
        if size is not None and (not isinstance(size, (int, np.integer)) or size < 1):
            raise expected(
                owner, "noise_shape", "a tuple of positive ints, None for an input's size,", sizes
            )
    return sizes


class _Patterned(Random):
    """Base of dropout with draws shared along axes, where the noise shape has a 1."""

    rate: float
    noise_shape: tuple[int | None, ...] | None = None

    def _pattern(self, x: Value) -> int:
        """Axes with a common draw, as bits: 1 for that of the samples, 2 for the next."""
        if self.noise_shape is None:
            return 0
        owner, shape = f"{type(self).__name__} {self.name!r}", (None, *x.shape)
        if len(self.noise_shape) > len(shape):
            raise ValueError(
                f"{owner}: noise_shape must have at most the {len(shape)} axes of the input, "
                f"got {self.noise_shape}"
            )
        # A shorter shape belongs to the last axes, as in broadcasting.
        given = (1,) * (len(shape) - len(self.noise_shape)) + self.noise_shape
        for size, of_x in zip(given, shape, strict=True):
            if None not in (size, of_x) and size not in (1, of_x):
                raise ValueError(
                    f"{owner}: noise_shape must have a 1, a None or the input's size for each "
                    f"axis, got {self.noise_shape} for an input of shape {shape}"
                )
        pairs = enumerate(zip(given, shape, strict=True))
        return sum(1 << k for k, (size, of_x) in pairs if size == 1 and of_x != 1)

    def _emit(
        self, program: Lowering, x: Value, scale: float, shift: float = 0.0, dropped: float = 0.0
    ) -> Value:
        return program.emit(
            "patterned_dropout",
            (x,),
            x.shape,
            rate=float(self.rate),
            common=self._pattern(x),
            scale=scale,
            shift=shift,
            dropped=dropped,
            **self._draws(program),
        )


@registry.add()
class Dropout(_Patterned):
    """Dropout: zeros with probability `rate` in training, the others divided by ``1 - rate``.

    Outside training ``y = x``.

    Args:
        rate: the probability, from 0 to 1.
        noise_shape: the shape in which is drawn what is dropped, batch axis included: along an
            axis with a 1 all share a draw; None stands for the input's size. None for a draw a
            number.

    Raises:
        ValueError: a rate outside the limits, or an invalid noise shape.
    """

    @renamed(p="rate")
    def __init__(
        self,
        rate: float,
        noise_shape: Sequence[int | None] | None = None,
        seed: int | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(seed, **kwargs)
        self.rate = checked_rate(type(self).__name__, rate)
        self.noise_shape = checked_noise_shape(type(self).__name__, noise_shape)
        self.by_lines = self.noise_shape is None and type(self) is Dropout

    def lower(self, program: Lowering, x: Value) -> Value:
        """Append the dropout; nothing if the rate is 0."""
        if self.rate == 0:
            return x
        if self._pattern(x):
            kept = 1.0 - float(self.rate)
            return self._emit(program, x, scale=1.0 / kept if kept > 0 else 0.0)
        rate = float(self.rate)
        return program.emit("dropout", (x,), x.shape, (), rate=rate, **self._draws(program))


@registry.add()
class AlphaDropout(_Patterned):
    """Alpha dropout for `selu` nets: mean and variance are preserved.

    In training a number becomes ``a x + b``, or with probability `rate` ``a d + b`` with
    ``d = -1.7581``, ``a = 1 / sqrt((1 - rate) (1 + rate d^2))``, ``b = -a d rate``. Outside
    training ``y = x``.

    Args:
        rate: the probability, from 0 to 1.
        noise_shape: as of `Dropout`.
    """

    @renamed(p="rate")
    def __init__(
        self,
        rate: float,
        noise_shape: Sequence[int | None] | None = None,
        seed: int | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(seed, **kwargs)
        self.rate = checked_rate("AlphaDropout", rate)
        self.noise_shape = checked_noise_shape("AlphaDropout", noise_shape)

    def lower(self, program: Lowering, x: Value) -> Value:
        """Append the dropout; nothing if the rate is 0."""
        rate = float(self.rate)
        if rate == 0:
            return x
        if rate == 1:
            raise ValueError(
                f"AlphaDropout {self.name!r}: rate must be less than 1, got {self.rate}"
            )
        a = ((1 - rate) * (1 + rate * _DROPPED**2)) ** -0.5
        b = -a * _DROPPED * rate
        return self._emit(program, x, scale=a, shift=b, dropped=a * _DROPPED + b)


class _SpatialDropout(Dropout):
    """Base of dropout of whole channels."""

    _inner: tuple[str, ...] = ("ndim",)
    ndim: int
    data_format = "channels_last"

    def __init__(self, rate: float, seed: int | None, name: str | None, dtype: DTypeLike) -> None:
        super().__init__(rate, seed=seed, name=name, dtype=dtype)
        self.input_spec = InputSpec(ndim=self.ndim)

    def _pattern(self, x: Value) -> int:
        channels = 1 if self.data_format == "channels_first" else self.ndim - 1
        places = [axis for axis in range(1, self.ndim) if axis != channels]
        return sum(1 << axis for axis in places)

    def get_config(self) -> dict[str, Any]:
        config = {"rate": self.rate, "seed": self.seed, "name": self.name, "dtype": self.dtype}
        if self.ndim > 3:
            config["data_format"] = self.data_format
        return {**config, **self._given_config(config)}


@registry.add()
class SpatialDropout1D(_SpatialDropout):
    """Spatial dropout of whole channels of inputs of shape ``(samples, steps, channels)``."""

    ndim = 3

    @renamed(p="rate")
    def __init__(
        self, rate: float, seed: int | None = None, name: str | None = None, dtype: Any = None
    ) -> None:
        super().__init__(rate, seed, name, dtype)


@registry.add()
class SpatialDropout2D(_SpatialDropout):
    """Spatial dropout of whole channels of inputs of shape ``(samples, rows, columns, channels)``.

    Args:
        data_format: "channels_last" or "channels_first"; None is the configured one.
    """

    ndim = 4

    @renamed(p="rate")
    def __init__(
        self,
        rate: float,
        data_format: str | None = None,
        seed: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(rate, seed, name, dtype)
        self.data_format = standardize_data_format(data_format, type(self).__name__)


@registry.add()
class SpatialDropout3D(SpatialDropout2D):
    """Spatial dropout of whole channels of inputs of shape ``(samples, a, b, c, channels)``."""

    ndim = 5
