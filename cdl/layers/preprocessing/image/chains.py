"""Equalization, RandAugment, AugMix: layers on whole batches, or chains of layers."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from cdl import random
from cdl._common.validation import expected, flag, is_int, number, positive_int
from cdl._ir import emit
from cdl.data import as_numeric
from cdl.layers.arguments import LayerArguments, Lowering, NDArray, Unpack, Value
from cdl.layers.layer import registry
from cdl.layers.preprocessing.image import coloring, moving, toning
from cdl.layers.preprocessing.image.image_layer import ImageLayer
from cdl.layers.preprocessing.image.random_image import (
    RandomImage,
    checked_range,
    checked_values,
    scaled,
)
from cdl.layers.preprocessing.image.transformations import parts_of
from cdl.layers.running import in_dtype
from cdl.random import SeedGenerator


class _OnBatches(RandomImage):
    """Layer that changes whole batches in training; in a model's training it runs in Python."""

    def draws(self, images: Any) -> Any:
        """Nothing is drawn here.

        Raises:
            ValueError: it is asked for its draws in traced code.
        """
        raise ValueError(
            f"{type(self).__name__} {self.name!r}: get_random_transformation must be given arrays, "
            "since it runs in Python on whole batches"
        )

    def _lower_parts(self, program: Lowering, values: dict[str, Value]) -> dict[str, Value]:
        if not self._changes(program.is_noisy):
            return values
        moved = {name: value for name, value in values.items() if name != "labels"}
        shapes = {name: value.shape for name, value in moved.items()}
        x = emit.side_by_side(program, [*moved.values()])
        y = program.emit("host", (x,), x.shape, (), function=_Hosted(self, shapes))
        changed = emit.parts(program, y, shapes.values())
        return {**values, **dict(zip(shapes, changed, strict=True))}

    def _changed(self, parts: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Images and masks of a batch of training."""
        drawn = self._drawn(parts["images"], True)
        of_parts = {"images": self.transform, "segmentation_masks": self.transform_masks}
        return {name: of_parts[name](x, drawn) for name, x in parts.items()}

    def _on_arrays(
        self, inputs: Any, training: bool | None = None, mask: Any = None
    ) -> NDArray[Any]:
        del mask
        owner = f"{type(self).__name__} {self.name!r}"
        training = training is None or bool(training)
        if self._goes_by_methods(inputs):
            return self._by_methods(owner, inputs, training)  # type: ignore[no-any-return]
        parts = parts_of(owner, inputs)
        names = [name for name in ("images", "segmentation_masks") if name in parts]
        given: dict[str, NDArray[Any]] = {
            name: as_numeric(parts[name], f"{owner}: {name}") for name in names
        }
        alone = given["images"].ndim == 3
        given = {name: x[None] if alone else x for name, x in given.items()}
        for x in given.values():
            self.check_input(x.shape)
        given["images"] = given["images"].astype(np.float32)
        if training:
            given = self._changed(given)
        (given["images"],) = in_dtype([given["images"]], self._input_dtype())
        parts |= {name: x[0] if alone else x for name, x in given.items()}
        return parts if isinstance(inputs, dict) else parts["images"]  # type: ignore[return-value]


class _Hosted:
    """Layer as the core calls it, on images and masks side by side."""

    untraced = None

    def __init__(self, layer: _OnBatches, shapes: dict[str, tuple[int, ...]]) -> None:
        self.layer, self.shapes = layer, shapes

    def __repr__(self) -> str:
        return self.layer.name

    def forward(self, x: NDArray[Any], training: bool) -> NDArray[Any]:
        """Changed images and masks of a batch."""
        del training  # it is in programs of training alone
        ends = np.cumsum([prod(shape) for shape in self.shapes.values()])[:-1]
        parts = {
            name: part.reshape(len(x), *shape)
            for part, (name, shape) in zip(
                np.split(x, ends, axis=1), self.shapes.items(), strict=True
            )
        }
        found = [y.reshape(len(x), -1) for y in self.layer._changed(parts).values()]
        return np.concatenate(found, axis=1)

    def backward(self, *given: Any) -> NDArray[Any]:
        """Refuse to be differentiated.

        Args:
            given: input, output, gradient and mode of a batch.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            f"{type(self.layer).__name__} {self.layer.name!r}: no layer in front of it may have "
            "weights that are trained, since it has no derivative"
        )


@registry.add()
class Equalization(_OnBatches):
    """Histogram equalization of each channel of a batch, in training.

    Called on images, or a dict with "images", "labels" and "segmentation_masks". In a model's
    training it runs in Python, on one thread.

    Args:
        value_range: the lowest and the highest number of images.
        bins: into how many numbers are counted.

    Raises:
        ValueError: an invalid range or number of bins.
    """

    _not_in_config = ("seed",)

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

    _needs_draws = False

    def _drawn(self, images: Any, training: bool) -> Any:
        """None, since it draws nothing."""

    def transform(self, images: Any, drawn: Any) -> Any:
        axis = 3 if self.data_format == "channels_last" else 1
        x = np.moveaxis(np.asarray(scaled(images, self.value_range, (0, 255))), axis, 0)
        found = np.stack([self._spread(channel.astype(np.float32)) for channel in x])
        return np.asarray(
            scaled(np.moveaxis(found, 0, axis), (0, 255), self.value_range), np.float32
        )

    def _spread(self, channel: NDArray[Any]) -> NDArray[Any]:
        top = self.bins - 1
        known = np.where(np.isnan(channel), np.float32(0), channel)
        places = np.clip(known * top / np.float32(255), 0, top).astype(np.int32)
        counts = np.bincount(places.ravel(), minlength=self.bins)
        if np.count_nonzero(counts) <= 1:
            return channel
        total = np.cumsum(counts)
        lowest = total[total > 0][0]
        table = np.round((total - lowest) * 255 / max(total[-1] - lowest, 1))
        at = np.clip(known / np.float32(255) * top, 0, top).astype(np.int32)
        spread: NDArray[Any] = np.clip(table, 0, 255).astype(np.float32)[at]
        return np.where(np.isnan(channel), channel, spread)


