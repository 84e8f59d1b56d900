"""Equalization, RandAugment, AugMix: what needs a whole batch, or layers one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl import random
from cdl._common.validation import flag, number, one_of, positive_int
from cdl.data import as_numeric
from cdl.layers.layer import registry
from cdl.layers.preprocessing.image import coloring, moving, toning
from cdl.layers.preprocessing.image.random_image import (
    RandomImage,
    checked_range,
    checked_values,
    scaled,
)
from cdl.layers.running import in_dtype

if TYPE_CHECKING:
    from typing import Unpack

    from numpy.typing import NDArray

    from cdl._ir.program import Program, Value
    from cdl.layers.arguments import LayerArguments

_PARTS = ("images", "labels", "segmentation_masks")


class _OnBatches(RandomImage):
    """A layer that changes batches of arrays in training; in a model's training it is refused."""

    def lower(self, program: Program, x: Value) -> Value:
        """Append nothing.

        Raises:
            ValueError: in training.
        """
        if program.is_noisy:
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: it must be called on arrays, as in a "
                "utils.PyDataset, since it is of a whole batch"
            )
        return x

    def _on_arrays(
        self, inputs: Any, training: bool | None = None, mask: Any = None
    ) -> NDArray[Any]:
        del mask
        owner = f"{type(self).__name__} {self.name!r}"
        parts = dict(inputs) if isinstance(inputs, dict) else {"images": inputs}
        if "images" not in parts:
            raise ValueError(f"{owner}: inputs must have the key 'images', got {list(parts)}")
        for name in parts:
            one_of(owner, "each key of inputs", name, _PARTS)
        names = [name for name in ("images", "segmentation_masks") if name in parts]
        given = {name: as_numeric(parts[name], f"{owner}: {name}") for name in names}
        alone = given["images"].ndim == 3
        given = {name: x[None] if alone else x for name, x in given.items()}
        for x in given.values():
            self.check_input(x.shape)
        given["images"] = given["images"].astype(np.float32)
        if training is None or training:
            given = self._changed(given)
        (given["images"],) = in_dtype([given["images"]], self._input_dtype())
        parts |= {name: x[0] if alone else x for name, x in given.items()}
        return parts if isinstance(inputs, dict) else parts["images"]  # type: ignore[return-value]

    def _changed(self, parts: dict[str, Any]) -> dict[str, Any]:
        """What becomes of images, and of their masks if there are any."""
        raise NotImplementedError


