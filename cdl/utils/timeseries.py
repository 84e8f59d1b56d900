"""Windows that slide over a time series, in batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl._common.validation import expected, positive_int
from cdl.data.arrays import as_numeric
from cdl.random import generator_within, numpys

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]


class Windows:
    """Batches of windows; it can be iterated again and again, and given to `fit` as it is.

    Args:
        data: the time series, a step a row.
        targets: what belongs to the window that starts at each step, or None.
        starts: the first step of each window.
        steps: how far after the first one each step of a window is.
        batch_size: windows in a batch; None for windows one by one.
        seed: what a new order of the windows each time follows from, or None for their own order.
    """

    def __init__(
        self,
        data: Array,
        targets: Array | None,
        starts: Array,
        steps: Array,
        batch_size: int | None,
        seed: int | None,
    ) -> None:
        self._data, self._targets = data, targets
        self._starts, self._steps = starts, steps
        self._batch_size = batch_size
        self._seed = seed
        self._rng = np.random.RandomState(seed)

    def __len__(self) -> int:
        """The number of batches."""
        size = self._batch_size or 1
        return (len(self._starts) + size - 1) // size

    def __iter__(self) -> Iterator[Any]:
        """The batches: `(windows, targets)`, or windows alone if there are no targets."""
        starts = self._starts
        if self._seed is not None:
            starts = (generator_within(self, self._seed) or self._rng).permutation(starts)
        if self._batch_size is None:
            for start in starts:
                yield self._at(start)
            return
        for first in range(0, len(starts), self._batch_size):
            yield self._at(starts[first : first + self._batch_size])

    def _at(self, starts: Any) -> Any:
        windows = self._data[np.asarray(starts)[..., None] + self._steps]
        return windows if self._targets is None else (windows, self._targets[starts])


def timeseries_dataset_from_array(
    data: Any,
    targets: Any,
    sequence_length: int,
    sequence_stride: int = 1,
    sampling_rate: int = 1,
    batch_size: int | None = 128,
    shuffle: bool = False,
    seed: int | None = None,
    start_index: int | None = None,
    end_index: int | None = None,
    format: str = "tf",
) -> Windows:
    """Windows over a time series: `data[i], data[i + sampling_rate], ...` for every start i.

    Args:
        data: array whose first axis is time.
        targets: `targets[i]` belongs to the window that starts at step i; or None.
        sequence_length: steps in a window.
        sequence_stride: steps from the start of one window to that of the next.
        sampling_rate: steps between two steps of a window.
        batch_size: windows in a batch, but for the last one; None for windows one by one.
        shuffle: whether to give the windows in a new order each time.
        seed: of that order; None for one drawn now, which follows from `set_random_seed`. Jobs of
            `train_many` that share the windows each get the orders of the seed from the first on.
        start_index: steps before this one are not used.
        end_index: this step and those after it are not used.
        format: "tf" or "grain"; what comes is an iterable of NumPy arrays in either case.

    Returns:
        An iterable of batches, `(windows, targets)` or windows alone, with a length, that can be
        iterated again and given to `fit`, `evaluate` and `predict`.

    Raises:
        ValueError: a number that does not fit the data.
    """
    owner = "timeseries_dataset_from_array"
    if format not in ("tf", "grain"):
        raise ValueError(f"{owner}: `format` should be 'tf' or 'grain', got {format!r}")
    data = as_numeric(data, f"{owner}: data")
    n = len(data)
    length = positive_int(owner, "sequence_length", sequence_length)
    for name, step in (("sampling_rate", sampling_rate), ("sequence_stride", sequence_stride)):
        if positive_int(owner, f"`{name}`", step) >= n:
            raise expected(owner, f"`{name}`", f"lower than the length of the data, {n}", step)
    if batch_size is not None:
        batch_size = positive_int(owner, "batch_size", batch_size)
    first, last = _part(owner, start_index, end_index, n)
    data = data[first:last]
    windows = last - first - (length - 1) * sampling_rate
    if targets is not None:
        targets = as_numeric(targets, f"{owner}: targets")[first:last]
        windows = min(windows, len(targets))
    starts = np.arange(0, windows, sequence_stride)
    steps = np.arange(length) * sampling_rate
    if shuffle and seed is None:
        seed = numpys().randint(10**6)
    return Windows(data, targets, starts, steps, batch_size, seed if shuffle else None)


def _part(owner: str, start: int | None, end: int | None, n: int) -> tuple[int, int]:
    if start is not None and not 0 <= start < n:
        raise expected(
            owner, "`start_index`", f"from 0 to below the length of the data, {n}", start
        )
    if end is not None and not 0 < end < n:
        raise expected(
            owner, "`end_index`", f"higher than 0 and lower than the length of the data, {n}", end
        )
    if start is not None and end is not None and end <= start:
        raise expected(owner, "`end_index`", f"higher than start_index={start}", end)
    return start or 0, n if end is None else end
