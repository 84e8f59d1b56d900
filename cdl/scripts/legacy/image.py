"""`keras.preprocessing.image` of Keras 2: augmented batches of images of arrays and folders."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cdl._common.validation import one_of
from cdl.config import standardize_data_format
from cdl.preprocessing.image import img_to_array, load_img
from cdl.scripts.legacy.image_changes import (
    FILLS,
    apply_affine_transform,
    apply_brightness_shift,
    apply_channel_shift,
    random_brightness,
    random_channel_shift,
    random_rotation,
    random_shear,
    random_shift,
    random_zoom,
)
from cdl.scripts.legacy.image_iterator import Iterator, one_part, rows_of_folder, rows_of_frame
from cdl.utils import to_categorical

__all__ = [
    "DataFrameIterator",
    "DirectoryIterator",
    "ImageDataGenerator",
    "Iterator",
    "NumpyArrayIterator",
    "apply_affine_transform",
    "apply_brightness_shift",
    "apply_channel_shift",
    "random_brightness",
    "random_channel_shift",
    "random_rotation",
    "random_shear",
    "random_shift",
    "random_zoom",
]


class ImageDataGenerator:
    """Generator of batches of images with random augmentation and standardization.

    Args:
        featurewise_center: whether to subtract the mean of the data that `fit` saw.
        samplewise_center: whether to subtract the mean of each image.
        featurewise_std_normalization: whether to divide by the standard deviation of the data
            that `fit` saw.
        samplewise_std_normalization: whether to divide each image by its standard deviation.
        zca_whitening: whether to decorrelate pixels by the covariance of the data that `fit` saw.
        zca_epsilon: number added to the eigenvalues of the covariance.
        rotation_range: largest rotation in degrees.
        width_shift_range: largest horizontal shift: a fraction of the width if below 1, else in
            columns; or an int n for whole shifts below n, or a list of shifts to choose from.
        height_shift_range: likewise, vertical: of the height, in rows.
        brightness_range: smallest and largest factor of the brightness; None for no change.
        shear_range: largest shear angle in degrees.
        zoom_range: zoom factors are drawn from [1 - zoom_range, 1 + zoom_range], or from a pair.
        channel_shift_range: largest number to add to all channels.
        fill_mode: how to fill points outside the image: "nearest", "constant", "reflect" or "wrap".
        cval: fill value for "constant".
        horizontal_flip: whether to flip a random half of the images left to right.
        vertical_flip: whether to flip a random half of the images upside down.
        rescale: factor that images are multiplied by before standardization; None for none.
        preprocessing_function: function of an image, called before rescaling and standardization.
        data_format: "channels_last" or "channels_first"; None for the configured one.
        validation_split: share of the images in `subset="validation"`.
        interpolation_order: 0 for nearest-neighbour interpolation, 1 for bilinear.
        dtype: dtype of the images, float32 by default.

    Raises:
        ValueError: an argument outside its range.
    """

    def __init__(
        self,
        featurewise_center: bool = False,
        samplewise_center: bool = False,
        featurewise_std_normalization: bool = False,
        samplewise_std_normalization: bool = False,
        zca_whitening: bool = False,
        zca_epsilon: float = 1e-6,
        rotation_range: float = 0,
        width_shift_range: Any = 0.0,
        height_shift_range: Any = 0.0,
        brightness_range: Any = None,
        shear_range: float = 0.0,
        zoom_range: Any = 0.0,
        channel_shift_range: float = 0.0,
        fill_mode: str = "nearest",
        cval: float = 0.0,
        horizontal_flip: bool = False,
        vertical_flip: bool = False,
        rescale: float | None = None,
        preprocessing_function: Callable[[Any], Any] | None = None,
        data_format: str | None = None,
        validation_split: float = 0.0,
        interpolation_order: int = 1,
        dtype: Any = None,
    ) -> None:
        name = "ImageDataGenerator"
        self.featurewise_center = featurewise_center or zca_whitening
        self.samplewise_center = samplewise_center or samplewise_std_normalization
        self.featurewise_std_normalization = featurewise_std_normalization and not zca_whitening
        self.featurewise_center |= self.featurewise_std_normalization
        self.samplewise_std_normalization = samplewise_std_normalization
        self.zca_whitening, self.zca_epsilon = zca_whitening, zca_epsilon
        self.rotation_range, self.shear_range = rotation_range, shear_range
        self.width_shift_range, self.height_shift_range = width_shift_range, height_shift_range
        self.channel_shift_range, self.brightness_range = channel_shift_range, brightness_range
        self.fill_mode = one_of(name, "fill_mode", fill_mode, FILLS) or fill_mode
        self.interpolation_order, self.cval = interpolation_order, cval
        self.horizontal_flip, self.vertical_flip = horizontal_flip, vertical_flip
        self.rescale, self.preprocessing_function = rescale, preprocessing_function
        self.dtype = dtype or "float32"
        self.data_format = standardize_data_format(data_format, name)
        first = self.data_format == "channels_first"
        self.channel_axis, self.row_axis, self.col_axis = (1, 2, 3) if first else (3, 1, 2)
        if not 0 <= validation_split < 1:
            raise ValueError(f"{name}: validation_split must be in [0, 1), got {validation_split}")
        self.validation_split = validation_split
        zooms = [1 - zoom_range, 1 + zoom_range] if np.ndim(zoom_range) == 0 else list(zoom_range)
        if len(zooms) != 2:
            raise ValueError(f"{name}: zoom_range must be a number or two, got {zoom_range}")
        self.zoom_range = zooms
        self.mean: Any = None
        self.std: Any = None
        self.zca_whitening_matrix: Any = None

    # --- batches ---

    def flow(
        self,
        x: Any,
        y: Any = None,
        batch_size: int = 32,
        shuffle: bool = True,
        sample_weight: Any = None,
        seed: int | None = None,
        save_to_dir: Any = None,
        save_prefix: str = "",
        save_format: str = "png",
        ignore_class_split: bool = False,
        subset: str | None = None,
    ) -> Iterator:
        """Batches of images of an array, with targets and sample weights if given."""
        others = list(x[1:]) if isinstance(x, (list, tuple)) else []
        images = np.asarray(x[0] if isinstance(x, (list, tuple)) else x)
        if images.ndim != 4:
            raise ValueError(f"flow: x must be images of 4 axes, got shape {images.shape}")
        given = [None if each is None else np.asarray(each) for each in (y, sample_weight)]
        lengths = {len(images), *(len(each) for each in (*given, *others) if each is not None)}
        if len(lengths) > 1:
            raise ValueError(f"flow: x, y and sample_weight must be as long, got {sorted(lengths)}")
        rows = one_part("flow", range(len(images)), self.validation_split, subset)

        def read(i: int) -> Any:
            return images[i].astype(self.dtype)

        made = NumpyArrayIterator(self, read, rows, given, batch_size, shuffle, seed)
        made.others = [np.asarray(each) for each in others]
        made.saving = (save_to_dir, save_prefix, save_format)
        return made

    def flow_from_directory(
        self,
        directory: Any,
        target_size: Any = (256, 256),
        color_mode: str = "rgb",
        classes: Sequence[str] | None = None,
        class_mode: str | None = "categorical",
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int | None = None,
        save_to_dir: Any = None,
        save_prefix: str = "",
        save_format: str = "png",
        follow_links: bool = False,
        subset: str | None = None,
        interpolation: str = "nearest",
        keep_aspect_ratio: bool = False,
    ) -> Any:
        """Batches of the images in a folder, with a subfolder for each class."""
        modes = ("categorical", "binary", "sparse", "input", None)
        one_of("flow_from_directory", "class_mode", class_mode, modes)
        names, files, labels = rows_of_folder(
            os.fspath(directory), classes, class_mode, follow_links, self.validation_split, subset
        )
        made: Any = self._of_files(
            DirectoryIterator,
            [os.path.join(os.fspath(directory), each) for each in files],
            _targets(class_mode, labels, len(names)),
            (target_size, color_mode, interpolation, keep_aspect_ratio),
            (batch_size, shuffle, seed),
        )
        made.directory, made.filenames, made.classes = directory, files, labels
        made.class_indices, made.num_classes = names, len(names)
        made.class_mode = class_mode
        made.saving = (save_to_dir, save_prefix, save_format)
        print(f"Found {made.n} images belonging to {len(names)} classes.")
        return made

    def flow_from_dataframe(
        self,
        dataframe: Any,
        directory: Any = None,
        x_col: str = "filename",
        y_col: Any = "class",
        weight_col: str | None = None,
        target_size: Any = (256, 256),
        color_mode: str = "rgb",
        classes: Sequence[str] | None = None,
        class_mode: str | None = "categorical",
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int | None = None,
        save_to_dir: Any = None,
        save_prefix: str = "",
        save_format: str = "png",
        subset: str | None = None,
        interpolation: str = "nearest",
        validate_filenames: bool = True,
        keep_aspect_ratio: bool = False,
    ) -> Any:
        """Batches of the images whose paths are in a column of a data frame."""
        modes = ("categorical", "binary", "sparse", "input", "raw", "multi_output", None)
        one_of("flow_from_dataframe", "class_mode", class_mode, modes)
        names, paths, labels, weights = rows_of_frame(
            dataframe,
            "" if directory is None else os.fspath(directory),
            (x_col, y_col, weight_col),
            (classes, class_mode, validate_filenames),
            (self.validation_split, subset),
        )
        made: Any = self._of_files(
            DataFrameIterator,
            paths,
            _targets(class_mode, labels, len(names)),
            (target_size, color_mode, interpolation, keep_aspect_ratio),
            (batch_size, shuffle, seed),
            weights,
        )
        made.filenames, made.class_indices, made.num_classes = paths, names, len(names)
        made.classes, made.class_mode = labels, class_mode
        made.saving = (save_to_dir, save_prefix, save_format)
        print(f"Found {made.n} validated image filenames belonging to {len(names)} classes.")
        return made

    def _of_files(
        self, kind: Any, paths: list[str], y: Any, how: Any, batches: Any, weights: Any = None
    ) -> Any:
        target_size, color_mode, interpolation, keep = how

        def read(i: int) -> Any:
            image = load_img(paths[i], color_mode, target_size, interpolation, keep)
            return img_to_array(image, self.data_format, self.dtype)

        made = kind(self, read, range(len(paths)), [y, weights], *batches)
        depth = {"rgb": 3, "rgba": 4, "grayscale": 1}[color_mode]
        made.filepaths, made.target_size, made.color_mode = paths, tuple(target_size), color_mode
        first = self.data_format == "channels_first"
        made.image_shape = (depth, *target_size) if first else (*target_size, depth)
        return made

    # --- each image ---

    def standardize(self, x: Any) -> Any:
        """Rescale and standardize an image or a batch."""
        if self.preprocessing_function is not None:
            x = self.preprocessing_function(x)
        if self.rescale:
            x = x * self.rescale
        if self.samplewise_center:
            x = x - np.mean(x, keepdims=True)
        if self.samplewise_std_normalization:
            x = x / (np.std(x, keepdims=True) + 1e-6)
        if self.featurewise_center or self.featurewise_std_normalization or self.zca_whitening:
            if self.mean is None:
                raise ValueError("ImageDataGenerator: fit must be called first, with images")
            x = x - self.mean
        if self.featurewise_std_normalization:
            x = x / (self.std + 1e-6)
        if self.zca_whitening:
            flat = np.reshape(x, (-1, np.prod(x.shape[-3:])))
            x = np.reshape(flat @ self.zca_whitening_matrix, x.shape)
        return np.asarray(x)

    def get_random_transform(self, img_shape: Any, seed: int | None = None) -> dict[str, Any]:
        """Draw random parameters of a transformation for an image of a given shape."""
        draws = np.random if seed is None else np.random.RandomState(seed)
        rows, columns = img_shape[self.row_axis - 1], img_shape[self.col_axis - 1]

        def between(size: float) -> float:
            return float(draws.uniform(-size, size)) if size else 0.0

        def moved(size: Any, n: int) -> float:
            if np.ndim(size) or (size and isinstance(size, (int, np.integer))):
                shift = float(draws.choice(size)) * float(draws.choice([-1, 1]))
            else:
                shift = between(size)
            return shift * (n if np.max(size) < 1 else 1)

        # The order is Keras's, so that a seed gives its numbers.
        theta = between(self.rotation_range)
        ty, tx = moved(self.height_shift_range, rows), moved(self.width_shift_range, columns)
        shear = between(self.shear_range)
        equal = self.zoom_range[0] == self.zoom_range[1] == 1
        zx, zy = (1.0, 1.0) if equal else draws.uniform(self.zoom_range[0], self.zoom_range[1], 2)
        brighter = self.brightness_range
        return {
            "theta": theta,
            "tx": tx,
            "ty": ty,
            "shear": shear,
            "zx": float(zx),
            "zy": float(zy),
            "flip_horizontal": bool(draws.random_sample() < 0.5 and self.horizontal_flip),
            "flip_vertical": bool(draws.random_sample() < 0.5 and self.vertical_flip),
            "channel_shift_intensity": between(self.channel_shift_range) or None,
            "brightness": None if brighter is None else float(draws.uniform(*brighter)),
        }

    def apply_transform(self, x: Any, transform_parameters: dict[str, Any]) -> Any:
        """Transform an image by parameters from `get_random_transform`."""
        given = transform_parameters
        row, column, channel = self.row_axis - 1, self.col_axis - 1, self.channel_axis - 1
        still = {"theta": 0, "tx": 0, "ty": 0, "shear": 0, "zx": 1, "zy": 1}
        moves = {name: given.get(name, default) for name, default in still.items()}
        if moves != still:
            x = apply_affine_transform(
                x,
                **moves,
                row_axis=row,
                col_axis=column,
                channel_axis=channel,
                fill_mode=self.fill_mode,
                cval=self.cval,
                order=self.interpolation_order,
            )
        if given.get("channel_shift_intensity") is not None:
            x = apply_channel_shift(x, given["channel_shift_intensity"], channel)
        if given.get("flip_horizontal"):
            x = np.flip(x, column)
        if given.get("flip_vertical"):
            x = np.flip(x, row)
        if given.get("brightness") is not None:
            x = apply_brightness_shift(x, given["brightness"], False)
        return x

    def random_transform(self, x: Any, seed: int | None = None) -> Any:
        """Apply a random transformation to an image."""
        return self.apply_transform(x, self.get_random_transform(x.shape, seed))

    def fit(self, x: Any, augment: bool = False, rounds: int = 1, seed: int | None = None) -> None:
        """Compute the statistics for featurewise standardization and ZCA whitening.

        Args:
            x: images, an array with four axes.
            augment: whether to compute them from augmented images.
            rounds: augmented copies of each image.
            seed: seed of the augmentation.
        """
        x = np.array(x, self.dtype)
        if x.ndim != 4:
            raise ValueError(f"fit: x must be images of 4 axes, got shape {x.shape}")
        if seed is not None:
            np.random.seed(seed)
        if augment:
            x = np.stack([self.random_transform(each) for _ in range(rounds) for each in x])
        sizes = [1, 1, 1]
        sizes[self.channel_axis - 1] = x.shape[self.channel_axis]
        axes = (0, self.row_axis, self.col_axis)
        self.mean = x.mean(axes).reshape(sizes)
        self.std = x.std(axes).reshape(sizes)
        if self.zca_whitening:
            flat = (x - self.mean).reshape(len(x), -1)
            u, s, _ = np.linalg.svd(flat.T @ flat / len(flat))
            self.zca_whitening_matrix = (u / np.sqrt(s + self.zca_epsilon)) @ u.T


def _targets(class_mode: str | None, labels: Any, classes: int) -> Any:
    """Targets of a class mode from class indices; None for modes without such targets."""
    if class_mode in (None, "input"):
        return None
    if class_mode == "categorical":
        return to_categorical(labels, classes)
    if class_mode == "multi_output":
        return labels
    return (
        np.asarray(labels, "float32") if class_mode in ("binary", "sparse") else np.asarray(labels)
    )


class NumpyArrayIterator(Iterator):
    """Batches of images of an array: the result of `ImageDataGenerator.flow`."""


class DirectoryIterator(Iterator):
    """Batches of images in a folder: the result of `flow_from_directory`."""


class DataFrameIterator(Iterator):
    """Batches of images listed in a data frame: the result of `flow_from_dataframe`."""
