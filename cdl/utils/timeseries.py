"""Sliding windows over time series, in batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl._common.validation import count, expected, positive_int
from cdl.data.arrays import as_numeric
from cdl.data.frames import names_of
from cdl.random import generator_within, numpys

Array = NDArray[Any]


class Windows:
    """Batches of windows: a reusable iterable that `fit` takes.

    Args:
        data: the time series, a step a row.
        targets: what belongs to the window that starts at each step, or None.
        ahead: how far after the first step of a window each of its targets is; None for one target,
            which has the number of that step.
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
        ahead: Array | None = None,
    ) -> None:
        self._data, self._targets, self._ahead = data, targets, ahead
        self._starts, self._steps = starts, steps
        self._batch_size = batch_size
        self._seed = seed
        self._rng = np.random.RandomState(seed)

    def __len__(self) -> int:
        """The number of batches."""
        size = self._batch_size or 1
        return (len(self._starts) + size - 1) // size

    def __iter__(self) -> Iterator[Any]:
        """Iterate over batches: `(windows, targets)`, or windows alone without targets."""
        starts = self._starts
        if self._seed is not None:
            starts = (generator_within(self, self._seed) or self._rng).permutation(starts)
        if self._batch_size is None:
            for start in starts:
                yield self._at(start)
            return
        for first in range(0, len(starts), self._batch_size):
            yield self._at(starts[first : first + self._batch_size])

    def whole(self) -> Any:
        """All windows, in their own order."""
        return self._at(self._starts)

    def _at(self, starts: Any) -> Any:
        first = np.asarray(starts)[..., None]
        windows = self._data[first + self._steps]
        if self._targets is None:
            return windows
        return windows, self._targets[starts if self._ahead is None else first + self._ahead]


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
    """Sliding windows over a time series: `data[i], data[i + sampling_rate], ...` for each start i.

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
        ValueError: a number that does not fit the data, such as windows longer than these.
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
    if windows < 1:
        raise ValueError(
            f"{owner}: sequence_length must be such that a window, {length} steps of which each is "
            f"{sampling_rate} after the last, fits the {last - first} steps of the data: it has "
            f"{(length - 1) * sampling_rate + 1}"
        )
    if targets is not None:
        targets = as_numeric(targets, f"{owner}: targets")[first:last]
        windows = min(windows, len(targets))
        if not windows:
            raise ValueError(f"{owner}: targets must not be empty from start_index on")
    starts = np.arange(0, windows, sequence_stride)
    steps = np.arange(length) * sampling_rate
    if shuffle and seed is None:
        seed = numpys().randint(10**6)
    return Windows(data, targets, starts, steps, batch_size, seed if shuffle else None)


def windows(
    series: Any,
    input: int,
    horizon: int = 1,
    *,
    targets: Any = None,
    gap: int = 0,
    stride: int = 1,
    batch_size: int | None = None,
    shuffle: bool = False,
    seed: int | None = None,
) -> tuple[Array, Array] | Windows:
    """Sliding windows of a series with the steps after each, for multi-step forecasts.

    Window i has the steps ``i * stride`` to ``i * stride + input - 1``, its targets are the
    `horizon` steps after these and `gap` more. Series of a list stand side by side: no window goes
    from one into the next.

    Args:
        series: array or frame whose first axis is time, of shape (steps,) or (steps, columns); or a
            list of such arrays or frames.
        input: steps in a window.
        horizon: steps to forecast.
        targets: the name or number of the column to forecast, or a list of them; None for all.
        gap: steps between a window and its targets.
        stride: steps from the start of one window to that of the next.
        batch_size: None for two arrays; a number for an iterable of batches, which holds the series
            and not its windows.
        shuffle: whether the iterable gives the windows in a new order each time.
        seed: of that order; None for one drawn now.

    Returns:
        x of shape (n, input) or (n, input, columns), and y of shape (n, horizon), or
        (n, horizon, columns) where `targets` is a list or a series of several columns has all as
        targets; or an iterable of batches of these, for `fit`.

    Raises:
        ValueError: a series shorter than a window with its targets, or columns that it has not got.
    """
    owner = "windows"
    counts = {"input": input, "horizon": horizon, "stride": stride}
    steps, ahead, every = (positive_int(owner, name, each) for name, each in counts.items())
    between = count(owner, "gap", gap)
    if batch_size is not None:
        positive_int(owner, "batch_size", batch_size)
    elif shuffle:
        raise expected(owner, "shuffle", "False unless batch_size is given", shuffle)
    several = isinstance(series, (list, tuple)) and bool(series) and np.ndim(series[0]) > 0
    parts, wanted, starts, at = [], [], [], 0
    for i, each in enumerate(series if several else [series]):
        name = f"{owner}: series" + (f"[{i}]" if several else "")
        data = as_numeric(each, name)
        whole = steps + between + ahead
        if data.ndim > 2 or len(data) < whole:
            raise ValueError(
                f"{name} must have shape (steps,) or (steps, columns), with at least input + gap + "
                f"horizon = {whole} steps, got {data.shape}"
            )
        parts.append(data)
        wanted.append(data if targets is None else _chosen(data, names_of(each), targets, owner))
        starts.append(at + np.arange(0, len(data) - whole + 1, every))
        at += len(data)
    if len({each.shape[1:] for each in parts}) > 1:
        raise ValueError(f"{owner}: series must all have as many columns, got several numbers")
    if shuffle and seed is None:
        seed = numpys().randint(10**6)
    made = Windows(
        np.concatenate(parts),
        np.concatenate(wanted),
        np.concatenate(starts),
        np.arange(steps),
        batch_size,
        seed if shuffle else None,
        ahead=np.arange(ahead) + steps + between,
    )
    return made if batch_size is not None else made.whole()


def _chosen(data: Array, names: tuple[str, ...] | None, targets: Any, owner: str) -> Array:
    """Columns of a series to forecast."""
    single = not isinstance(targets, (list, tuple))
    places = []
    for each in [targets] if single else targets:
        known: Any = (
            names if isinstance(each, str) else range(data.shape[1] if data.ndim > 1 else 1)
        )
        if isinstance(each, bool) or each not in (known or ()):
            shown = list(known or ()) if isinstance(each, str) else f"numbers below {len(known)}"
            raise expected(owner, "targets", f"columns of the series, {shown}", each)
        places.append(names.index(each) if names and isinstance(each, str) else each)
    wide = data if data.ndim > 1 else data[:, None]
    return wide[:, places[0] if single else places]


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
