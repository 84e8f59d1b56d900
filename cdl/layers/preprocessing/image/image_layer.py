"""ImageLayer: base of layers from images to images."""

from __future__ import annotations

from typing import Any

from cdl._common.overriding import overrides
from cdl._ir.lowering import Lowering
from cdl._tracing.eager import Runner
from cdl._tracing.joining import aligned
from cdl._tracing.lowered_tensor import appending_to
from cdl.config import standardize_data_format
from cdl.data import as_numeric
from cdl.layers.arguments import LayerArguments, NDArray, Unpack, Value
from cdl.layers.preprocessing.image.transformations import (
    METHODS,
    Transformations,
    parts_of,
    terms_of,
)
from cdl.layers.shapes import batch_of, image_of
from cdl.random import core_seed


class ImageLayer(Transformations):
    """Base of layers from images to images, by `transform` in `cdl.ops`.

    A call on arrays takes one image too, without the axis of the samples; or a dict of images and
    what belongs to them: "labels", which stay as they are; "segmentation_masks" and
    "bounding_boxes", a dict of "boxes" and "labels", which go where the images go.

    Args:
        data_format: "channels_last" for images of shape (height, width, channels),
            "channels_first" for (channels, height, width); None is the configured one.
        bounding_box_format: of the boxes of a dict: see `utils.bounding_boxes`.
    """

    _inner: tuple[str, ...] = ("draws", "transform", "transform_masks")
    takes_lists = True
    _not_in_config = ("bounding_box_format",)

    def __init__(
        self,
        data_format: str | None = None,
        bounding_box_format: str | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.data_format = standardize_data_format(data_format, type(self).__name__)
        self.bounding_box_format = bounding_box_format
        self._build_at_init()

    def lower(self, program: Lowering, x: Any) -> Any:
        """Append `transform`, or the methods of a subclass.

        Args:
            program: to which it is appended.
            x: images, or a dict of them and what belongs to them.

        Raises:
            ValueError: the methods of a subclass that cannot be traced.
        """
        own = overrides(type(self), *METHODS)
        lower = self._lower_methods if own else self._lower_parts
        return lower(program, x) if isinstance(x, dict) else lower(program, {"images": x})["images"]

    def _lower_parts(self, program: Lowering, values: dict[str, Value]) -> dict[str, Value]:
        """Append the layer for images and, if there are any, their masks and labels."""
        if not self._changes(program.is_noisy):
            return values
        terms = terms_of(values)
        ways = {"images": self.transform, "segmentation_masks": self.transform_masks}
        with appending_to(program):
            drawn = self.draws(terms["images"])
            found = {
                name: aligned(ways.get(name, self._labels)(term, drawn), term)[0].value
                for name, term in terms.items()
            }
        return found

    def _labels(self, labels: Any, drawn: Any) -> Any:
        """Labels of transformed images."""
        del drawn
        return labels

    # --- shapes ---

    def check_input(self, shape: Any) -> None:
        """Check for a batch of images, or a dict of them and what belongs to them.

        Raises:
            ValueError: images have not four axes, or a dict has boxes or another name.
        """
        if isinstance(shape, dict):
            owner = f"{type(self).__name__} {self.name!r}"
            if "bounding_boxes" in parts_of(owner, shape):
                raise ValueError(
                    f"{owner}: inputs must have no 'bounding_boxes' in a model: call it on arrays"
                )
            for name in shape.keys() - {"labels"}:
                self.check_input(shape[name])
            return
        super().check_input(shape)
        if len(shape) != 4:
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: inputs must be images, with 4 axes, got "
                f"shape {tuple(shape)}"
            )

    def _plane(self, images: Any) -> tuple[int, int]:
        """Height and width of images of known size."""
        (height, width), _ = image_of(tuple(images.shape), self.data_format)
        assert height is not None and width is not None
        return height, width

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Shape of the output, for a batch of images, one image, or a dict with them.

        Raises:
            ValueError: the input has another number of axes.
        """
        if isinstance(input_shape, dict):
            moved = input_shape.keys() & {"images", "segmentation_masks"}
            sizes = {name: self.compute_output_shape(input_shape[name]) for name in moved}
            return {**input_shape, **sizes}
        shape = tuple(input_shape)
        if len(shape) == 3:
            return self.compute_output_shape((None, *shape))[1:]
        self.check_input(shape)
        (height, width), channels = image_of(shape, self.data_format)
        return batch_of(shape[0], self._size(height, width), channels, self.data_format)

    # --- arrays ---

    def _on_arrays(
        self, inputs: Any, training: bool | None = None, mask: Any = None
    ) -> NDArray[Any]:
        if training is None:
            training = self.training_by_default
        owner = f"{type(self).__name__} {self.name!r}"
        if self._goes_by_methods(inputs):
            return self._by_methods(owner, inputs, bool(training))  # type: ignore[no-any-return]
        if isinstance(inputs, dict):
            return self._on_parts(owner, inputs, bool(training))  # type: ignore[return-value]
        x = as_numeric(inputs, f"{owner}: inputs")
        if x.ndim == 3:
            one: NDArray[Any] = self._finished(x, super()._on_arrays(x[None], training, mask)[0])
            return one
        return self._finished(x, super()._on_arrays(x, training, mask))

    def _on_parts(self, owner: str, parts: dict[str, Any], training: bool) -> dict[str, Any]:
        """Result for images with boxes, masks and labels."""
        parts = parts_of(owner, parts)
        names = [name for name in ("images", "segmentation_masks") if name in parts]
        given = [as_numeric(parts[name], f"{owner}: {name}") for name in names]
        if len(given) == 1:
            return {**parts, "images": self._on_arrays(given[0], training)}
        alone = given[0].ndim == 3
        arrays = [x[None] for x in given] if alone else given
        for x in arrays:
            self.check_input(x.shape)
        found = self._run(arrays, training)
        found = [y[0] for y in found] if alone else found
        done = [self._finished(x, y) for x, y in zip(given, found, strict=True)]
        return {**parts, **dict(zip(names, done, strict=True))}

    def _run(self, arrays: list[NDArray[Any]], training: bool) -> Any:
        """Output of the layer for images, or for images and their masks."""
        if len(arrays) == 1:
            return super()._run(arrays, training)

        def make() -> Runner:
            program = Lowering(training)
            names = ("images", "segmentation_masks")
            values = {
                name: program.input(x.shape[1:]) for name, x in zip(names, arrays, strict=True)
            }
            for value in self._lower_parts(program, values).values():
                program.output(value)
            return Runner(program.fused(training), training)

        key = (training, *(x.shape[1:] for x in arrays))
        runner = self._kept_programs.get(self, key, make)
        outputs = runner.batch(arrays, self._calls, core_seed()).outputs
        self._calls += training
        return outputs

    # --- configuration ---

    def get_config(self) -> dict[str, Any]:
        boxes = self.bounding_box_format
        config = super().get_config()
        return config if boxes is None else {**config, "bounding_box_format": boxes}
