"""MixUp, CutMix: mixtures of a batch's samples and labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cdl import random
from cdl._common.validation import number
from cdl._tracing.keras_tensor import KerasTensor, SymbolicBatch, known_samples
from cdl._tracing.lowered_tensor import LoweredTensor
from cdl.data import as_numeric
from cdl.layers.arguments import LayerArguments, NDArray, Unpack
from cdl.layers.layer import registry
from cdl.layers.preprocessing.image.random_image import RandomImage, checked_range
from cdl.layers.preprocessing.image.transformations import parts_of
from cdl.layers.running import in_dtype
from cdl.ops.nn.activations import sigmoid
from cdl.ops.numpy.arithmetic import maximum, sqrt
from cdl.ops.numpy.comparisons import where
from cdl.ops.numpy.elementary import log
from cdl.ops.numpy.indexing import take, take_along_axis
from cdl.ops.numpy.sorting import argmax, argsort
from cdl.ops.random import random_normal

_TRIES = 8  # of a number of a gamma distribution in a program
_LEAST = 1e-30  # above which a number has a logarithm


class Mixed(RandomImage):
    """Base of layers that mix each sample of a batch with another one."""

    def draws(self, images: Any) -> Any:
        """Shares of the images and of their labels, and the partners, in a program.

        Raises:
            TypeError: the number of samples is not known.
        """
        if known_samples() is None:
            raise TypeError(
                f"{type(self).__name__} {self.name!r}: inputs must be of batches whose size is "
                "known, since it mixes their samples"
            )
        weights, share = self._shares(images, self._of_program)
        other = argsort(self._uniform(0.0, 1.0, 1), axis=0)[:, 0]
        return {"weights": weights, "share": share, "other": other}

    def _shares(self, images: Any, drawn: Callable[..., Any]) -> tuple[Any, Any]:
        """Shares of each image's places, (n, 1 or ..., 1), and of its label, (n, 1).

        `drawn` gives numbers (n, 1) of a distribution, or one for all, by name.
        """
        raise NotImplementedError

    def _of_program(self, kind: str, first: Any, last: Any = None) -> Any:
        """Random numbers of a program; see `_shares`."""
        if kind == "uniform":
            return self._uniform(first, last, 1)
        if kind == "one":
            return first + (last - first) * self._shared()
        return sigmoid(self._log_gamma(first) - self._log_gamma(first))

    def _log_gamma(self, alpha: Any) -> Any:
        """Logarithms of numbers (n, 1) of a gamma distribution (Marsaglia and Tsang, 2000).

        Each takes the first of eight tries that is accepted, as 95 % at least are.
        """
        sizes: Any = (SymbolicBatch(), _TRIES)
        normal = random_normal(sizes, seed=self.seed_generator)
        uniform = self._uniform(_LEAST, 1.0, _TRIES)
        d = alpha + 2.0 / 3.0
        cube = (1.0 + normal / sqrt(9.0 * d)) ** 3
        of_cube = log(maximum(cube, _LEAST))
        fits = (cube > 0.0) & (log(uniform) < normal * normal / 2.0 + d * (1.0 - cube + of_cube))
        first = argmax(fits, axis=-1, keepdims=True)
        of_more = take_along_axis(of_cube, first, axis=-1) + log(d)  # of alpha + 1
        return of_more + log(self._uniform(_LEAST, 1.0, 1)) / alpha

    def _on_arrays(
        self, inputs: Any, training: bool | None = None, mask: Any = None
    ) -> NDArray[Any]:
        del mask
        owner = f"{type(self).__name__} {self.name!r}"
        training = training is None or bool(training)
        if self._goes_by_methods(inputs):
            return self._by_methods(owner, inputs, training)  # type: ignore[no-any-return]
        found: dict[str, Any] = {
            name: as_numeric(part, f"{owner}: {name}").astype(np.float32)
            for name, part in parts_of(owner, inputs).items()
        }
        alone = found["images"].ndim == 3  # an image without others: it is mixed with itself
        found = {name: part[None] if alone else part for name, part in found.items()}
        self.check_input(found["images"].shape)
        if training:
            self._mix(owner, found)
        found = in_dtype(found, self._input_dtype())
        found = {name: part[0] if alone else part for name, part in found.items()}
        return found if isinstance(inputs, dict) else found["images"]  # type: ignore[return-value]

    def _mix(self, owner: str, parts: dict[str, NDArray[Any]]) -> None:
        rows = len(parts["images"])
        for name, part in parts.items():
            if len(part) != rows or (name == "labels" and part.ndim != 2):
                raise ValueError(
                    f"{owner}: {name} must have {rows} rows, of one-hot numbers for labels, "
                    f"got shape {part.shape}"
                )
        drawn = self._drawn(parts["images"], True)
        for name, part in parts.items():
            parts[name] = self._of_both(part, drawn, name == "labels")

    def _drawn(self, images: Any, training: bool) -> Any:
        """Shares of the images and of their labels, and the partners."""
        del training
        shape = np.shape(images)
        batch = np.asarray(images) if len(shape) == 4 else np.asarray(images)[None]
        self.check_input(batch.shape)
        n, seed = len(batch), self.seed_generator

        def numbers(kind: str, first: Any, last: Any = None) -> Any:
            if kind == "beta":
                return random.beta((n, 1), first, first, seed=seed)
            return random.uniform((n, 1) if kind == "uniform" else (), first, last, seed=seed)

        weights, share = self._shares(batch, numbers)
        other = random.shuffle(np.arange(n), seed=seed)
        return {"weights": weights, "share": share, "other": other}

    def _of_both(self, part: Any, drawn: Any, by_share: bool = False) -> Any:
        own, other = drawn["share" if by_share else "weights"], drawn["other"]
        if isinstance(part, np.ndarray):
            return (own * part + (1.0 - own) * part[other]).astype(np.float32)
        return own * part + (1.0 - own) * take(part, other, axis=0)

    def transform(self, images: Any, drawn: Any) -> Any:
        return self._of_both(images, drawn)

    def transform_masks(self, masks: Any, drawn: Any) -> Any:
        return self._of_both(masks, drawn)

    def check_input(self, shape: Any) -> None:
        """Check for images, or a dict of them with one-hot labels.

        Raises:
            ValueError: see `ImageLayer`; or labels of another number of axes.
        """
        super().check_input(shape)
        labels = shape.get("labels") if isinstance(shape, dict) else None
        if labels is not None and len(labels) != 2:
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: labels must be one-hot numbers (n, classes),"
                f" got shape {tuple(labels)}"
            )

    def _labels(self, labels: Any, drawn: Any) -> Any:
        return self._of_both(labels, drawn, by_share=True)

    def transform_labels(self, labels: Any, transformation: Any, training: bool = True) -> Any:
        """One-hot labels (n, classes), mixed by the same shares.

        Args:
            labels: a row for each image.
            transformation: what `get_random_transformation` gave.
            training: whether it is a call of training.

        Raises:
            ValueError: labels of another shape.
        """
        if isinstance(labels, (LoweredTensor, KerasTensor)):
            idle = transformation is None or not training
            return labels if idle else self._labels(labels, self._part_of(transformation, "drawn"))
        owner = f"{type(self).__name__} {self.name!r}"
        x = as_numeric(labels, f"{owner}: labels").astype(np.float32)
        if transformation is not None and training:
            drawn = self._part_of(transformation, "drawn")
            rows = len(drawn["other"])
            if x.ndim != 2 or len(x) != rows:
                raise ValueError(
                    f"{owner}: labels must have {rows} rows of one-hot numbers, got shape {x.shape}"
                )
            x = self._of_both(x, drawn, by_share=True)
        return in_dtype([x], self._input_dtype())[0]


@registry.add()
class MixUp(Mixed):
    """MixUp: weighted means of images of a batch, and of their labels.

    Called on images, or a dict with "images", one-hot "labels" and "segmentation_masks"; on arrays
    or in a model (Zhang et al., 2018).

    Args:
        alpha: of the beta distribution that weights are drawn from.
    """

    def __init__(
        self,
        alpha: float = 0.2,
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(seed, data_format, **kwargs)
        number("MixUp", "alpha", alpha, above=0.0)
        self.alpha = alpha

    def _shares(self, images: Any, drawn: Callable[..., Any]) -> tuple[Any, Any]:
        share = drawn("beta", self.alpha)
        return share[:, :, None, None], share

    def _moved_boxes(
        self, boxes: Any, labels: Any, drawn: Any, size: tuple[int, int]
    ) -> tuple[Any, Any]:
        both = (np.concatenate([each, each[drawn["other"]]], axis=1) for each in (boxes, labels))
        return next(both), next(both)


@registry.add()
class CutMix(Mixed):
    """CutMix: images with a rectangle of others of the batch, and labels mixed by its area.

    Called on images, or a dict with "images", one-hot "labels" and "segmentation_masks"; on arrays
    or in a model (Yun et al., 2019).

    Args:
        factor: of the beta distribution of areas, drawn for a batch: a number f for 0 to f, or two.

    Raises:
        ValueError: a factor beyond 0 to 1.
    """

    def __init__(
        self,
        factor: Any = 1.0,
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(seed, data_format, **kwargs)
        self.factor = checked_range(self, "factor", factor, 0.0, 1.0)

    def _shares(self, images: Any, drawn: Callable[..., Any]) -> tuple[Any, Any]:
        first = 1 if self.data_format == "channels_last" else 2
        alpha = drawn("one", *map(float, self.factor)) + 1e-6
        side = sqrt(1.0 - drawn("beta", alpha))
        within = []
        for axis in (first, first + 1):
            size = images.shape[axis]
            start = drawn("uniform", 0.0, 1.0) * (size - side * size)
            shape = [1, 1, 1, 1]
            shape[axis] = size
            places = np.arange(size, dtype=np.float32).reshape(shape)
            begin, end = (each[:, :, None, None] for each in (start, start + side * size))
            within.append((places >= begin) & (places < end))
        inside = within[0] & within[1]
        return where(inside, 0.0, 1.0), 1.0 - side * side

    def _moved_boxes(
        self, boxes: Any, labels: Any, drawn: Any, size: tuple[int, int]
    ) -> tuple[Any, Any]:
        raise NotImplementedError(
            f"CutMix {self.name!r}: inputs must have no 'bounding_boxes': a rectangle of another "
            "image may cover a part of a box"
        )
