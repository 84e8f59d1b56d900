"""PyDataset: indexed batches, made on demand."""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from typing import Any

from cdl._common.errors import warn

_DEFAULTS = {"_workers": 1, "_use_multiprocessing": False, "_max_queue_size": 10}


class PyDataset:
    """Base of datasets that make each batch on demand; `Sequence` is its older name.

    A subclass has `__getitem__(i)`, which gives batch `i` as `(x,)`, `(x, y)` or
    `(x, y, sample_weight)`, and `__len__`, the number of batches; or, instead of `__len__`, a
    property `num_batches` that is None if there is no end. It may have `on_epoch_begin` and
    `on_epoch_end`, to change the data between epochs. `fit` takes the batches in a new order in
    each epoch, drawn by Python's `random`, unless it is told `shuffle=False`.

    Args:
        workers: how many threads make batches ahead of the training; one does so only if a batch
            takes a millisecond, and 0 never.
        use_multiprocessing: accepted; batches are made by threads in any case, which is as good
            where the work is done by NumPy and in files.
        max_queue_size: how many batches may be ready ahead of the training; 0 reads none ahead.

    Raises:
        ValueError: an argument that is no number of workers or batches.
    """

    def __init__(
        self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10
    ) -> None:
        self.workers = workers
        self.use_multiprocessing = use_multiprocessing
        self.max_queue_size = max_queue_size

    def _option(self, name: str) -> Any:
        if not hasattr(self, name):
            warn(
                f"{type(self).__name__}: the constructor of a PyDataset should call "
                "super().__init__(**kwargs): going on with one worker"
            )
            vars(self).update(_DEFAULTS)
        return vars(self)[name]

    @property
    def workers(self) -> int:
        """Number of threads that prefetch batches; see the constructor."""
        workers: int = self._option("_workers")
        return workers

    @workers.setter
    def workers(self, value: int) -> None:
        self._workers = _count(value, "workers", 0)

    @property
    def use_multiprocessing(self) -> bool:
        """The constructor's value, without effect."""
        return bool(self._option("_use_multiprocessing"))

    @use_multiprocessing.setter
    def use_multiprocessing(self, value: bool) -> None:
        self._use_multiprocessing = bool(value)

    @property
    def max_queue_size(self) -> int:
        """Largest number of prefetched batches."""
        size: int = self._option("_max_queue_size")
        return size

    @max_queue_size.setter
    def max_queue_size(self, value: int) -> None:
        self._max_queue_size = _count(value, "max_queue_size", 0)

    def __getitem__(self, index: int) -> Any:
        """Batch number `index`; to be overridden."""
        raise NotImplementedError(f"{type(self).__name__} must override __getitem__(index)")

    @property
    def num_batches(self) -> int | None:
        """Number of batches, None if there is no end."""
        if hasattr(self, "__len__"):
            return len(self)
        raise NotImplementedError(
            f"{type(self).__name__} must have __len__() or a property num_batches"
        )

    def on_epoch_begin(self) -> None:
        """Called at the start of each epoch."""

    def on_epoch_end(self) -> None:
        """Called at the end of each epoch."""

    def __iter__(self) -> Iterator[Any]:
        n = self.num_batches
        for i in itertools.count() if n is None else range(n):
            yield self[i]


def in_order(dataset: PyDataset, order: Iterable[int]) -> Iterator[Any]:
    """Batches of those numbers, prefetched by the dataset's workers if it has several."""
    workers = dataset.workers
    if workers > 1 or (workers and dataset.use_multiprocessing):
        yield from _ahead(dataset, iter(order), workers, dataset.max_queue_size)
    else:
        for i in order:
            yield dataset[i]


def _ahead(dataset: PyDataset, order: Iterator[int], workers: int, most: int) -> Iterator[Any]:
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(workers, "cdl-dataset")
    try:
        queue: deque[Future[Any]] = deque()
        for i in itertools.islice(order, most):
            queue.append(pool.submit(dataset.__getitem__, i))
        while queue:
            batch = queue.popleft().result()
            for i in itertools.islice(order, 1):
                queue.append(pool.submit(dataset.__getitem__, i))
            yield batch
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _count(value: Any, name: str, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"PyDataset: {name} must be an int >= {least}, got {value!r}")
    return value
