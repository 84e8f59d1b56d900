"""Endless batches of augmented images, and lists of their files and classes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cdl._common.validation import expected, one_of, positive_int
from cdl.preprocessing.image import save_img
from cdl.utils import PyDataset
from cdl.utils.directory_files import files_below

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".tif", ".tiff")


class Iterator(PyDataset):
    """Batches of augmented images, by index or as an endless iterator.

    Args:
        generator: the `ImageDataGenerator` that augments and standardizes images.
        read: a function from a row to its image.
        rows: the rows to iterate over.
        given: targets and sample weights of all rows, each or None.
        batch_size: images in a batch.
        shuffle: whether to shuffle the rows in each epoch.
        seed: seed of the order and the augmentation.

    Attributes:
        n: the number of images.
    """

    def __init__(
        self,
        generator: Any,
        read: Callable[[int], Any],
        rows: Sequence[int],
        given: list[Any],
        batch_size: int,
        shuffle: bool,
        seed: int | None,
    ) -> None:
        super().__init__()
        self.image_data_generator, self._read, self._given = generator, read, given
        self._rows = np.asarray(rows, int)
        self.n = self.samples = len(self._rows)
        self.batch_size = positive_int("ImageDataGenerator", "batch_size", batch_size)
        self.shuffle, self.seed = shuffle, seed
        self.class_mode: str | None = None
        self.others: list[Any] = []
        self.saving: tuple[Any, str, str] = (None, "", "png")
        self.batch_index = self.total_batches_seen = 0
        self._draws = np.random.RandomState(seed)
        self._order = self._new_order()

    def _new_order(self) -> Any:
        return self._draws.permutation(self._rows) if self.shuffle else self._rows

    def __len__(self) -> int:
        """The number of batches of an epoch."""
        return (self.n + self.batch_size - 1) // self.batch_size

    def on_epoch_end(self) -> None:
        """Shuffle the rows, if asked to."""
        self._order = self._new_order()

    def reset(self) -> None:
        """Restart at the first batch."""
        self.batch_index = 0

    @property
    def labels(self) -> Any:
        """The targets of all images."""
        return self._given[0]

    def __getitem__(self, index: int) -> Any:
        """The batch at an index."""
        if not 0 <= index < len(self):
            raise ValueError(f"ImageDataGenerator: there are {len(self)} batches, got {index}")
        self.total_batches_seen += 1
        rows = self._order[index * self.batch_size : (index + 1) * self.batch_size]
        images = np.stack([self._changed(int(row)) for row in rows])
        folder, prefix, kind = self.saving
        if folder is not None:
            for row, image in zip(rows, images, strict=True):
                name = f"{prefix}_{row}_{np.random.randint(10**7)}.{kind}"
                save_img(os.path.join(folder, name), image)
        x: Any = [images, *(each[rows] for each in self.others)] if self.others else images
        y, weights = self._given
        if self.class_mode == "input":
            return images, images.copy()
        if y is None:
            return x
        of_rows = [each[rows] for each in y] if isinstance(y, list) else y[rows]
        return (x, of_rows) if weights is None else (x, of_rows, weights[rows])

    def _changed(self, row: int) -> Any:
        image = self._read(row)
        change = self.image_data_generator.get_random_transform(
            image.shape, self._draws.randint(2**31)
        )
        changed = self.image_data_generator.apply_transform(image, change)
        return self.image_data_generator.standardize(changed).astype(image.dtype)

    def __iter__(self) -> Iterator:
        """The iterator itself, which is endless."""
        return self

    def __next__(self) -> Any:
        """The next batch; after the last one, the first of a new epoch."""
        if self.batch_index >= len(self):
            self.batch_index = 0
            self.on_epoch_end()
        self.batch_index += 1
        return self[self.batch_index - 1]

    next = __next__


def one_part(call: str, rows: Sequence[Any], split: float, subset: str | None) -> Any:
    """The rows of a subset: the first share `split` is "validation", the rest "training"."""
    one_of(call, "subset", subset, ("training", "validation", None))
    if subset is None:
        return rows
    if not split:
        raise expected(call, "subset", "None without a validation_split", subset)
    held = int(len(rows) * split)
    return rows[:held] if subset == "validation" else rows[held:]


def rows_of_folder(
    directory: str,
    classes: Sequence[str] | None,
    class_mode: str | None,
    follow_links: bool,
    split: float,
    subset: str | None,
) -> tuple[dict[str, int], list[str], Any]:
    """Class indices by name, image files, and the class index of each file, of a folder.

    Raises:
        FileNotFoundError: the folder does not exist.
    """
    found = sorted(each.name for each in os.scandir(directory) if each.is_dir())
    names = {name: i for i, name in enumerate(classes or found)}
    files, labels = list[str](), list[int]()
    for name, number in names.items():
        paths = files_below(os.path.join(directory, name), _SUFFIXES, follow_links)
        within = [os.path.relpath(path, directory) for path in paths]
        chosen = list(one_part("flow_from_directory", within, split, subset))
        files += chosen
        labels += [number] * len(chosen)
    return names, files, np.array(labels, "int32")


def rows_of_frame(
    frame: Any,
    directory: str,
    columns: tuple[str, Any, str | None],
    how: tuple[Any, Any, bool],
    part: tuple[float, str | None],
) -> tuple[dict[Any, int], list[str], Any, Any]:
    """Class indices by name, paths, targets and sample weights, of a data frame.

    Args:
        frame: a pandas data frame.
        directory: the folder that paths are relative to.
        columns: columns of paths, of targets (one or several), and of weights or None.
        how: class names or None, the class mode, and whether to drop paths that are no images.
        part: the share for validation, and the subset to return.
    """
    x_col, y_col, weight_col = columns
    classes, mode, validate = how
    paths = [os.path.join(directory, str(each)) for each in frame[x_col]]
    fits = [not validate or (p.lower().endswith(_SUFFIXES) and os.path.isfile(p)) for p in paths]
    of_classes = mode in ("categorical", "binary", "sparse")
    if of_classes and classes is not None:
        fits = [fit and each in classes for fit, each in zip(fits, frame[y_col], strict=True)]
    rows = list(one_part("flow_from_dataframe", [i for i, fit in enumerate(fits) if fit], *part))
    weights = None if weight_col is None else np.asarray(frame[weight_col])[rows]
    names: dict[Any, int] = {}
    labels: Any = None
    if of_classes:
        column = list(frame[y_col])
        kept = [each for each, fit in zip(column, fits, strict=True) if fit]
        names = {name: i for i, name in enumerate(classes or sorted({*kept}))}
        labels = np.array([names[column[i]] for i in rows], "int32")
    elif mode == "raw":
        labels = np.asarray(frame[y_col])[rows]
    elif mode == "multi_output":
        labels = [np.asarray(frame[each].tolist())[rows] for each in y_col]
    return names, [paths[i] for i in rows], labels, weights
