"""Transformations: the methods of image layers that a subclass may override, as in Keras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cdl import random, tree
from cdl._common.overriding import overrides
from cdl._common.validation import one_of
from cdl._ir.lowering import Lowering
from cdl._tracing.eager import Runner
from cdl._tracing.joining import aligned
from cdl._tracing.keras_tensor import KerasTensor, known_samples
from cdl._tracing.lowered_tensor import LoweredTensor, appending_to
from cdl.data import as_numeric
from cdl.layers.arguments import NDArray, Value
from cdl.layers.layer import Layer
from cdl.layers.running import in_dtype
from cdl.layers.shapes import image_of
from cdl.random import SeedGenerator, core_seed
from cdl.utils.bounding_boxes import convert_format

METHODS = (
    "get_random_transformation",
    "transform_images",
    "transform_labels",
    "transform_bounding_boxes",
    "transform_segmentation_masks",
    "transform_single_image",
    "transform_single_label",
    "transform_single_bounding_box",
    "transform_single_segmentation_mask",
)
PARTS = ("images", "labels", "bounding_boxes", "segmentation_masks")


class Transformations(Layer):
    """Parts of an image layer's call: draws, and the transformation of each array."""

    data_format: str
    bounding_box_format: str | None
    _needs_draws = False  # whether nothing changes where nothing was drawn

    # --- what a layer does, in `cdl.ops` ---

    def draws(self, images: Any) -> Any:
        """Random tensors of a batch of images, shared by boxes, masks and labels."""
        del images

    def transform(self, images: Any, drawn: Any) -> Any:
        """Transformed batch of images, by functions of `cdl.ops`."""
        raise NotImplementedError

    def transform_masks(self, masks: Any, drawn: Any) -> Any:
        """Transformed class numbers of the places of the images."""
        del drawn
        return masks

    def _changes(self, training: bool) -> bool:
        """Whether the layer changes anything in this mode."""
        del training
        return True

    def _finished(self, x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
        """Result for an array in its output dtype."""
        del x
        return y

    # --- Keras's methods ---

    def get_random_transformation(self, data: Any, training: bool = True, seed: Any = None) -> Any:
        """Random numbers and sizes for the other methods, a dict; None where nothing changes.

        Args:
            data: images, (n, height, width, channels) or one without n; or a dict with "images".
            training: whether it is a call of training.
            seed: an int or a SeedGenerator to draw from instead of the layer's own.
        """
        images = data["images"] if isinstance(data, dict) else data
        if not self._changes(bool(training)):
            return None
        layer = self if seed is None else self._drawing_from(self._generator_of(seed))
        if isinstance(images, (LoweredTensor, KerasTensor)):
            shape, drawn = images.shape, layer.draws(images)
        else:
            shape, drawn = np.shape(images), layer._drawn(images, bool(training))
        (height, width), _ = image_of(shape if len(shape) == 4 else (1, *shape), self.data_format)
        return {"drawn": drawn, "size": (height, width)}

    def transform_images(self, images: Any, transformation: Any, training: bool = True) -> Any:
        """Images (n, height, width, channels) after a transformation.

        Args:
            images: a batch, of the layer's data format.
            transformation: what `get_random_transformation` gave.
            training: whether it is a call of training.
        """
        return self._transformed("images", self.transform, images, transformation, training)

    def transform_labels(self, labels: Any, transformation: Any, training: bool = True) -> Any:
        """Labels (n, ...) of transformed images: the same, but where a layer mixes images.

        Args:
            labels: a row for each image.
            transformation: what `get_random_transformation` gave.
            training: whether it is a call of training.
        """
        del transformation, training
        return labels

    def transform_bounding_boxes(
        self, bounding_boxes: Any, transformation: Any, training: bool = True
    ) -> Any:
        """The boxes of changed images, cut at their edges; labels of those that vanish become -1.

        Args:
            bounding_boxes: a dict with "boxes" (n, boxes, 4), in the layer's bounding_box_format,
                and "labels" (n, boxes).
            transformation: what `get_random_transformation` gave.
            training: whether it is a call of training.

        Raises:
            NotImplementedError: `CutMix`, whose rectangles may cover boxes in part.
            ValueError: no dict of boxes and labels, or no bounding_box_format.
        """
        owner = f"{type(self).__name__} {self.name!r}"
        given = self._checked_boxes(owner, bounding_boxes)
        if transformation is None or not self._changes(bool(training)):
            return given
        drawn, size = (self._part_of(transformation, name) for name in ("drawn", "size"))
        own: Any = self.bounding_box_format
        boxes = convert_format(given["boxes"], own, "xyxy", *size)
        moved, labels = self._moved_boxes(boxes, given["labels"], drawn, size)
        if moved is boxes:  # nothing moves, so nothing is rounded
            return given
        to = self._size(*size)
        return {**given, "boxes": convert_format(moved, "xyxy", own, *to), "labels": labels}

    def transform_segmentation_masks(
        self, segmentation_masks: Any, transformation: Any, training: bool = True
    ) -> Any:
        """The masks (n, height, width, 1) of changed images, whose class numbers stay whole.

        Args:
            segmentation_masks: a mask for each image.
            transformation: what `get_random_transformation` gave.
            training: whether it is a call of training.
        """
        name = "segmentation_masks"
        return self._transformed(
            name, self.transform_masks, segmentation_masks, transformation, training
        )

    def transform_single_image(self, image: Any, transformation: Any, training: bool = True) -> Any:
        """One image (height, width, channels) after a transformation of its own."""
        return self._single(self.transform_images, image, transformation, training)

    def transform_single_label(self, label: Any, transformation: Any, training: bool = True) -> Any:
        """Label of one image, without the batch axis."""
        return self._single(self.transform_labels, label, transformation, training)

    def transform_single_bounding_box(
        self, bounding_box: Any, transformation: Any, training: bool = True
    ) -> Any:
        """The boxes of one image: a dict with "boxes" (boxes, 4) and "labels" (boxes,)."""
        return self._single(self.transform_bounding_boxes, bounding_box, transformation, training)

    def transform_single_segmentation_mask(
        self, segmentation_mask: Any, transformation: Any, training: bool = True
    ) -> Any:
        """Mask of one image (height, width, 1)."""
        masks = self.transform_segmentation_masks
        return self._single(masks, segmentation_mask, transformation, training)

    # --- their work ---

    def _moved_boxes(
        self, boxes: Any, labels: Any, drawn: Any, size: tuple[int, int]
    ) -> tuple[Any, Any]:
        """Boxes "xyxy" after the change, and their labels; the same arrays without one."""
        del drawn, size
        return boxes, labels

    def _size(self, height: int | None, width: int | None) -> tuple[int | None, int | None]:
        """Height and width of the output."""
        return height, width

    def _part_of(self, transformation: Any, name: str) -> Any:
        if not isinstance(transformation, dict) or name not in transformation:
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: transformation must be what "
                f"get_random_transformation gave, got {transformation!r}"
            )
        return transformation[name]

    def _single(self, of_batch: Callable[..., Any], one: Any, drawn: Any, training: bool) -> Any:
        """Result for one sample by the method for batches."""
        batch = tree.map_structure(lambda x: np.asarray(x)[None], one)
        return tree.map_structure(
            lambda y: np.asarray(y)[0], of_batch(batch, transformation=drawn, training=training)
        )

    def _transformed(
        self, name: str, transform: Callable[..., Any], x: Any, transformation: Any, training: bool
    ) -> Any:
        """Result for a batch by `transform` or `transform_masks`."""
        nothing = transformation is None
        drawn = None if nothing else self._part_of(transformation, "drawn")
        idle = not self._changes(bool(training)) or (nothing and self._needs_draws)
        if isinstance(x, (LoweredTensor, KerasTensor)):
            return x if idle else transform(x, drawn)
        given = as_numeric(x, f"{type(self).__name__} {self.name!r}: {name}")
        self.check_input(given.shape)
        dtype = self._input_dtype()
        (found,) = in_dtype(
            [given.astype(np.float32) if given.dtype.kind in "biu" else given], dtype
        )
        if not idle:
            (found,) = in_dtype([np.asarray(transform(found, drawn))], dtype)
        return self._finished(given, found)

    def _generator_of(self, seed: Any) -> SeedGenerator:
        number = random.randint((), 0, 2**31 - 1, seed=seed)
        return SeedGenerator(int(number), name="seed_generator")

    def _drawing_from(self, generator: SeedGenerator) -> Any:
        """View of the layer that draws from another generator."""
        view = object.__new__(type(self))
        vars(view).update(vars(self))
        vars(view).update(
            seed_generator=generator, _calls=0, _kept_programs=type(self._kept_programs)()
        )
        return view

    def _drawn(self, images: Any, training: bool) -> Any:
        """Numbers that a call on these arrays would draw now."""
        shape = np.shape(images)
        shape = shape if len(shape) == 4 else (1, *shape)
        self.check_input(shape)
        key = ("draws", training, shape[1:])
        drawing: Any = self._kept_programs.get(
            self, key, lambda: _Drawing(self, shape[1:], training)
        )
        drawn = drawing.drawn(shape[0], self._calls)
        self._calls += training
        return drawn

    def _goes_by_methods(self, inputs: Any) -> bool:
        """Whether a call on these arrays calls the overridable methods one by one."""
        boxes = isinstance(inputs, dict) and "bounding_boxes" in inputs
        return boxes or overrides(type(self), *METHODS)

    def _by_methods(self, owner: str, inputs: Any, training: bool) -> Any:
        """Result for images, or a dict with boxes, masks and labels, by the methods."""
        parts = parts_of(owner, inputs)
        if "bounding_boxes" in parts:
            parts["bounding_boxes"] = self._checked_boxes(owner, parts["bounding_boxes"])
        for name in parts.keys() - {"bounding_boxes"}:
            given = parts[name]
            x = np.asarray(given) if name == "labels" else as_numeric(given, f"{owner}: {name}")
            (parts[name],) = in_dtype([x], self._input_dtype())
        alone = parts["images"].ndim == 3
        self.check_input((1, *parts["images"].shape) if alone else parts["images"].shape)
        data = parts if isinstance(inputs, dict) else parts["images"]
        drawn = self.get_random_transformation(data, training=training)
        single = {
            "images": self.transform_single_image,
            "labels": self.transform_single_label,
            "bounding_boxes": self.transform_single_bounding_box,
            "segmentation_masks": self.transform_single_segmentation_mask,
        }
        many = {name: getattr(self, f"transform_{name}") for name in PARTS}
        found = {
            name: (single if alone else many)[name](
                parts[name], transformation=drawn, training=training
            )
            for name in PARTS
            if name in parts
        }
        return found if isinstance(inputs, dict) else found["images"]

    def _checked_boxes(self, owner: str, boxes: Any) -> Any:
        """Dict of boxes and labels, as arrays."""
        if not isinstance(boxes, dict) or not {"boxes", "labels"} <= boxes.keys():
            raise ValueError(
                f"{owner}: bounding_boxes must be a dict with 'boxes' and 'labels', got {boxes!r}"
            )
        if not self.bounding_box_format:
            raise ValueError(
                f"{owner}: bounding_box_format must be given where inputs have 'bounding_boxes', "
                "such as 'xyxy'"
            )
        return {
            name: as_numeric(each, f"{owner}: bounding_boxes: {name}")
            for name, each in boxes.items()
        }

    def _lower_methods(self, program: Lowering, values: dict[str, Value]) -> dict[str, Value]:
        """Append the methods of a subclass for the images of a model, and what belongs to them."""
        owner = f"{type(self).__name__} {self.name!r}"
        terms, training = terms_of(values), program.is_noisy
        data = terms if len(terms) > 1 else terms["images"]
        with appending_to(program):
            try:
                drawn = self.get_random_transformation(data, training=training)
                found = {
                    name: getattr(self, f"transform_{name}")(
                        term, transformation=drawn, training=training
                    )
                    for name, term in terms.items()
                }
            except Exception as error:
                raise ValueError(
                    f"{owner}: get_random_transformation and transform_images must be of cdl.ops "
                    f"and cdl.random where the layer is in a model, else call it on arrays: {error}"
                ) from error
            for name, each in found.items():
                if not isinstance(each, LoweredTensor):
                    raise ValueError(
                        f"{owner}: transform_{name} must be of cdl.ops where the layer is in a "
                        f"model, got {type(each).__name__}"
                    )
            done = {name: aligned(found[name], term)[0].value for name, term in terms.items()}
        shapes: Any = {name: (None, *value.shape) for name, value in values.items()}
        sizes: Any = self.compute_output_shape(shapes)
        for name, size in sizes.items():
            if tuple(done[name].shape) != tuple(size)[1:]:
                raise ValueError(
                    f"{owner}: transform_{name} must give the sizes of compute_output_shape, "
                    f"{tuple(size)[1:]}, got {tuple(done[name].shape)}"
                )
        return done


