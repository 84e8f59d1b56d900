"""Epochs over data of any size: windows of rows, each of many batches.

The core treats a window like arrays: one call runs all its batches. Meanwhile a thread reads the
next one. Rows that fit into one window are read once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl import data
from cdl.data import chunked, frames, tables
from cdl.data.ahead import Ahead
from cdl.data.windows import Source, Window, order_of, windows
from cdl.distribution import ranks
from cdl.random import numpys
from cdl.trainers import arguments
from cdl.trainers.data_adapter import Arrays
from cdl.trainers.epoch_iterator import DEFAULT_BATCH, AnyArrays, for_step, warn_out_of_data
from cdl.trainers.frame_columns import notice_names
from cdl.trainers.signature import TrainableModel

Parts = tuple[Any, Any, Any]


def source_of(
    model: TrainableModel, x: Any, y: Any, weight: Any, call: str, trains: bool = False
) -> Source | Parts:
    """Source of windows for x, y and weights; or x, y and weights, if they are in memory.

    Target and weight columns that are given by name are removed from a frame in memory.

    Args:
        x: as the user gave it.
        y: targets, or the names of their columns.
        weight: sample weights, likewise.
        trains: whether they are for training.
    """
    if type(x) is np.ndarray and (y is None or type(y) is np.ndarray):
        return x, y, weight
    named = tables.are_names(y) or tables.are_names(weight)
    if tables.is_table(x, named):
        return _table(model, x, y, weight, call, trains)
    if named and frames.names_of(x) is not None:
        return tables.split_frame(x, y, weight, call, _outputs(model))
    if chunked.is_large(x, y, weight):
        return data.ChunkedArrays(x, y, weight, call)
    return x, y, weight


def split_source(source: Source, validation_split: Any) -> tuple[Source, Source]:
    """Rows for training, and those at the end for validation; ValueError."""
    if not isinstance(source, data.ChunkedArrays):
        raise ValueError(
            "fit: validation_split must be 0 for a table that is read in windows, got "
            f"{data.brief(validation_split)}: give validation_data=(table, y)"
        )
    point = arguments.split_point(validation_split, source.rows, "fit: validation_split")
    return source.split(point)


def _table(
    model: TrainableModel, x: Any, y: Any, weight: Any, call: str, trains: bool
) -> data.Table:
    known = None if trains or model._columns is None else model._columns.names.get(0)
    table = data.Table(x, y, weight, call, _inputs(model), _outputs(model), known)
    if table.columns is not None:
        notice_names(model, 0, table.columns, f"{call}: x", trains)
    return table


def _inputs(model: TrainableModel) -> list[str] | None:
    """Names of a model's inputs if it has several."""
    names = model._graph_of_model.input_names()
    return names if len(names) > 1 else None


def _outputs(model: TrainableModel) -> int:
    return len(model._graph_of_model.output_names() or (None,))


