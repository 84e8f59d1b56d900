"""`tf.data.Dataset` of arrays in memory, for scripts.

A data set is a function that begins a pass over its items, and so can be read again and again. As
long as nobody looks at the elements, the items are numbers of rows of arrays: `shuffle` then moves
integers, and a batch is one gather. Elements are nested tuples and dicts of arrays; a list is an
array. Reading from files, and what TensorFlow alone can hold (ragged and sparse tensors), is not
here.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from cdl import tree
from cdl._common.validation import count as checked_count
from cdl._common.validation import positive_int
from cdl.data import brief
from cdl.scripts.tensor import tensors

_AUTOTUNE = -1
_INFINITE, _UNKNOWN = -1, -2  # what cardinality() gives beside a number


class TensorSpec:
    """`tf.TensorSpec`: shape and dtype of what a generator yields.

    Args:
        shape: of a tensor; None for sizes that are not known.
        dtype: of its numbers.
        name: only kept.
    """

    def __init__(self, shape: Any, dtype: Any = "float32", name: str | None = None) -> None:
        self.shape, self.dtype, self.name = shape, dtype, name


class Dataset:
    """`tf.data.Dataset`: an iterable of elements, each time it is iterated from the first on.

    Args:
        start: gives an iterator over the items of a pass.
        length: how many there are in a pass; None if nobody knows, infinity for no end.
        arrays: nested arrays of whose rows the items are numbers; None if they are elements.
    """

    def __init__(
        self, start: Callable[[], Iterator[Any]], length: float | None, arrays: Any = None
    ) -> None:
        self._start, self._length, self._arrays = start, length, arrays

    def _then(self, step: Callable[[Iterator[Any]], Iterator[Any]], length: Any) -> Dataset:
        """The data set of what `step` makes of the items of a pass."""
        return Dataset(lambda: step(self._start()), length, self._arrays)

    # --- where elements come from ---

    @staticmethod
    def from_tensor_slices(tensors: Any) -> Dataset:
        """The rows of nested arrays of one length."""
        arrays = _element(tensors)
        shapes = [leaf.shape for leaf in tree.flatten(arrays)]
        if not shapes or not all(shapes) or len({shape[0] for shape in shapes}) > 1:
            raise ValueError(
                "from_tensor_slices: tensors must be arrays with the same number of rows, got "
                f"{'shapes ' + ', '.join(map(str, shapes)) if shapes else 'none'}"
            )
        rows = range(shapes[0][0])
        return Dataset(lambda: iter(rows), len(rows), arrays)

    @staticmethod
    def from_generator(
        generator: Callable[..., Iterable[Any]],
        output_types: Any = None,
        output_shapes: Any = None,
        args: Any = None,
        output_signature: Any = None,
    ) -> Dataset:
        """What a generator yields, begun anew for each pass, in the given dtypes, nested alike.

        Shapes are not used: arrays have theirs.
        """
        if not callable(generator):
            raise TypeError(f"from_generator: generator must be callable, got {brief(generator)}")
        types = output_types
        if output_signature is not None:
            types = tree.map_structure(lambda spec: spec.dtype, output_signature)

        def start() -> Iterator[Any]:
            for element in generator(*(args or ())):
                yield _element(element, types)

        return Dataset(start, None)

    @staticmethod
    def range(*args: int, **kwargs: Any) -> Dataset:
        """Whole numbers, as of Python's range."""
        numbers = np.arange(*args, dtype=kwargs.get("output_type", np.int64))
        return Dataset.from_tensor_slices(numbers)

    @staticmethod
    def zip(*args: Any, datasets: Any = None) -> Dataset:
        """An element of each of several data sets at a time, as far as the shortest goes.

        They may be given nested, and then elements are nested so.
        """
        parts = datasets if datasets is not None else args[0] if len(args) == 1 else args
        for each in tree.flatten(parts):
            if not isinstance(each, Dataset):
                raise TypeError(f"zip: datasets must be data sets, got {brief(each)}")
        lengths = [each._length for each in tree.flatten(parts)]

        def start() -> Iterator[Any]:
            for leaves in zip(*map(iter, tree.flatten(parts)), strict=False):
                yield tree.pack_sequence_as(parts, leaves)

        return Dataset(start, None if None in lengths else min(lengths))

    # --- other items, or in another order ---

    def batch(
        self,
        batch_size: int,
        drop_remainder: bool = False,
        num_parallel_calls: int | None = None,
        deterministic: bool | None = None,
    ) -> Dataset:
        """So many elements at a time as one, along a new first axis, always in their order."""
        size, rows = positive_int("batch", "batch_size", batch_size), self._arrays is not None

        def step(items: Iterator[Any]) -> Iterator[Any]:
            while part := list(itertools.islice(items, size)):
                if len(part) == size or not drop_remainder:
                    yield np.stack(part) if rows else tree.map_structure(_stacked, *part)

        n = self._length
        if n is not None and n < math.inf:
            n = n // size if drop_remainder else -(-n // size)
        return self._then(step, n)

    def unbatch(self) -> Dataset:
        """The rows of each element as elements."""

        def step(items: Iterator[Any]) -> Iterator[Any]:
            for item in items:
                for row in range(len(tree.flatten(item)[0])):
                    yield _rows_of(item, row)

        return self._then(step, None)

    def shuffle(
        self,
        buffer_size: int,
        seed: int | None = None,
        reshuffle_each_iteration: bool | None = True,
    ) -> Dataset:
        """The items in a random order: each is drawn from so many that are read ahead.

        The order follows the seed, or `tf.random.set_seed`.
        """
        size = positive_int("shuffle", "buffer_size", buffer_size)
        seeds = random.Random(random.getrandbits(64) if seed is None else int(seed))
        first = seeds.getrandbits(64)

        def step(items: Iterator[Any]) -> Iterator[Any]:
            draw = random.Random(first if reshuffle_each_iteration is False else seeds.random())
            ahead = list(itertools.islice(items, size))
            for item in items:
                place = draw.randrange(size)
                yield ahead[place]
                ahead[place] = item
            draw.shuffle(ahead)
            yield from ahead

        return self._then(step, self._length)

    def repeat(self, count: int | None = None) -> Dataset:
        """So many passes, one after the other; without end for None and -1."""
        if count is None or count == -1:
            times: float = math.inf
        else:
            times = checked_count("repeat", "count", count)

        def start() -> Iterator[Any]:
            done, some = 0, True
            while done < times and some:
                some = False
                for item in self._start():
                    some = True
                    yield item
                done += 1

        n = self._length
        length = 0 if times == 0 or n == 0 else None if n is None else n * times
        return Dataset(start, length, self._arrays)

    def take(self, count: int) -> Dataset:
        """The first so many items, or all for -1."""
        if count == -1:
            return self
        most = checked_count("take", "count", count)
        length = None if self._length is None else min(self._length, most)
        return self._then(lambda items: itertools.islice(items, most), length)

    def skip(self, count: int) -> Dataset:
        """The items behind the first so many, or none for -1."""
        if count == -1:
            return self.take(0)
        left_out = checked_count("skip", "count", count)
        length = None if self._length is None else max(self._length - left_out, 0)
        return self._then(lambda items: itertools.islice(items, left_out, None), length)

    def concatenate(self, dataset: Dataset) -> Dataset:
        """The elements of this one, then those of another."""
        lengths = (self._length, dataset._length)
        length = None if lengths[0] is None or lengths[1] is None else lengths[0] + lengths[1]
        return Dataset(lambda: itertools.chain(self, dataset), length)

    def cache(self, filename: str = "") -> Dataset:
        """The items of the first whole pass, kept in memory for all later ones; not in a file."""
        if filename:
            raise ValueError(f"cache: filename must be empty, got {filename!r}: it is for memory")
        kept: list[list[Any]] = []

        def step(items: Iterator[Any]) -> Iterator[Any]:
            if kept:
                yield from kept[0]
                return
            found = []
            for item in items:
                found.append(item)
                yield item
            kept.append(found)

        return self._then(step, self._length)

    def prefetch(self, buffer_size: int) -> Dataset:
        """The same: `fit` reads ahead by itself where it is of use."""
        return self

    # --- what looks at elements ---

    def map(
        self,
        map_func: Callable[..., Any],
        num_parallel_calls: int | None = None,
        deterministic: bool | None = None,
    ) -> Dataset:
        """What a function gives for each element, in their order; a tuple is its arguments."""

        def start() -> Iterator[Any]:
            return (_element(_called(map_func, element)) for element in self)

        return Dataset(start, self._length)

    def flat_map(self, map_func: Callable[..., Any]) -> Dataset:
        """The elements of the data sets that a function gives for each element."""

        def start() -> Iterator[Any]:
            return itertools.chain.from_iterable(_called(map_func, element) for element in self)

        return Dataset(start, None)

    def window(
        self, size: int, shift: int | None = None, stride: int = 1, drop_remainder: bool = False
    ) -> Dataset:
        """Data sets of `size` elements each, `stride` apart; each begins `shift` after the last."""
        size, stride = (
            positive_int("window", "size", size),
            positive_int("window", "stride", stride),
        )
        step = positive_int("window", "shift", size if shift is None else shift)
        whole = (size - 1) * stride + 1

        def start() -> Iterator[Any]:
            elements, ahead = iter(self), list[Any]()
            while True:
                ahead += itertools.islice(elements, whole - len(ahead))
                if not ahead or (drop_remainder and len(ahead) < whole):
                    return
                yield tree.map_structure(_listed, *ahead[:whole:stride])
                skipped = step - len(ahead)
                ahead = ahead[step:]
                if skipped > 0:
                    list(itertools.islice(elements, skipped))

        return Dataset(start, None)

    def filter(self, predicate: Callable[..., Any]) -> Dataset:
        """The elements for which a function says True."""

        def start() -> Iterator[Any]:
            return (element for element in self if _called(predicate, element))

        return Dataset(start, None)

    def enumerate(self, start: int = 0) -> Dataset:
        """Pairs of a number, from `start` on, and an element."""

        def numbered() -> Iterator[Any]:
            return ((np.asarray(i), each) for i, each in enumerate(self, start))

        return Dataset(numbered, self._length)

    def __iter__(self) -> Iterator[Any]:
        """The elements of a pass, as tensors."""
        for item in self._start():
            yield tensors(item if self._arrays is None else _rows_of(self._arrays, item))

    def as_numpy_iterator(self) -> Iterator[Any]:
        """The elements of a pass, as arrays."""
        return (tree.map_structure(lambda leaf: leaf.numpy(), element) for element in self)

    def __bool__(self) -> bool:
        return True

    def __len__(self) -> int:
        """How many elements a pass has; TypeError if nobody knows or there is no end."""
        if self._length is None:
            raise TypeError("The dataset length is unknown.")
        if self._length == math.inf:
            raise TypeError("The dataset is infinite.")
        return int(self._length)

    def cardinality(self) -> Any:
        """How many elements a pass has, -1 for no end, -2 if nobody knows."""
        n = self._length
        return tensors(np.int64(_UNKNOWN if n is None else _INFINITE if n == math.inf else n))


