"""Epochs of training and passes of evaluation: batches, hooks, progress, Ctrl-C.

A feed is what batches come from, arrays in passes or a stream. It remembers where it is: with
`steps_per_epoch` an epoch may end in the middle of a pass, and the next one goes on from there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cdl import data
from cdl._common.errors import warn
from cdl.data import Mapped, Stream
from cdl.data.mapped import FETCHED
from cdl.data.mapped import SLICE as MAPPED_SLICE
from cdl.distribution import ranks
from cdl.random import permutation
from cdl.trainers.compile_utils import Compiled
from cdl.trainers.custom.steps import Nested, nested, steps_itself
from cdl.trainers.data_adapter import Arrays, like_first, training_data
from cdl.trainers.signature import TrainableModel

# Row numbers that are drawn ahead at most: 128 KB, which stay in cache.
_ORDERS = 1 << 14
_NO_ROWS = np.empty(0, np.int64)


class EpochIterator(Protocol):
    """Interface of iterators that run a train function over batches.

    Attributes:
        train_function: what runs them: a TrainFunction, or CustomSteps in its place.
        target: batches of an epoch, None if unknown.
        arrays: the data, or those of the last batch if they come batch by batch.
        runs_fused: whether `run_epochs` can run many epochs in a call.
    """

    train_function: Any
    target: int | None
    arrays: Any

    @property
    def runs_fused(self) -> bool:
        """Whether `run_epochs` can run many epochs in one call of the core."""

    def run_epochs(self, n: int, logs: list[dict[str, float]]) -> None:
        """Run up to `n` epochs without a break, at least one; `logs` gets those of each.

        Also if one of them is interrupted.
        """

    def start(self) -> dict[str, Any]:
        """Values that all ranks sharing the batches must agree on."""

    def draw_anew(self) -> None:
        """Discard orders drawn ahead, since the generators have changed."""

    def begin_epoch(self) -> None:
        """Prepare for an epoch."""

    def end_epoch(self) -> None:
        """Finish the current epoch."""

    def reset(self) -> None:
        """Prepare for another validation."""

    def close(self) -> None:
        """Release the data; nothing more will be read."""

    def ran_out(self, done: int, kind: str) -> None:
        """Warn or raise for a batch that is missing."""

    def ready(self) -> bool:
        """Whether there is another batch in this pass."""

    def run(self, steps: int, seconds: float) -> int:
        """Run up to `steps` batches or for about `seconds`; the number run."""


class ArrayIterator:
    """Passes over arrays, each in a fresh order if they are shuffled.

    Args:
        train_function: what runs the batches.
        arrays: the data.
        batch: rows of a batch; the last one of a pass may be smaller.
        steps: batches of an epoch, None for one pass.
        restart: whether each epoch starts at the first row, even if `steps` left a pass unfinished.
        shuffle: True for a new order of rows in each pass, "batch" for one within each batch.
        discard: whether to draw one order and not use it. Keras does so in the first `fit` after
            `compile`, when it builds; with the same draws `np.random.seed` gives the same orders.
    """

    def __init__(
        self,
        train_function: Any,
        arrays: Arrays | Nested,
        batch: int,
        steps: int | None = None,
        restart: bool = False,
        shuffle: bool | str = False,
        discard: bool = False,
    ) -> None:
        self.train_function = train_function
        self.arrays = arrays
        self._batch = batch
        self._rows = arrays.samples
        self._shuffle = shuffle
        self._per_pass = -(-self._rows // batch)
        self._left = 0
        self._orders: NDArray[np.int64] | None = None
        self._restart = restart or steps is None
        given: list[Any] = arrays.all() if isinstance(arrays, Arrays) else []
        self._mapped = Mapped(given, bool(shuffle))
        self._fetches = bool(self._mapped and shuffle) and all(
            isinstance(each, np.ndarray) for each in given
        )
        self._to_fetch = _NO_ROWS
        self._fetched = 0  # batches that the train function has and has not run
        self.target: int | None = steps or self._per_pass
        if discard and shuffle:
            permutation(min(batch, self._rows) if shuffle == "batch" else self._rows)

    def begin_epoch(self) -> None:
        """Start a pass, unless the last one goes on."""
        if not self._left or self._restart:
            order = self._order()
            self._left = self._per_pass
            if self._fetches and order is not None:
                self._to_fetch, self._fetched = order, 0
            else:
                self.train_function.begin(self.arrays, self._batch, order)

    def _fetch(self) -> None:
        """Copy the rows of the next batches out of memory-mapped files."""
        arrays: Any = self.arrays
        size = sum(each.dtype.itemsize * math.prod(each.shape[1:]) for each in arrays.all())
        batches = max(1, FETCHED // max(1, size * self._batch))
        rows, self._to_fetch = np.split(self._to_fetch, [batches * self._batch])
        self.train_function.release()  # before the next rows take their place
        parts = arrays.each(lambda each: self._mapped.rows(each, rows))
        self.train_function.begin(parts, self._batch)
        self._fetched = -(-len(rows) // self._batch)

    @property
    def runs_fused(self) -> bool:
        """Whether `run_epochs` applies: the arrays are shuffled as a whole, or not at all."""
        plain = self._restart and not self._mapped and self._shuffle and self._shuffle != "batch"
        return bool(plain) and self.train_function.runs_fused and ranks.current() is None

    def run_epochs(self, n: int, logs: list[dict[str, float]]) -> None:
        """Run up to `n` epochs without a break, at least one; `logs` gets those of each."""
        n = max(1, min(n, _ORDERS // self._rows))
        if self._orders is None:  # kept: pages of fresh memory cost more than an epoch's Python
            self._orders = np.empty((max(1, _ORDERS // self._rows), self._rows), np.int64)
        orders = self._orders[:n]
        for order in orders:
            order[:] = permutation(self._rows)
        passes: list[dict[str, float]] = []
        try:
            self.train_function.run_epochs(self.arrays, self._batch, orders, passes)
        finally:
            logs += map(in_order, passes)

    def start(self) -> dict[str, Any]:
        """Sizes, kinds and some rows."""
        given: list[Any] = self.arrays.all() if isinstance(self.arrays, Arrays) else []
        return {
            "rows": self._rows,
            "batch size": self._batch,
            "steps": self.target,
            "shuffle": self._shuffle,
            "data": [ranks.described(each) for each in given],
        }

    def draw_anew(self) -> None:
        """Do nothing: an order is drawn when its pass begins."""

    def end_epoch(self) -> None:
        """Do nothing at the end of an epoch."""

    def reset(self) -> None:
        """Do nothing: `restart` starts each pass."""

    def close(self) -> None:
        """Restore the state of mapped files."""
        self._mapped.close()

    def ran_out(self, done: int, kind: str) -> None:
        """Warn that the data ran out early."""
        warn_out_of_data(kind, done, self.target)

    def _order(self) -> NDArray[np.int64] | None:
        if not self._shuffle:
            return None
        if self._shuffle != "batch":
            return permutation(self._rows)
        starts = range(0, self._rows, self._batch)
        sizes = [min(self._batch, self._rows - start) for start in starts]
        parts = [start + permutation(n) for start, n in zip(starts, sizes, strict=True)]
        return np.concatenate(parts)

    def ready(self) -> bool:
        """Whether the pass has another batch."""
        return self._left > 0

    def run(self, steps: int, seconds: float) -> int:
        """Run up to `steps` batches or for about `seconds`; the number run."""
        if self._mapped:
            seconds = min(seconds, MAPPED_SLICE)
        if self._fetches:
            if not self._fetched:
                self._fetch()
            steps = min(steps, self._fetched)
        ran: int = self.train_function.run(min(steps, self._left), seconds)
        self._fetched -= ran
        self._left -= ran
        self._mapped.trim()
        return ran


class StreamIterator:
    """Batches of a generator or another iterable, each of its own size.

    Args:
        train_function: what runs the batches.
        stream: where they come from.
        check: makes checked Arrays of what the stream yields.
        switch: gives what runs such a batch, from what ran the last one.
        steps: batches of an epoch, None for all that there are.
        restart: whether each epoch starts at the first batch, if the stream can be read again.
        in_fit: whether a generator that ends early is an error.
    """

    def __init__(
        self,
        train_function: Any,
        stream: Stream,
        check: Callable[[tuple[Any, ...]], Arrays | Nested],
        switch: Callable[[Any, Arrays | Nested], Any],
        steps: int | None = None,
        restart: bool = False,
        in_fit: bool = False,
    ) -> None:
        self.train_function = train_function
        self._in_fit = in_fit
        self._stream = stream
        self._check = check
        self._switch = switch
        self._restart = restart or steps is None
        self.arrays: Any = None
        self.target = steps or len(stream) or None

    @property
    def runs_fused(self) -> bool:
        """False: Python reads each batch."""
        return False

    def start(self) -> dict[str, Any]:
        """Number of batches; each batch is checked when it comes."""
        return {"steps": self.target}

    def draw_anew(self) -> None:
        """Forget the order of a PyDataset whose first batch has been read."""
        if self._stream.is_dataset:
            self._stream.rewind()

    def run_epochs(self, n: int, logs: list[dict[str, float]]) -> None:
        """Not available, since `runs_fused` is False."""

    def begin_epoch(self) -> None:
        """Restart the stream where it can and should be."""
        self._stream.begin_epoch()
        self._stream.expect(self.target)
        if self._stream.taken and (self._restart or not self._stream.ready()):
            self._stream.rewind()

    def end_epoch(self) -> None:
        """Notify the stream of the end of an epoch."""
        self._stream.end_epoch()

    def reset(self) -> None:
        """Notify the stream, as Keras does, that there was an epoch."""
        self._stream.end_epoch()

    def close(self) -> None:
        """Stop the reading of the stream."""
        self._stream.close()

    def ran_out(self, done: int, kind: str) -> None:
        """Warn; in a fit ValueError, if the stream is an exhausted generator.

        Raises:
            ValueError: the generator has ended.
        """
        stream = self._stream
        if not (stream.once and self._in_fit):
            warn_out_of_data(kind, done, self.target)
            return
        steps = f"{done} of {self.target}" if self.target is not None else "0"
        raise ValueError(
            f"{stream.name} ended after {stream.taken} batches, {steps} of this epoch: a generator "
            "is read only once. Let it yield steps * epochs batches and give the steps, or use "
            "something that can be read again, such as a PyDataset"
        )

    def ready(self) -> bool:
        """Whether the stream has another batch."""
        return self._stream.ready()

    def run(self, steps: int, seconds: float) -> int:
        """Run one batch; the caller's loop asks for the next."""
        del steps, seconds
        self.arrays = arrays = self._check(self._stream.take())
        shared = ranks.current()
        if shared is not None:
            shared.compare({"rows of each batch": arrays.samples}, self._stream.name)
        self.train_function = self._switch(self.train_function, arrays)
        self.train_function.begin(arrays, arrays.samples)
        ran: int = self.train_function.run(1, 0.0)
        return ran


