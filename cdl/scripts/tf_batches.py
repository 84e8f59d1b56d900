"""Methods of `tf.data.Dataset` that group elements: batches and windows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl import tree
from cdl._common.validation import positive_int
from cdl.scripts.tf_elements import filled, rows_of, shapes_of

if TYPE_CHECKING:
    from cdl.scripts.tf_data import Dataset


class Batches:
    """Base of `Dataset` with the methods that group elements."""

    _arrays: Any
    _length: float | None
    _made: Callable[..., Dataset]
    _then: Callable[..., Dataset]
    __iter__: Callable[..., Iterator[Any]]

    def batch(
        self,
        batch_size: int,
        drop_remainder: bool = False,
        num_parallel_calls: int | None = None,
        deterministic: bool | None = None,
    ) -> Dataset:
        """Stack each `batch_size` consecutive elements along a new first axis."""
        size, rows = positive_int("batch", "batch_size", batch_size), self._arrays is not None

        def step(items: Iterator[Any]) -> Iterator[Any]:
            while part := list(itertools.islice(items, size)):
                if len(part) == size or not drop_remainder:
                    yield np.stack(part) if rows else tree.map_structure(_stacked, *part)

        batches = self._then(step, self._batches_of(size, drop_remainder))
        batches._batches = not drop_remainder
        return batches

    def padded_batch(
        self,
        batch_size: int,
        padded_shapes: Any = None,
        padding_values: Any = None,
        drop_remainder: bool = False,
    ) -> Dataset:
        """Batch elements of different shapes, padded at the end of each axis.

        Args:
            batch_size: elements in a batch.
            padded_shapes: nested shapes of the padded elements; None or -1 for the largest size
                in the batch. By default all sizes are.
            padding_values: nested padding values; 0 and '' by default.
            drop_remainder: whether to drop a last, smaller batch.
        """
        size = positive_int("padded_batch", "batch_size", batch_size)
        all_shapes, all_values = shapes_of(padded_shapes), tree.flatten(padding_values)

        def padded(elements: list[Any]) -> Any:
            leaves = list(zip(*map(tree.flatten, elements), strict=True))
            shapes, values = (
                given * len(leaves) if len(given) == 1 else given
                for given in (all_shapes, all_values)
            )
            whole = [filled(*each) for each in zip(leaves, shapes, values, strict=True)]
            return tree.pack_sequence_as(elements[0], whole)

        def start() -> Iterator[Any]:
            elements = iter(self)
            while part := list(itertools.islice(elements, size)):
                if len(part) == size or not drop_remainder:
                    yield padded(part)

        n = self._batches_of(size, drop_remainder)
        return self._made(start, n, batches=not drop_remainder)

    def _batches_of(self, size: int, drop_remainder: bool) -> float | None:
        """The number of batches: None if unknown, infinity if endless."""
        n = self._length
        if n is None or n == math.inf:
            return n
        return n // size if drop_remainder else -(-n // size)

    def unbatch(self) -> Dataset:
        """Split each element into its rows."""

        def start() -> Iterator[Any]:
            for element in self:
                shapes = [leaf.shape for leaf in tree.flatten(element)]
                if not all(shapes) or len({shape[0] for shape in shapes}) > 1:
                    raise ValueError(
                        "unbatch: elements must be arrays with the same number of rows, got "
                        f"shapes {', '.join(map(str, shapes))}"
                    )
                for row in range(shapes[0][0]):
                    yield rows_of(element, row)

        return self._made(start, None)

    def window(
        self, size: int, shift: int | None = None, stride: int = 1, drop_remainder: bool = False
    ) -> Dataset:
        """Windows as datasets: `size` elements, `stride` apart, with starts `shift` apart."""
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
                yield tree.map_structure(self._listed, *ahead[:whole:stride])
                skipped = step - len(ahead)
                ahead = ahead[step:]
                if skipped > 0:
                    list(itertools.islice(elements, skipped))

        return self._made(start, None)

    @classmethod
    def _listed(cls, *leaves: Any) -> Dataset:
        return cls._made(lambda: iter(leaves), len(leaves))


def _stacked(*leaves: Any) -> Any:
    return np.stack(leaves)
