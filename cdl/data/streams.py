"""Data in batches: generators and other iterables of tuples."""

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from cdl.data.ahead import Ahead
from cdl.data.arrays import brief
from cdl.data.py_dataset import PyDataset, in_order
from cdl.random import pythons

# Methods of objects that hold all their rows at once, and so are no streams.
_OF_ARRAYS = ("__array__", "__dlpack__", "__dataframe__", "to_numpy", "toarray")


def is_stream(value: Any) -> bool:
    """Whether `value` is to be read batch by batch, not as one array."""
    known = (np.ndarray, memoryview, list, tuple, dict, str, bytes, set, frozenset, type)
    if isinstance(value, known):
        return False
    if any(hasattr(value, name) for name in _OF_ARRAYS):
        return False
    return hasattr(value, "__next__") or hasattr(value, "__iter__") or is_indexed(value)


def is_indexed(value: Any) -> bool:
    """Whether `value` has batches by number: `__len__` and `__getitem__`."""
    return hasattr(value, "__getitem__") and hasattr(value, "__len__")


# Batches of a generator or data loader that may wait; a PyDataset says how many of its.
_WAITING = 2


class Stream:
    """Batches of an iterable, with a look-ahead of one, or more by a thread: see `ahead.py`.

    A generator is read once and goes on where it stopped; an iterable that can be read again
    (a data loader, a PyDataset) starts anew after its end.

    Args:
        source: what yields `(x,)`, `(x, y)` or `(x, y, w)`; one that can be read again may yield x.
        shuffle: whether to take the batches of a PyDataset in a new order in each pass.
    """

    def __init__(self, source: Any, name: str, shuffle: bool = False) -> None:
        self.name = name
        self.source = source
        self.once = hasattr(source, "__next__") and not isinstance(source, PyDataset)
        self.is_dataset = isinstance(source, PyDataset)
        self.taken = 0  # batches handed out
        self.bare = False  # whether what was yielded last is x alone, in no tuple
        self.current = 0  # number of the batch that was shown last, for errors
        self._shuffle = shuffle
        self._in_epoch = False
        self._ahead: tuple[Any, ...] | None = None
        self._iterator: Iterator[Any] | None = None
        self._expected = 0.0  # batches that will be asked for, the one that is ahead included

    def __len__(self) -> int:
        """Number of batches in one pass, 0 if unknown."""
        if self.is_dataset:
            return self._batches_of_dataset() or 0
        try:
            return len(self.source)
        except TypeError:
            return 0

    def _batches_of_dataset(self) -> int | None:
        # Not len(), which has an error of its own for what is no length.
        cls = type(self.source)
        length = getattr(cls, "__len__", None) if cls.num_batches is PyDataset.num_batches else None
        n = self.source.num_batches if length is None else length(self.source)
        if n is not None and (not isinstance(n, (int, np.integer)) or n < 0):
            raise TypeError(
                f"{self.name} must have a number of batches, an int >= 0 or None, got {brief(n)}"
            )
        return None if n is None else int(n)

    def begin_epoch(self) -> None:
        """Notify a PyDataset of the start of an epoch, once."""
        if self.is_dataset and not self._in_epoch:
            self.source.on_epoch_begin()
        self._in_epoch = True

    def expect(self, batches: int | None) -> None:
        """Announce that `count` batches, or all, will be taken before the next announcement."""
        self._expected = math.inf if batches is None else batches
        self._announce()

    def _announce(self) -> None:
        if isinstance(self._iterator, Ahead):
            self._iterator.expect(self._expected - (self._ahead is not None))

    def end_epoch(self) -> None:
        """Notify a PyDataset of the end of an epoch."""
        if self.is_dataset:
            self.source.on_epoch_end()
        self._in_epoch = False

    def _pass(self) -> Iterator[Any]:
        """New iterator over the source."""
        if not self.is_dataset:
            return Ahead(iter(self.source), _WAITING)
        n = self._batches_of_dataset()
        order: Any = itertools.count() if n is None else list(range(n))
        if self._shuffle and n is not None:
            pythons().shuffle(order)
        batches = in_order(self.source, order)
        most = self.source.max_queue_size if self.source.workers == 1 else 0
        return Ahead(batches, most) if most else batches

    def ready(self) -> bool:
        """Whether there is another batch, which is read ahead."""
        if self._ahead is None:
            if self._iterator is None:
                self._iterator = self._pass()
                self._announce()
            try:
                batch = next(self._iterator)
            except StopIteration:
                return False
            except Exception as error:
                error.add_note(f"{self.name} raised this instead of yielding batch {self.taken}")
                raise
            self._ahead = self._checked(batch)
        return True

    def take(self) -> tuple[Any, ...]:
        """Batch that `ready` announced."""
        if not self.ready():
            raise IndexError(f"{self.name} has no batch {self.taken}")
        batch, self._ahead = self._ahead, None
        self.current = self.taken
        self.taken += 1
        self._expected -= 1
        assert batch is not None
        return batch

    def peek(self) -> tuple[Any, ...]:
        """Next batch, without taking it; ValueError if there is none."""
        self.begin_epoch()
        if not self.ready():
            raise ValueError(f"{self.name} must yield at least one batch, got an empty iterable")
        assert self._ahead is not None
        self.current = self.taken
        return self._ahead

    def close(self) -> None:
        """Stop reading; a generator keeps its further batches."""
        if isinstance(self._iterator, Ahead):
            self._iterator.stop()

    def rewind(self) -> None:
        """Restart, if the source can: called at the end of a pass."""
        if not self.once:
            close = getattr(self._iterator, "close", None)
            if close is not None:
                close()
            self._iterator = None
            self._ahead = None

    def _checked(self, batch: Any) -> tuple[Any, ...]:
        alone = isinstance(batch, dict) or hasattr(batch, "__array__")
        self.bare = alone and not self.once and not self.is_dataset
        if self.bare or (self.is_dataset and isinstance(batch, np.ndarray)):
            batch = (batch,)
        if isinstance(batch, list) and len(batch) in (2, 3) and not _is_numbers(batch):
            batch = tuple(batch)
        if not isinstance(batch, tuple) or not 1 <= len(batch) <= 3:
            does = "give" if self.is_dataset else "yield"
            raise ValueError(
                f"{self.name} must {does} tuples (x,), (x, y) or (x, y, sample_weight), "
                f"got {_shape_of(batch)} as batch {self.taken}"
            )
        return batch


def _is_numbers(batch: list[Any]) -> bool:
    """Whether a list holds numbers or lists of them, and is an x rather than an (x, y)."""
    return not any(hasattr(part, name) for part in batch for name in (*_OF_ARRAYS, "numpy"))


def _shape_of(batch: Any) -> str:
    if isinstance(batch, tuple):
        return f"a tuple of {len(batch)}"
    if hasattr(batch, "shape"):
        return f"a bare array of shape {tuple(batch.shape)}"
    return brief(batch)