def in_order(values: dict[str, float]) -> dict[str, float]:
    """Logs sorted by name as in Keras: 'accuracy' before 'loss', capitals first."""
    return dict(sorted(values.items())) if len(values) > 1 else dict(values)


def warn_out_of_data(kind: str, done: int, target: int | None) -> None:
    """Warn that there were fewer batches than asked for."""
    what = "steps_per_epoch * epochs" if kind == "train" else "steps"
    warn(
        f"Your input ran out of data after {done} of {target or 'an unknown number of'} batches; "
        f"going on without the others. Data or generator should have at least {what} batches."
    )


DEFAULT_BATCH = 32
AnyArrays = Arrays | Nested


def for_step(
    model: TrainableModel,
    compiled: Compiled,
    kind: str,
    parts: tuple[Any, Any, Any],
    class_weight: Any,
    call: str,
    batch: int | None = None,
) -> AnyArrays:
    """x, y and weights as the model's step takes them: checked, or in the structure they have.

    Args:
        compiled: what it was compiled with.
        kind: "train" or "test".
        parts: x, y and the sample weights.
        class_weight: {class: weight}, or None.
        batch: rows of a batch, for the shape of a model that the data build.
    """
    if steps_itself(type(model), kind):
        return nested(*parts, class_weight, call)
    return training_data(model, compiled, *parts, class_weight, call, batch, trains=kind == "train")


