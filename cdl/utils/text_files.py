"""text_dataset_from_directory: text files labelled by their folders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from cdl._common.validation import one_of, positive_int
from cdl.data.texts import decoded
from cdl.utils.directory_files import DirectoryFiles, from_directory

_OWNER = "text_dataset_from_directory"


def text_dataset_from_directory(
    directory: str | os.PathLike[str],
    labels: str | Sequence[int] | None = "inferred",
    label_mode: str | None = "int",
    class_names: Sequence[str] | None = None,
    batch_size: int | None = 32,
    max_length: int | None = None,
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    follow_links: bool = False,
    format: str = "tf",
    verbose: bool = True,
) -> DirectoryFiles | list[DirectoryFiles]:
    """Batches of the `.txt` files of a directory, labelled by their folders.

    Args:
        directory: the folder; with inferred labels it has a folder for each class.
        labels: "inferred", a number for each file in the order of their paths, or None.
        label_mode: "int", int32 of shape (n,); "binary", 0.0 and 1.0 of shape (n, 1);
            "categorical", vectors with a 1; None for no labels.
        class_names: the folders that count, in the order of their numbers; None for all, sorted.
        batch_size: texts in a batch; None for texts one by one.
        max_length: bytes of a text that are read, None for all.
        shuffle: whether to give the files in a new order each time.
        seed: of that order; None for one drawn now.
        validation_split: part of the files, the last ones of the first order, to hold out.
        subset: "training", "validation", or "both" for a list of both, with `validation_split`.
        follow_links: whether to look into folders that are links.
        format: "tf" or "grain"; what comes is an iterable of NumPy arrays in either case.
        verbose: whether to print how many files there are.

    Returns:
        An iterable of batches, `(texts, labels)` or texts alone, with a length, `class_names`,
        `file_paths` and a `map`, that can be given to `fit`, `evaluate`, `predict` and, mapped to
        the texts alone, to `adapt`.

    Raises:
        ValueError: arguments that do not fit together, or no files.
        OSError: the folder cannot be read.
    """
    one_of(_OWNER, "format", format, ("tf", "grain"))
    if max_length is not None:
        positive_int(_OWNER, "max_length", max_length)

    def read(path: str) -> str:
        with open(path, "rb") as file:
            return decoded(file.read(-1 if max_length is None else max_length))

    def join(contents: list[str]) -> Any:
        texts = np.empty(len(contents), object)
        texts[:] = contents
        return texts

    given = (directory, labels, label_mode, class_names, batch_size, shuffle, seed)
    split = (validation_split, subset, follow_links, verbose)
    return from_directory(_OWNER, (".txt",), read, join, *given, *split)