class _Chained(_OnBatches):
    """Base of layers that run randomly chosen others.

    Args:
        value_range: the lowest and the highest number of images.
        factor: how much the others change: two numbers from 0 to 1, or one, f, for 0 to f.
        interpolation: "bilinear" or "nearest", of those that move places.
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
        return [*_Chained._layers(self), *super()._sublayers()]

    def _layers(self) -> list[Any]:
        """Layers, first those that leave colors in their order."""
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

    def _drawing_from(self, generator: SeedGenerator) -> Any:
        view = super()._drawing_from(generator)
        for name, each in vars(self).items():
            if isinstance(each, ImageLayer):
                vars(view)[name] = each._drawing_from(generator)
        return view

    def _drawn_for(self, images: Any, chosen: Sequence[int]) -> list[Any]:
        """Numbers of layers, with their draws; numbers beyond them change nothing."""
        layers = self._layers()
        return [(i, layers[i].get_random_transformation(images)) for i in chosen if i < len(layers)]

    def _through(self, x: Any, steps: list[Any], method: str) -> Any:
        """Images or masks after some layers, by one of their methods."""
        layers = self._layers()
        for i, drawn in steps:
            x = getattr(layers[i], method)(x, drawn)
        return x

    def _chosen(self, n: int, count: int) -> list[int]:
        """Drawn integers below n."""
        drawn = random.randint((count,), 0, n, seed=self.seed_generator)
        return [int(each) for each in np.asarray(drawn)]


@registry.add()
class RandAugment(_Chained):
    """RandAugment: random layers one after the other, in training (Cubuk et al., 2020).

    They shear, move, turn, brighten, pale, posterize, invert, sharpen or equalize. Called on
    images, or a dict with "images", "labels" and "segmentation_masks". In a model's training it
    runs in Python, on one thread.

    Args:
        num_ops: how many layers; 0 leaves images as they are.
        factor: how much they change: two numbers from 0 to 1, or one, f, for 0 to f.

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
        if not is_int(num_ops, 0):
            raise expected("RandAugment", "num_ops", "an int of at least 0", num_ops)
        self.num_ops = num_ops

    def _drawn(self, images: Any, training: bool) -> Any:
        """Layers of this batch, with their draws."""
        del training
        return self._drawn_for(images, self._chosen(len(self._layers()), self.num_ops))

    def transform(self, images: Any, drawn: Any) -> Any:
        return self._through(images, drawn, "transform_images")

    def transform_masks(self, masks: Any, drawn: Any) -> Any:
        return self._through(masks, drawn, "transform_segmentation_masks")

    def _moved_boxes(
        self, boxes: Any, labels: Any, drawn: Any, size: tuple[int, int]
    ) -> tuple[Any, Any]:
        layers = self._layers()
        for i, each in drawn:
            if each is not None:
                boxes, labels = layers[i]._moved_boxes(boxes, labels, each["drawn"], size)
        return boxes, labels


@registry.add()
class AugMix(_Chained):
    """AugMix: images mixed with chains of augmentations, in training (Hendrycks et al., 2020).

    Called on images, or a dict with "images", "labels" and "segmentation_masks", which are mixed by
    the same weights. In a model's training it runs in Python, on one thread.

    Args:
        value_range: the lowest and the highest number of images; what is beyond is cut.
        num_chains: how many chains.
        chain_depth: the most layers of a chain.
        factor: how much they change: two numbers from 0 to 1, or one, f, for 0 to f.
        alpha: of the distributions that the weights of chains and images are drawn from.
        all_ops: whether layers that change brightness, colours, contrast and sharpness are among
            them.

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

    def _layers(self) -> list[Any]:
        return super()._layers()[: None if self.all_ops else 7]

    def _shares(self) -> tuple[Any, float]:
        """Weights of the chains, and the share of the images themselves."""
        seed = self.seed_generator
        weights = np.asarray(random.gamma((self.num_chains,), self.alpha, seed=seed))
        own = float(np.asarray(random.beta((1,), self.alpha, self.alpha, seed=seed))[0])
        return weights / weights.sum(), own

    def _steps(self) -> list[int]:
        """Layers of one chain; the number after the last one stands for none."""
        return self._chosen(len(self._layers()) + 1, self.chain_depth)

    def _drawn(self, images: Any, training: bool) -> Any:
        """Weights, and the layers of each chain with their draws."""
        del training
        weights, own = self._shares()
        return own, [(weight, self._drawn_for(images, self._steps())) for weight in weights]

    def _of_chains(self, x: Any, drawn: Any, method: str) -> Any:
        own, chains = drawn
        mixed = own * x
        for weight, steps in chains:
            mixed = mixed + (1.0 - own) * weight * self._through(x, steps, method)
        return mixed

    def _within(self, images: Any) -> NDArray[Any]:
        low, high = sorted(self.value_range)
        cut: NDArray[Any] = np.clip(images, low, high).astype(np.float32)
        return cut

    def transform(self, images: Any, drawn: Any) -> Any:
        return self._within(self._of_chains(images, drawn, "transform_images"))

    def transform_masks(self, masks: Any, drawn: Any) -> Any:
        return self._of_chains(masks, drawn, "transform_segmentation_masks")