class WindowIterator:
    """Epoch iterator over windows of rows: see `EpochIterator`.

    Args:
        source: the source of the windows.
        batch: rows of a batch; the last one of a pass may be smaller.
        steps: batches of an epoch, None for one pass.
        restart: whether each epoch starts with a new pass, even if `steps` left one unfinished.
        shuffle: as of `fit`.
        check: makes checked Arrays of x, y and weights.
        make: function from such arrays and a batch size to a train function.
        in_fit: whether a source that can be read but once, and ends early, is an error.
    """

    def __init__(
        self,
        source: Source,
        batch: int,
        steps: int | None,
        restart: bool,
        shuffle: bool | str,
        check: Callable[[Parts], AnyArrays],
        make: Callable[[AnyArrays, int], Any],
        in_fit: bool,
    ) -> None:
        self._source, self._batch, self._shuffle = source, batch, shuffle
        self._check, self._in_fit = check, in_fit
        self._restart = restart or steps is None
        self._ahead: Ahead | None = None
        self._kept: Window | None = None  # all rows, where one window holds them
        self._order: NDArray[np.int64] | None = None
        self._left = 0  # batches of the window that have not been run
        self._fresh = False  # whether none of the pass has been run
        self._passes = 0  # number of passes begun
        self.arrays: Any = None
        try:
            self._begin_pass(self._draw(looks=True))
            if not self._next():
                raise ValueError(f"{source.name} must have at least one row, got none")
            first: Any = self.arrays
            self._batch = batch = min(batch, first.samples)
            self.train_function = make(first, batch)
        except BaseException:
            self._stop()
            raise
        rows = source.rows if self._kept is None else first.samples
        self.target = steps or (None if rows is None else -(-rows // batch))

    @property
    def runs_fused(self) -> bool:
        """False: `run` has a window's batches run in one call."""
        return False

    def run_epochs(self, n: int, logs: list[dict[str, float]]) -> None:
        """Not available, since `runs_fused` is False."""

    def start(self) -> dict[str, Any]:
        """Sizes, kinds and some rows of the first window."""
        given: list[Any] = self.arrays.all() if isinstance(self.arrays, Arrays) else []
        return {
            "rows": self._source.rows,
            "batch size": self._batch,
            "steps": self.target,
            "shuffle": self._shuffle,
            "data": [ranks.described(each) for each in given] if not self._shuffle else [],
        }

    def draw_anew(self) -> None:
        """Do nothing: a seed is drawn when its pass begins."""

    def begin_epoch(self) -> None:
        """Start a pass, unless the last one goes on."""
        if self._passes == 0:  # the first window has been read
            seed = self._draw()
            if seed != self._seed and not self._source.once:
                self._begin_pass(seed)
        elif (self._restart and not self._fresh) or not (self._left or self._ahead):
            self._begin_pass(self._draw())
        self._passes += 1
        if self._fresh and self._left:
            self._hand_over()

    def end_epoch(self) -> None:
        """Do nothing at the end of an epoch."""

    def reset(self) -> None:
        """Do nothing: `restart` starts each pass."""

    def close(self) -> None:
        """Stop the reading of windows."""
        self._stop()

    def ran_out(self, done: int, kind: str) -> None:
        """Warn; in a fit ValueError, if nothing can be read again.

        Raises:
            ValueError: a RecordBatchReader has ended.
        """
        if self._source.once and self._in_fit:
            raise ValueError(
                f"{self._source.name} ended after {self._passes - 1} epochs: it can be read only "
                "once. Give what can be read again, such as a pyarrow.dataset.Dataset"
            )
        warn_out_of_data(kind, done, self.target)

    def ready(self) -> bool:
        """Whether the pass has another batch; reads a window if there is none."""
        if not self._left and self._next():
            self._hand_over()
        return self._left > 0

    def run(self, steps: int, seconds: float) -> int:
        """Run up to `steps` batches of a window or for about `seconds`; the number run."""
        ran: int = self.train_function.run(min(steps, self._left), seconds)
        self._fresh = False
        self._left -= ran
        return ran

    def _draw(self, looks: bool = False) -> int:
        """Seed of a pass, so that a thread's draws do not depend on its timing.

        The generator is left as it is where training has not begun (`looks`).
        """
        if not self._shuffle:
            return 0
        generator = numpys()
        before = generator.get_state(legacy=False) if looks else None
        seed = int(generator.randint(1 << 31))
        if before is not None:
            generator.set_state(before)
            shared = ranks.current()
            if shared is not None and self._source.once:
                seed = shared.of_first(seed)
        return seed

    def _begin_pass(self, seed: int) -> None:
        self._stop()
        self._left, self._fresh, self._seed = 0, True, seed
        self._random = np.random.RandomState(seed)
        if self._kept is None:
            read = windows(self._source, self._batch, self._shuffle, self._random)
            self._ahead = Ahead(read, 1)
            self._ahead.expect(math.inf)
            return
        rows = self.arrays.samples
        self._order = order_of(rows, self._batch, self._shuffle, self._random)
        self._left = -(-rows // self._batch)

    def _next(self) -> bool:
        """Take the next window, if there is one."""
        if self._ahead is None:
            return False
        if self.arrays is not None and self._kept is None:  # released before the next one is read
            self.arrays = None
            self.train_function.release()
        first = self._fresh
        window = next(self._ahead, None)
        if window is None:
            return False
        self.arrays = self._check(self._source.pack(window.arrays))
        self._order = window.order
        self._left = -(-self.arrays.samples // self._batch)
        if window.last:
            if first:
                self._kept = window
            self._stop()
        return True

    def _hand_over(self) -> None:
        self.train_function.begin(self.arrays, self._batch, self._order)

    def _stop(self) -> None:
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None


def window_iterator(
    model: TrainableModel,
    source: Source,
    call: str,
    kind: str,
    batch_size: int | None,
    steps: int | None,
    *,
    shuffle: bool | str = False,
    class_weight: Mapping[int, float] | None = None,
    restart: bool = False,
) -> WindowIterator:
    """Epoch iterator over a table or an array that is read in windows.

    Args:
        model: the model; it is built by the first window if it is not.
        source: what is read.
        kind: "train" or "test".
        batch_size: rows of a batch, None for those that `steps` need, or 32.
        steps: batches of an epoch, None for one pass.
        shuffle: as of `fit`.
        class_weight: {class: weight}, or None.
        restart: whether each epoch starts at the first row.
    """
    compiled = model._compiled
    assert compiled is not None
    rows = source.rows or 0
    batch = arguments.batch_of_states(model, batch_size, rows, call)
    batch = batch or (-(-rows // steps) if steps and rows else DEFAULT_BATCH)

    def check(parts: Parts) -> AnyArrays:
        return for_step(model, compiled, kind, parts, class_weight, call, batch)

    def make(arrays: AnyArrays, rows: int) -> Any:
        return model._train_function(compiled, kind, arrays, rows)

    in_fit = call.startswith("fit")
    return WindowIterator(source, batch, steps, restart, shuffle, check, make, in_fit)


def inputs_of(source: Source, rows: int) -> Iterator[Any]:
    """x of each window in order; all but the last one have a multiple of `rows` rows."""
    ahead = Ahead(windows(source, rows, False, np.random.RandomState(0)), 1)
    ahead.expect(math.inf)
    try:
        for window in ahead:
            yield source.pack(window.arrays)[0]
    finally:
        ahead.close()
