"""Files of a directory in batches, labelled by their folders."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl._common.validation import expected, number, one_of, positive_int
from cdl.random import generator_within, numpys

Array = NDArray[Any]


class DirectoryFiles:
    """Batches of files' contents: a reusable iterable that `fit` takes.

    Args:
        file_paths: the files.
        labels: one for each, as an array; or None.
        class_names: what they are called, or None.
        batch_size: files in a batch; None for one by one.
        read: from a path to what the file holds.
        join: from a list of these to a batch.
        seed: what a new order of the files each time follows from, or None for their own order.

    Attributes:
        file_paths: the files, in their own order.
        class_names: the names of the classes, in the order of their numbers; None without labels.
    """

    def __init__(
        self,
        file_paths: list[str],
        labels: Array | None,
        class_names: list[str] | None,
        batch_size: int | None,
        read: Callable[[str], Any],
        join: Callable[[list[Any]], Any],
        seed: int | None,
    ) -> None:
        self.file_paths, self.class_names = file_paths, class_names
        self._labels = labels
        self._batch_size, self._read, self._join = batch_size, read, join
        self._seed = seed
        self._rng = np.random.RandomState(seed)
        self._functions: tuple[Callable[..., Any], ...] = ()
        self._threads = 1  # that make batches

    def __len__(self) -> int:
        """The number of batches."""
        size = self._batch_size or 1
        return (len(self.file_paths) + size - 1) // size

    def __iter__(self) -> Iterator[Any]:
        """Iterate over batches: `(contents, labels)`, or contents alone without labels."""
        order = np.arange(len(self.file_paths))
        if self._seed is not None:
            order = (generator_within(self, self._seed) or self._rng).permutation(order)
        size = self._batch_size or 1
        places = [order[first : first + size] for first in range(0, len(order), size)]
        if self._threads < 2:
            yield from map(self._mapped, places)
            return
        # Several threads make batches at a time; these come in their order.
        with ThreadPoolExecutor(self._threads) as pool:
            waiting = deque(pool.submit(self._mapped, each) for each in places[: self._threads])
            for each in itertools.chain(places[self._threads :], [None] * len(waiting)):
                found = waiting.popleft().result()
                if each is not None:
                    waiting.append(pool.submit(self._mapped, each))
                yield found

    def _mapped(self, places: Array) -> Any:
        given = self._at(places)
        for function in self._functions:
            given = function(*given) if isinstance(given, tuple) else function(given)
        return given

    def map(
        self,
        map_func: Callable[..., Any],
        num_parallel_calls: int | None = None,
        deterministic: bool | None = None,
        name: str | None = None,
    ) -> DirectoryFiles:
        """Apply a function to each batch, or content and label, as `tf.data` does.

        Args:
            map_func: takes the contents, and the labels if there are any.
            num_parallel_calls: how many batches are read and mapped at a time, each by a thread;
                -1, TensorFlow's AUTOTUNE, for one a core; None for one after the other.
            deterministic: without an effect: batches come in their order in any case.
            name: without a meaning here.

        Raises:
            TypeError: `map_func` cannot be called.
            ValueError: another `num_parallel_calls`.
        """
        del deterministic, name
        if not callable(map_func):
            raise TypeError(f"map: map_func must be a function, got {map_func!r}")
        many = num_parallel_calls
        if many is not None and many != -1:
            positive_int("map", "num_parallel_calls", many)
        files = (self.file_paths, self._labels, self.class_names)
        how: Any = (self._batch_size, self._read, self._join, self._seed)
        mapped = DirectoryFiles(*files, *how)
        mapped._functions = (*self._functions, map_func)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        mapped._threads = max(self._threads, (cores or 1) if many == -1 else many or 1)
        return mapped

    def _at(self, places: Array) -> Any:
        contents = [self._read(self.file_paths[i]) for i in places]
        labels = None if self._labels is None else self._labels[places]
        if self._batch_size is None:
            return contents[0] if labels is None else (contents[0], labels[0])
        joined = self._join(contents)
        return joined if labels is None else (joined, labels)


def from_directory(
    owner: str,
    suffixes: tuple[str, ...],
    read: Callable[[str], Any],
    join: Callable[[list[Any]], Any],
    directory: str | os.PathLike[str],
    labels: str | Sequence[int] | None,
    label_mode: str | None,
    class_names: Sequence[str] | None,
    batch_size: int | None,
    shuffle: bool,
    seed: int | None,
    validation_split: float | None,
    subset: str | None,
    follow_links: bool,
    verbose: bool,
) -> DirectoryFiles | list[DirectoryFiles]:
    """Files of some kinds in a directory: see `text_dataset_from_directory`.

    Args:
        suffixes: of the files that count.
        read: from a path to what the file holds.
        join: from a list of these to a batch.
        directory: the folder.
        labels: "inferred", numbers, or None.
        label_mode: "int", "binary", "categorical" or None.
        class_names: the folders that count, or None.
        batch_size: files in a batch, or None.
        shuffle: whether the order changes.
        seed: of the order, or None.
        validation_split: part that is held out, or None.
        subset: "training", "validation", "both" or None.
        follow_links: whether to look into links.
        verbose: whether to print.
    """
    if labels not in ("inferred", None) and not isinstance(labels, (list, tuple)):
        raise expected(owner, "labels", "'inferred', None or a list of ints", labels)
    one_of(owner, "label_mode", label_mode, ("int", "categorical", "binary", None))
    labels = None if label_mode is None else labels
    if class_names is not None and labels != "inferred":
        raise expected(owner, "class_names", "None unless labels='inferred'", class_names)
    _check_split(owner, validation_split, subset, shuffle, seed)
    if batch_size is not None:
        positive_int(owner, "batch_size", batch_size)
    paths, numbers, names = _files(
        owner, os.fspath(directory), suffixes, labels, class_names, follow_links
    )
    if label_mode == "binary" and names is not None and len(names) != 2:
        raise ValueError(
            f"{owner}: label_mode must be 'int' or 'categorical' unless there are two classes, "
            f"got 'binary' for {names}"
        )
    if verbose:
        classes = "" if names is None else f" belonging to {len(names)} classes"
        print(f"Found {len(paths)} files{classes}.")
    if shuffle:
        seed = int(numpys().randint(10**6)) if seed is None else seed
        order = np.arange(len(paths))
        np.random.RandomState(seed).shuffle(order)
        paths = [paths[i] for i in order]
        numbers = None if numbers is None else numbers[order]
    held_out = int((validation_split or 0) * len(paths))
    point = len(paths) - held_out
    encoded = None if numbers is None else _encoded(numbers, label_mode, len(names or ()))
    parts = []
    wanted = ("training", "validation") if subset == "both" else (subset,)
    for part in wanted:
        which = {"training": slice(0, point), "validation": slice(point, None)}.get(
            str(part), slice(None)
        )
        if not paths[which]:
            kinds = ", ".join(suffixes)
            raise ValueError(
                f"{owner}: directory must hold {kinds} files, got no {part or 'such'} ones in "
                f"{os.fspath(directory)!r}"
            )
        if verbose and part is not None:
            print(f"Using {len(paths[which])} files for {part}.")
        labelled = None if encoded is None else encoded[which]
        # The validation part stays in order if both are asked for, as in Keras.
        of_part = seed if shuffle and not (subset == "both" and part == "validation") else None
        parts.append(DirectoryFiles(paths[which], labelled, names, batch_size, read, join, of_part))
    return parts if subset == "both" else parts[0]


def _check_split(owner: str, split: Any, subset: Any, shuffle: bool, seed: Any) -> None:
    if split:
        number(owner, "validation_split", split, above=0.0, below=1.0)
    if bool(split) != bool(subset):
        raise ValueError(
            f"{owner}: validation_split and subset must be given together, got {split!r} and "
            f"{subset!r}"
        )
    one_of(owner, "subset", subset, ("training", "validation", "both", None))
    if split and shuffle and seed is None:
        raise ValueError(
            f"{owner}: seed must be given with validation_split and shuffle, so that the parts "
            "have no file in common, got None"
        )


def _files(
    owner: str,
    directory: str,
    suffixes: tuple[str, ...],
    labels: Any,
    class_names: Sequence[str] | None,
    follow_links: bool,
) -> tuple[list[str], Array | None, list[str] | None]:
    """Paths of files, their class numbers, and the class names."""
    if labels != "inferred":
        paths = files_below(directory, suffixes, follow_links)
        if labels is None:
            return paths, None, None
        if len(labels) != len(paths):
            raise ValueError(
                f"{owner}: labels must be as many as the files, {len(paths)}, got {len(labels)}"
            )
        return paths, np.asarray(labels, np.int32), [str(each) for each in sorted(set(labels))]
    folders = sorted(each.name for each in os.scandir(directory) if each.is_dir())
    folders = [name for name in folders if not name.startswith(".")]
    if class_names is not None and not set(class_names) <= set(folders):
        raise expected(owner, "class_names", f"names of the folders, {folders}", list(class_names))
    names = folders if class_names is None else list(class_names)
    found = [files_below(os.path.join(directory, name), suffixes, follow_links) for name in names]
    numbers = np.repeat(np.arange(len(names), dtype=np.int32), [len(each) for each in found])
    return [path for each in found for path in each], numbers, names


def files_below(directory: str, suffixes: tuple[str, ...], follow_links: bool) -> list[str]:
    """Paths of all files in a folder and its subfolders, sorted."""
    found = []
    for root, _, files in sorted(os.walk(directory, followlinks=follow_links)):
        found += [os.path.join(root, f) for f in sorted(files) if f.lower().endswith(suffixes)]
    return found


def _encoded(numbers: Array, mode: str | None, classes: int) -> Any:
    """Labels encoded by the mode."""
    if mode == "binary":
        return numbers.astype(np.float32)[:, None]
    if mode == "categorical":
        return (numbers[:, None] == np.arange(classes)).astype(np.float32)
    return numbers