def terms_of(values: dict[str, Value]) -> dict[str, LoweredTensor]:
    """Symbolic images, masks and labels of values of a program."""
    samples = known_samples()
    return {name: LoweredTensor(v, KerasTensor((samples, *v.shape))) for name, v in values.items()}


def parts_of(owner: str, inputs: Any) -> dict[str, Any]:
    """Images, boxes, masks and labels by name, from the inputs of a layer.

    Args:
        inputs: images, or a dict that has them.

    Raises:
        ValueError: no images, or a name that is none of `PARTS`.
    """
    parts = dict(inputs) if isinstance(inputs, dict) else {"images": inputs}
    if "images" not in parts:
        raise ValueError(f"{owner}: inputs must have the key 'images', got {list(parts)}")
    for name in parts:
        one_of(owner, "each key of inputs", name, PARTS)
    return parts


class _Drawing(Runner):
    """Draws of a layer as a program, and the structure of their arrays."""

    def __init__(self, layer: Transformations, shape: tuple[int, ...], training: bool) -> None:
        program = Lowering(training)
        images = program.input(shape)
        with appending_to(program):
            drawn = layer.draws(LoweredTensor(images, KerasTensor((None, *shape))))
            self._drawn = drawn
            for term in self._terms():
                program.output(program.broadcast_batch(term.value))
        self._shape, self._draws = shape, training
        super().__init__(program.fused(training), training)

    def _terms(self) -> list[LoweredTensor]:
        return [leaf for leaf in tree.flatten(self._drawn) if isinstance(leaf, LoweredTensor)]

    def drawn(self, rows: int, iteration: int) -> Any:
        """Arrays of a step, in the layer's structure."""
        if not self._terms():
            return self._drawn
        images = np.zeros((rows, *self._shape), np.float32)
        found = iter(self.batch([images], iteration, core_seed()).outputs)

        def array(leaf: Any) -> Any:
            if not isinstance(leaf, LoweredTensor):
                return leaf
            numbers = next(found)
            numbers = numbers if leaf.rows_per_sample else numbers[0]
            return numbers.astype(bool) if leaf.dtype == "bool" else numbers

        return tree.map_structure(array, self._drawn)
