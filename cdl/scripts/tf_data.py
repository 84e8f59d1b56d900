"""`tf.data.Dataset` of arrays in memory, for scripts.

A dataset holds a function that starts a pass over its items, so it can be iterated any number of
times. Until a transformation reads the elements, items are row indices of arrays: `shuffle` then
moves integers, and a batch is one gather. Elements are nested tuples and dicts of arrays; a list
becomes an array. Ragged and sparse elements are not supported. `tf_sources` reads files.
"""

from __future__ import annotations

import itertools
import math
import os
import random
from abc import ABCMeta
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from cdl import tree
from cdl._common.validation import count as checked_count
from cdl._common.validation import positive_int
from cdl.data import brief
from cdl.random import generator_within
from cdl.scripts.tensor import tensors
from cdl.scripts.tf_batches import Batches
from cdl.scripts.tf_elements import TensorSpec, element_of, rows_of

AUTOTUNE = -1
_INFINITE, _UNKNOWN = -1, -2  # results of cardinality() other than lengths


class _Passes:
    """Random generators for the passes over a dataset.

    Each job of `train_many` gets the same sequence of generators.

    Args:
        seed: the seed of the sequence; None for a random one.
    """

    def __init__(self, seed: int | None) -> None:
        self._passes = random.Random(random.getrandbits(64) if seed is None else int(seed))
        self._first = self._passes.getrandbits(64)

    def draw(self, anew: bool) -> random.Random:
        """A generator for a pass: a new one if `anew`, else the first one again."""
        if not anew:
            return random.Random(self._first)
        own = generator_within(self, self._first % 2**32)
        return random.Random(self._passes.random() if own is None else float(own.random_sample()))