def refuse_beside_stream(call: str, source: Any, **given: Any) -> None:
    """ValueError for an argument that only arrays take; a warning for batch_size."""
    kind = "a PyDataset" if isinstance(source, data.PyDataset) else "a generator"
    if given.pop("batch_size", None) is not None:  # Keras's guides give it, without effect
        warn(f"{call}: batch_size has no effect when x is {kind}, which makes the batches")
    for name, value in given.items():
        if value is not None:
            raise ValueError(
                f"{call}: {name} must not be given when x is {kind}, got "
                f"{data.brief(value)}: let it be part of the batches"
            )


def stream_iterator(
    model: TrainableModel,
    compiled: Compiled,
    source: Any,
    call: str,
    kind: str,
    steps: int | None,
    *,
    shuffle: bool = False,
    class_weight: Mapping[int, float] | None = None,
    in_fit: bool = False,
    validating: bool = False,
) -> EpochIterator:
    """Epoch iterator over a generator, a PyDataset or another iterable.

    Args:
        model: the model; it is built by the first batch if it is not.
        compiled: what it was compiled with.
        source: what gives the batches.
        kind: "train" or "test".
        steps: batches of an epoch, None for all that there are.
        shuffle: whether a PyDataset is read in a new order in each epoch.
        class_weight: {class: weight}, or None.
        in_fit: whether a generator that ends early is an error.
        validating: whether this is the validation of a fit, which starts at the first batch.
    """
    custom = steps_itself(type(model), kind)
    fresh = compiled.resolved is None and not custom
    stream = data.Stream(source, call if validating else f"{call}: x", shuffle)
    if stream.is_dataset and not len(stream) and steps is None and source.num_batches is None:
        raise ValueError(f"{call}: the number of steps must be given for a PyDataset without end")
    if not fresh:
        stream.end_epoch()  # as Keras does, which resets what it reads from

    def checked(batch: tuple[Any, ...]) -> AnyArrays:
        x, y, weight = (*batch, None, None)[:3]
        where = f"{call}: batch {stream.current}"
        if custom:
            length = 0 if stream.bare else len(batch)
            return nested(x, y, weight, class_weight, where, length, streams=True)
        return training_data(
            model, compiled, x, y, weight, class_weight, where, trains=kind == "train"
        )

    first = checked(stream.peek())
    train_function = model._train_function(compiled, kind, first, first.samples)
    if stream.is_dataset and fresh:
        # Keras first builds with one batch of an epoch of its own, too.
        stream.end_epoch()
        stream.rewind()

    def check(batch: tuple[Any, ...]) -> AnyArrays:
        arrays = checked(batch)
        if isinstance(arrays, Arrays) and isinstance(first, Arrays):
            like_first(
                arrays, first, stream.name, stream.current, model._graph_of_model.takes_sizes()
            )
        return arrays

    def switch(current: Any, arrays: AnyArrays) -> Any:
        return model._switched(current, compiled, kind, arrays)

    return StreamIterator(
        train_function, stream, check, switch, steps, restart=validating, in_fit=in_fit
    )


def array_iterator(
    model: TrainableModel,
    compiled: Compiled,
    arrays: AnyArrays,
    kind: str,
    batch: int,
    steps: int | None,
    **options: Any,
) -> ArrayIterator:
    """Epoch iterator over checked arrays, in batches of at most `batch` rows."""
    batch = min(batch, arrays.samples)
    return ArrayIterator(
        model._train_function(compiled, kind, arrays, batch), arrays, batch, steps, **options
    )