@registry.add()
class Equalization(_OnBatches):
    """In training the numbers of each channel of a batch spread so that all are equally frequent.

    Called on arrays: images, or a dict with "images", "labels" and "segmentation_masks".

    Args:
        value_range: the lowest and the highest number of images.
        bins: into how many numbers are counted.
        data_format: "channels_last" or "channels_first"; None is the configured one.
        kwargs: see `Layer`.

    Raises:
        ValueError: an invalid range or number of bins.
    """

    def __init__(
        self,
        value_range: float | Sequence[float] = (0, 255),
        bins: int = 256,
        data_format: str | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(None, data_format, **kwargs)
        self.bins = positive_int("Equalization", "bins", bins)
        self.value_range = list(checked_values(self, value_range))

    @property
    def _seed_generators(self) -> list[Any]:
        """None, since it draws nothing."""
        return []

    def _changed(self, parts: dict[str, Any]) -> dict[str, Any]:
        axis = 3 if self.data_format == "channels_last" else 1
        x = np.moveaxis(np.asarray(scaled(parts["images"], self.value_range, (0, 255))), axis, 0)
        found = np.stack([self._spread(channel.astype(np.float32)) for channel in x])
        images = scaled(np.moveaxis(found, 0, axis), (0, 255), self.value_range)
        return {**parts, "images": np.asarray(images, np.float32)}

    def _spread(self, channel: NDArray[Any]) -> NDArray[Any]:
        top = self.bins - 1
        places = np.clip((channel * top / np.float32(255)).astype(np.int32), 0, top)
        counts = np.bincount(places.ravel(), minlength=self.bins)
        if np.count_nonzero(counts) <= 1:
            return channel
        total = np.cumsum(counts)
        lowest = total[total > 0][0]
        table = np.round((total - lowest) * 255 / max(total[-1] - lowest, 1))
        at = np.clip(channel / np.float32(255) * top, 0, top).astype(np.int32)
        spread: NDArray[Any] = np.clip(table, 0, 255).astype(np.float32)[at]
        return spread

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = {**super().get_config(), "bins": self.bins, "value_range": self.value_range}
        config.pop("seed")
        return config


class _Chained(_OnBatches):
    """A layer that runs others, which are chosen by chance.

    Args:
        value_range: the lowest and the highest number of images.
        factor: how much the others change: two numbers from 0 to 1, or one, f, for 0 to f.
        interpolation: "bilinear" or "nearest", of those that move places.
        seed: an int, or None for one drawn now.
        data_format: "channels_last" or "channels_first"; None is the configured one.
        kwargs: see `Layer`.
    """

    def __init__(
        self,
        value_range: Any,
        factor: Any,
        interpolation: str,
        seed: int | None,
        data_format: str | None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(seed, data_format, **kwargs)
        checked_values(self, value_range)
        self.value_range, self.interpolation = value_range, interpolation
        f: Any = checked_range(self, "factor", factor, 0.0, 1.0)
        self.factor = f
        fixed: Any = {"value_range": value_range, "data_format": data_format}
        drawn: Any = {**fixed, "seed": seed}
        moved: Any = {"interpolation": interpolation, "seed": seed, "data_format": data_format}
        self.random_shear = moving.RandomShear(f, f, **moved)
        self.random_translation = moving.RandomTranslation(f, f, **moved)
        self.random_rotation = moving.RandomRotation(f, **moved)
        self.random_posterization = toning.RandomPosterization(max(1, int(8 * f[1])), **drawn)
        self.solarization = toning.Solarization(f, f, **drawn)
        self.auto_contrast = toning.AutoContrast(**fixed)
        self.equalization = Equalization(**fixed)
        self.random_brightness = coloring.RandomBrightness(f, **drawn)
        self.random_color_degeneration = coloring.RandomColorDegeneration(f, **drawn)
        self.random_contrast = coloring.RandomContrast(f, **drawn)
        self.random_sharpness = toning.RandomSharpness(f, **drawn)

    def _sublayers(self) -> list[Any]:
        return [*self._layers(), *super()._sublayers()]

    def _layers(self) -> list[Any]:
        """The layers, first those that leave colours in their order."""
        return [
            self.random_shear,
            self.random_translation,
            self.random_rotation,
            self.random_posterization,
            self.solarization,
            self.auto_contrast,
            self.equalization,
            self.random_brightness,
            self.random_color_degeneration,
            self.random_contrast,
            self.random_sharpness,
        ]

    def _chosen(self, n: int, count: int) -> list[int]:
        """Numbers below n that are drawn."""
        drawn = random.randint((count,), 0, n, seed=self.seed_generator)
        return [int(each) for each in np.asarray(drawn)]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "value_range": self.value_range,
            "factor": self.factor,
            "interpolation": self.interpolation,
        }


@registry.add()
class RandAugment(_Chained):
    """In training some layers one after the other, drawn for each batch (Cubuk et al., 2020).

    They shear, move, turn, brighten, pale, posterize, invert, sharpen or equalize. Called on
    arrays: images, or a dict with "images", "labels" and "segmentation_masks".

    Args:
        value_range: the lowest and the highest number of images.
        num_ops: how many layers.
        factor: how much they change: two numbers from 0 to 1, or one, f, for 0 to f.
        interpolation: "bilinear" or "nearest", of those that move places.
        seed: an int, or None for one drawn now.
        data_format: "channels_last" or "channels_first"; None is the configured one.
        kwargs: see `Layer`.

    Raises:
        ValueError: a factor beyond 0 to 1, or an invalid range.
    """

    def __init__(
        self,
        value_range: Any = (0, 255),
        num_ops: int = 2,
        factor: Any = 0.5,
        interpolation: str = "bilinear",
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(value_range, factor, interpolation, seed, data_format, **kwargs)
        self.num_ops = positive_int("RandAugment", "num_ops", num_ops)

    def _changed(self, parts: dict[str, Any]) -> dict[str, Any]:
        layers = self._layers()
        for i in self._chosen(len(layers), self.num_ops):
            parts = layers[i](parts, training=True)
        return parts

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "num_ops": self.num_ops}


@registry.add()
class AugMix(_Chained):
    """In training images mixed with what chains of layers make of them (Hendrycks et al., 2020).

    Called on arrays: images, or a dict with "images", "labels" and "segmentation_masks", which are
    mixed by the same weights.

    Args:
        value_range: the lowest and the highest number of images; what is beyond is cut.
        num_chains: how many chains.
        chain_depth: the most layers of a chain.
        factor: how much they change: two numbers from 0 to 1, or one, f, for 0 to f.
        alpha: of the distributions that the weights of chains and images are drawn from.
        all_ops: whether layers that change brightness, colours, contrast and sharpness are among
            them.
        interpolation: "bilinear" or "nearest", of those that move places.
        seed: an int, or None for one drawn now.
        data_format: "channels_last" or "channels_first"; None is the configured one.
        kwargs: see `Layer`.

    Raises:
        ValueError: a factor beyond 0 to 1, or other arguments out of their range.
    """

    def __init__(
        self,
        value_range: Any = (0, 255),
        num_chains: int = 3,
        chain_depth: int = 3,
        factor: Any = 0.3,
        alpha: float = 1.0,
        all_ops: bool = True,
        interpolation: str = "bilinear",
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(value_range, factor, interpolation, seed, data_format, **kwargs)
        self.num_chains = positive_int("AugMix", "num_chains", num_chains)
        self.chain_depth = positive_int("AugMix", "chain_depth", chain_depth)
        number("AugMix", "alpha", alpha, above=0.0)
        self.alpha, self.all_ops = alpha, flag("AugMix", "all_ops", all_ops)

    def _changed(self, parts: dict[str, Any]) -> dict[str, Any]:
        layers = self._layers()[: None if self.all_ops else 7]
        seed = self.seed_generator
        weights = np.asarray(random.gamma((self.num_chains,), self.alpha, seed=seed))
        weights = weights / weights.sum()
        own = float(np.asarray(random.beta((1,), self.alpha, self.alpha, seed=seed))[0])
        mixed = {name: own * x for name, x in parts.items()}
        for weight in weights:
            chain = parts
            for i in self._chosen(len(layers) + 1, self.chain_depth):
                chain = layers[i](chain, training=True) if i < len(layers) else chain
            mixed = {name: x + (1.0 - own) * weight * chain[name] for name, x in mixed.items()}
        low, high = sorted(self.value_range)
        images = np.clip(mixed["images"], low, high).astype(np.float32)
        return {**mixed, "images": images}

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = ("num_chains", "chain_depth", "alpha", "all_ops")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}