class Dataset(Batches, metaclass=ABCMeta):
    """`tf.data.Dataset`: an iterable of elements that starts anew with each iteration.

    Args:
        start: returns an iterator over the items of a pass.
        length: the number of items; None if unknown, infinity for an endless dataset.
        arrays: nested arrays that the items index by row; None if the items are the elements.
        batches: whether elements are batches, the last of which may be smaller.
    """

    def __init__(
        self,
        start: Callable[[], Iterator[Any]],
        length: float | None,
        arrays: Any = None,
        batches: bool = False,
    ) -> None:
        self._start, self._length, self._arrays = start, length, arrays
        self._batches = batches

    @staticmethod
    def _made(*args: Any, **kwargs: Any) -> Dataset:
        return Dataset(*args, **kwargs)

    def _then(self, step: Callable[[Iterator[Any]], Iterator[Any]], length: Any) -> Dataset:
        """A dataset of the items that `step` makes from an iterator over those of this one."""
        return Dataset(lambda: step(self._start()), length, self._arrays, self._batches)

    # --- where elements come from ---

    @staticmethod
    def from_tensor_slices(tensors: Any) -> Dataset:
        """A dataset of the rows of nested arrays."""
        arrays = element_of(tensors)
        shapes = [leaf.shape for leaf in tree.flatten(arrays)]
        if not shapes or not all(shapes) or len({shape[0] for shape in shapes}) > 1:
            raise ValueError(
                "from_tensor_slices: tensors must be arrays with the same number of rows, got "
                f"{'shapes ' + ', '.join(map(str, shapes)) if shapes else 'none'}"
            )
        rows = range(shapes[0][0])
        return Dataset(lambda: iter(rows), len(rows), arrays)

    @staticmethod
    def from_tensors(tensors: Any) -> Dataset:
        """A dataset with nested arrays as its one element."""
        return Dataset(lambda: iter((element_of(tensors),)), 1)

    @staticmethod
    def from_generator(
        generator: Callable[..., Iterable[Any]],
        output_types: Any = None,
        output_shapes: Any = None,
        args: Any = None,
        output_signature: Any = None,
    ) -> Dataset:
        """A dataset of the elements of a generator function, which is called for each pass.

        Elements are cast to `output_types` or the dtypes of `output_signature`; shapes are not
        checked.
        """
        if not callable(generator):
            raise TypeError(f"from_generator: generator must be callable, got {brief(generator)}")
        types = output_types
        if output_signature is not None:
            types = tree.map_structure(lambda spec: str(spec.dtype), output_signature)

        def start() -> Iterator[Any]:
            for element in generator(*(args or ())):
                yield element_of(element, types)

        return Dataset(start, None)

    @staticmethod
    def list_files(
        file_pattern: Any, shuffle: bool | None = None, seed: int | None = None
    ) -> Dataset:
        """A dataset of paths that match patterns, in random order unless `shuffle` is False."""
        from cdl.scripts.tf_sources import files

        found = files(file_pattern, "list_files: file_pattern")
        paths = Dataset.from_tensor_slices(found)
        return paths if shuffle is False else paths.shuffle(len(found), seed)

    @staticmethod
    def range(*args: int, **kwargs: Any) -> Dataset:
        """A dataset of integers, with the arguments of Python's range."""
        numbers = np.arange(*args, dtype=kwargs.get("output_type", np.int64))
        return Dataset.from_tensor_slices(numbers)

    @staticmethod
    def zip(*args: Any, datasets: Any = None) -> Dataset:
        """A dataset of tuples with one element of each dataset, as long as the shortest one.

        Datasets may be nested in tuples and dicts, which sets the structure of the elements.
        """
        parts = datasets if datasets is not None else args[0] if len(args) == 1 else args
        each = [as_dataset("zip: datasets", part) for part in tree.flatten(parts)]
        lengths = [part._length for part in each]

        def start() -> Iterator[Any]:
            for leaves in zip(*map(iter, each), strict=False):
                yield tree.pack_sequence_as(parts, leaves)

        length = None if None in lengths else min(n for n in lengths if n is not None)
        return Dataset(start, length, batches=any(part._batches for part in each))

    @staticmethod
    def choose_from_datasets(
        datasets: Any, choice_dataset: Dataset, stop_on_empty_dataset: bool = True
    ) -> Dataset:
        """A dataset that takes each element from the dataset whose index comes next.

        It ends when a chosen dataset is exhausted; with `stop_on_empty_dataset=False` exhausted
        ones are skipped.
        """
        each = [as_dataset("choose_from_datasets: datasets", part) for part in datasets]

        def start() -> Iterator[Any]:
            passes = [iter(part) for part in each]
            for number in choice_dataset:
                found = next(passes[int(number)], _NOTHING)
                if found is not _NOTHING:
                    yield found
                elif stop_on_empty_dataset:
                    return

        return Dataset(start, None)

    @staticmethod
    def sample_from_datasets(
        datasets: Any,
        weights: Any = None,
        seed: int | None = None,
        stop_on_empty_dataset: bool = False,
        rerandomize_each_iteration: bool | None = None,
    ) -> Dataset:
        """A dataset that takes each element from a dataset drawn with the given weights.

        It ends when all datasets are exhausted, or the first if `stop_on_empty_dataset`.
        """
        each = [as_dataset("sample_from_datasets: datasets", part) for part in datasets]
        shares = [1.0] * len(each) if weights is None else [float(w) for w in np.asarray(weights)]
        if len(shares) != len(each):
            raise ValueError(
                f"sample_from_datasets: weights must be one for each of the {len(each)} data sets, "
                f"got {len(shares)}"
            )
        passes = _Passes(seed)

        def start() -> Iterator[Any]:
            return drawn(passes.draw(True), dict(enumerate(map(iter, each))))

        def drawn(draw: random.Random, left: dict[int, Iterator[Any]]) -> Iterator[Any]:
            while any(shares[i] for i in left):
                number = draw.choices([*left], [shares[i] for i in left])[0]
                found = next(left[number], _NOTHING)
                if found is not _NOTHING:
                    yield found
                elif stop_on_empty_dataset:
                    return
                else:
                    del left[number]

        return Dataset(start, None)

    # --- transformations of items: order and number ---

    def shuffle(
        self,
        buffer_size: int,
        seed: int | None = None,
        reshuffle_each_iteration: bool | None = True,
    ) -> Dataset:
        """Shuffle: draw each item at random from a buffer of the next `buffer_size` items.

        The order follows from the seed, or from `tf.random.set_seed`.
        """
        size = positive_int("shuffle", "buffer_size", buffer_size)
        passes = _Passes(seed)

        def step(items: Iterator[Any]) -> Iterator[Any]:
            # The generator is drawn here, since another thread may read the items.
            return drawn(items, passes.draw(reshuffle_each_iteration is not False))

        def drawn(items: Iterator[Any], draw: random.Random) -> Iterator[Any]:
            ahead = list(itertools.islice(items, size))
            for item in items:
                place = draw.randrange(size)
                yield ahead[place]
                ahead[place] = item
            draw.shuffle(ahead)
            yield from ahead

        return self._then(step, self._length)

    def repeat(self, count: int | None = None) -> Dataset:
        """Repeat the dataset `count` times; endlessly for None and -1."""
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
        return Dataset(start, length, self._arrays, self._batches)

    def take(self, count: int) -> Dataset:
        """Keep the first `count` items, or all for -1."""
        if count == -1:
            return self
        most = checked_count("take", "count", count)
        length = None if self._length is None else min(self._length, most)
        return self._then(lambda items: itertools.islice(items, most), length)

    def skip(self, count: int) -> Dataset:
        """Drop the first `count` items, or all for -1."""
        if count == -1:
            return self.take(0)
        left_out = checked_count("skip", "count", count)
        length = None if self._length is None else max(self._length - left_out, 0)
        return self._then(lambda items: itertools.islice(items, left_out, None), length)

    def concatenate(self, dataset: Dataset) -> Dataset:
        """Append the elements of another dataset."""
        other = as_dataset("concatenate: dataset", dataset)
        n, m = self._length, other._length
        length = None if n is None or m is None else n + m
        batches = self._batches or other._batches
        return Dataset(lambda: itertools.chain(self, other), length, batches=batches)

    def cache(self, filename: str = "") -> Dataset:
        """Keep the items of the first complete pass in memory for later ones.

        Raises:
            ValueError: a `filename`: caches in files are not supported.
        """
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
        """Return the dataset: `fit` prefetches by itself."""
        return self

    def with_options(self, options: Any) -> Dataset:
        """Return the dataset: no option changes an element."""
        return self

    def apply(self, transformation_func: Callable[[Dataset], Any]) -> Any:
        """Call a function with this dataset, and return its result."""
        return transformation_func(self)

    def shard(self, num_shards: int, index: int) -> Dataset:
        """Keep every `num_shards`-th item, starting at `index`."""
        many, first = positive_int("shard", "num_shards", num_shards), int(index)
        n = self._length
        length = n if n is None or n == math.inf else max(-(-(n - first) // many), 0)
        return self._then(lambda items: itertools.islice(items, first, None, many), length)

    # --- transformations of elements ---

    def map(
        self,
        map_func: Callable[..., Any],
        num_parallel_calls: int | None = None,
        deterministic: bool | None = None,
    ) -> Dataset:
        """Apply a function to each element in order; tuples are passed as several arguments.

        A list that it returns is an element of several parts, as a tuple is.
        """

        def start() -> Iterator[Any]:
            made = (_called(map_func, element) for element in self)
            return (element_of(tuple(each) if isinstance(each, list) else each) for each in made)

        return Dataset(start, self._length, batches=self._batches)

    def flat_map(self, map_func: Callable[..., Any]) -> Dataset:
        """Concatenate the datasets that a function returns for each element."""

        def start() -> Iterator[Any]:
            return itertools.chain.from_iterable(_called(map_func, element) for element in self)

        return Dataset(start, None)

    def interleave(
        self,
        map_func: Callable[..., Any],
        cycle_length: int | None = None,
        block_length: int | None = None,
        num_parallel_calls: int | None = None,
        deterministic: bool | None = None,
    ) -> Dataset:
        """Interleave the datasets that a function returns for each element.

        Args:
            map_func: a function from an element to a dataset.
            cycle_length: datasets that are open at a time; None and -1 for the number of CPUs.
            block_length: elements to take from one dataset before the next; 1 by default.
            num_parallel_calls: without effect.
            deterministic: without effect: the order is always deterministic.
        """
        given = cycle_length not in (None, AUTOTUNE)
        many = cycle_length if given else os.cpu_count() or 1
        many = positive_int("interleave", "cycle_length", many)
        block = positive_int("interleave", "block_length", block_length or 1)

        def start() -> Iterator[Any]:
            sources = (iter(_called(map_func, element)) for element in self)
            opened = list(itertools.islice(sources, many))
            while opened:
                left = []
                for each in opened:
                    taken = list(itertools.islice(each, block))
                    yield from taken
                    if len(taken) == block:
                        left.append(each)
                    elif (following := next(sources, None)) is not None:
                        left.append(following)
                opened = left

        return Dataset(start, None)

    def reduce(self, initial_state: Any, reduce_func: Callable[[Any, Any], Any]) -> Any:
        """Fold the elements: the last state, from ``state = reduce_func(state, element)``."""
        state = tensors(element_of(initial_state))
        for element in self:
            state = reduce_func(state, element)
        return tensors(state)

    def take_while(self, predicate: Callable[..., Any]) -> Dataset:
        """Keep the elements before the first for which the predicate is False."""

        def start() -> Iterator[Any]:
            return itertools.takewhile(lambda each: bool(_called(predicate, each)), self)

        return Dataset(start, None, batches=self._batches)

    def filter(self, predicate: Callable[..., Any]) -> Dataset:
        """Keep the elements for which the predicate is True."""

        def start() -> Iterator[Any]:
            return (element for element in self if _called(predicate, element))

        return Dataset(start, None, batches=self._batches)

    def enumerate(self, start: int = 0) -> Dataset:
        """Pair each element with its index, counted from `start`."""

        def numbered() -> Iterator[Any]:
            return ((np.asarray(i), each) for i, each in enumerate(self, start))

        return Dataset(numbered, self._length, batches=self._batches)

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the elements as tensors."""
        arrays = self._arrays
        return (
            tensors(item if arrays is None else rows_of(arrays, item)) for item in self._start()
        )

    def as_numpy_iterator(self) -> Iterator[Any]:
        """Iterate over the elements as NumPy arrays."""
        return (tree.map_structure(lambda leaf: leaf.numpy(), element) for element in self)

    @property
    def element_spec(self) -> Any:
        """Shapes and dtypes of the first element, with an unknown batch size for batches."""
        for element in self.take(1):
            return tree.map_structure(self._spec, element)
        raise ValueError("element_spec: the data set has no element that would tell")

    def _spec(self, leaf: Any) -> TensorSpec:
        shape = (None, *leaf.shape[1:]) if self._batches and leaf.shape else leaf.shape
        text = leaf.dtype.kind in "OUST"
        return TensorSpec(shape, "string" if text else leaf.dtype.name)

    def get_single_element(self) -> Any:
        """The single element of the dataset; ValueError for any other number."""
        found = list(itertools.islice(iter(self), 2))
        if len(found) != 1:
            raise ValueError("get_single_element: the data set must have one element")
        return found[0]

    def __bool__(self) -> bool:
        return True

    def __len__(self) -> int:
        """The number of elements; TypeError if it is unknown or infinite."""
        if self._length is None:
            raise TypeError("The dataset length is unknown.")
        if self._length == math.inf:
            raise TypeError("The dataset is infinite.")
        return int(self._length)

    def cardinality(self) -> Any:
        """The number of elements: -1 if infinite, -2 if unknown."""
        n = self._length
        return tensors(np.int64(_UNKNOWN if n is None else _INFINITE if n == math.inf else n))


_NOTHING = object()


def as_dataset(what: str, thing: Any) -> Dataset:
    """Convert a dataset of files or of a time series to a `Dataset`; TypeError for other values."""
    if not isinstance(thing, Dataset):
        raise TypeError(f"{what} must be data sets, got {brief(thing)}")
    if hasattr(thing, "_start"):
        return thing
    batches = getattr(thing, "_batch_size", 0) is not None
    return Dataset(lambda: iter(thing), len(thing), batches=batches)


def _called(function: Callable[..., Any], element: Any) -> Any:
    return function(*element) if isinstance(element, tuple) else function(element)