def _called(function: Callable[..., Any], element: Any) -> Any:
    return function(*element) if isinstance(element, tuple) else function(element)


def _stacked(*leaves: Any) -> Any:
    return np.stack(leaves)


def _listed(*leaves: Any) -> Dataset:
    return Dataset(lambda: iter(leaves), len(leaves))


def _rows_of(arrays: Any, rows: Any) -> Any:
    return tree.map_structure(lambda leaf: np.asarray(leaf[rows]), arrays)


def _element(structure: Any, types: Any = None) -> Any:
    """Nested tuples and dicts of arrays; Python's own numbers are float32 and int32."""
    if isinstance(structure, tuple):
        of_parts = types if isinstance(types, tuple) else [types] * len(structure)
        return tuple(_element(part, each) for part, each in zip(structure, of_parts, strict=True))
    if isinstance(structure, dict):
        of_keys = types if isinstance(types, dict) else dict.fromkeys(structure, types)
        return {key: _element(part, of_keys[key]) for key, part in structure.items()}
    if isinstance(structure, Dataset):
        return structure
    if types is not None:
        return np.asarray(structure, types)
    if isinstance(structure, (list, bool, int, float)):
        array = np.asarray(structure)
        plain = not any(hasattr(leaf, "dtype") for leaf in tree.flatten(structure))
        if plain and array.dtype in (np.float64, np.int64):
            return array.astype(np.float32 if array.dtype.kind == "f" else np.int32)
        return array
    return np.asarray(structure)


DATA: dict[str, Any] = {"Dataset": Dataset, "AUTOTUNE": _AUTOTUNE}
