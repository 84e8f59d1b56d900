"""MixUp, CutMix: mixtures of a batch's samples and labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cdl import random
from cdl._common.validation import number
from cdl.data import as_numeric
from cdl.layers.layer import registry
from cdl.layers.preprocessing.image.random_image import RandomImage, checked_range
from cdl.layers.preprocessing.image.transformations import parts_of
from cdl.layers.running import in_dtype

if TYPE_CHECKING:
    from typing import Unpack

    from numpy.typing import NDArray

    from cdl.layers.arguments import LayerArguments


class Mixed(RandomImage):
    """Base of layers that mix each sample of a batch with another one, on arrays.

    In a model's training it is refused: labels are not there, so that they could not be mixed.
    """

    def draws(self, images: Any) -> Any:
        """Nothing is drawn here.

        Raises:
            ValueError: in the training of a model.
        """
        raise self._only_on_arrays("in a model the labels cannot be mixed with the images")

    def _shares(self, images: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Shares of each image's places, (n, 1 or ..., 1), and of its label."""
        raise NotImplementedError

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
        weights, share = self._shares(batch)
        other = random.shuffle(np.arange(len(batch)), seed=self.seed_generator)
        return {"weights": weights, "share": share, "other": other}

    def _of_both(self, part: NDArray[Any], drawn: Any, by_share: bool = False) -> NDArray[Any]:
        own = drawn["share"][:, None] if by_share else drawn["weights"]
        both: NDArray[Any] = own * part + (1.0 - own) * part[drawn["other"]]
        return both.astype(np.float32)

    def transform(self, images: Any, drawn: Any) -> Any:
        """Images mixed with their partners."""
        return self._of_both(images, drawn)

    def transform_masks(self, masks: Any, drawn: Any) -> Any:
        """Masks mixed by the same weights."""
        return self._of_both(masks, drawn)

    def transform_labels(self, labels: Any, transformation: Any, training: bool = True) -> Any:
        """One-hot labels (n, classes), mixed by the same shares.

        Args:
            labels: a row for each image.
            transformation: what `get_random_transformation` gave.
            training: whether it is a call of training.

        Raises:
            ValueError: labels of another shape.
        """
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

    Called on arrays: images, or a dict with "images", one-hot "labels" and "segmentation_masks"
    (Zhang et al., 2018).

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

    def _shares(self, images: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        share = random.beta((len(images),), self.alpha, self.alpha, seed=self.seed_generator)
        return share[:, None, None, None], share

    def _moved_boxes(
        self, boxes: Any, labels: Any, drawn: Any, size: tuple[int, int]
    ) -> tuple[Any, Any]:
        both = (np.concatenate([each, each[drawn["other"]]], axis=1) for each in (boxes, labels))
        return next(both), next(both)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "alpha": self.alpha}


@registry.add()
class CutMix(Mixed):
    """CutMix: images with a rectangle of others of the batch, and labels mixed by its area.

    Called on arrays: images, or a dict with "images", one-hot "labels" and "segmentation_masks"
    (Yun et al., 2019).

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

    def _shares(self, images: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        n, seed = len(images), self.seed_generator
        first = 1 if self.data_format == "channels_last" else 2
        low, high = map(float, self.factor)
        alpha = float(random.uniform((), low, high, seed=seed)) + 1e-6
        side = np.sqrt(1.0 - random.beta((n,), alpha, alpha, seed=seed))
        inside: Any = np.ones((n, 1, 1, 1), bool)
        for axis in (first, first + 1):
            size = images.shape[axis]
            length = side * size
            start = random.uniform((n,), seed=seed) * (size - length)
            shape = [1, 1, 1, 1]
            shape[axis] = size
            places = np.arange(size).reshape(shape)
            begin, end = (each[:, None, None, None] for each in (start, start + length))
            inside = inside & (places >= begin) & (places < end)
        return 1.0 - inside.astype(np.float32), 1.0 - side * side

    def _moved_boxes(
        self, boxes: Any, labels: Any, drawn: Any, size: tuple[int, int]
    ) -> tuple[Any, Any]:
        raise NotImplementedError(
            f"CutMix {self.name!r}: inputs must have no 'bounding_boxes': a rectangle of another "
            "image may cover a part of a box"
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}
