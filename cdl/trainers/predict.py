"""Predictions: in one call of the core, or batch by batch with callbacks or a bar.

Outputs are lists with one array an output of the model, until the model packs them for its user.
"""

from __future__ import annotations

import functools
import itertools
import math
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy import ndarray
from numpy.typing import NDArray

from cdl import data, tree
from cdl._common.dtypes import LOW
from cdl._common.validation import check_batches
from cdl._core import Executor
from cdl._ir.program import Program
from cdl._tracing.eager import Runner, in_dtypes
from cdl._tracing.keras_tensor import knowing_samples
from cdl._variables.draw_counts import counted, next_draw
from cdl._variables.program_caches import register_cache
from cdl._variables.stepping import ARRAYS
from cdl.callbacks import CallbackList
from cdl.callbacks.callback import Callback
from cdl.distribution import ranks
from cdl.layers.kept import KeptPrograms, Watch
from cdl.layers.lora import Merged, MergingExecutor
from cdl.random import core_seed
from cdl.trainers import arguments
from cdl.trainers.chains.predict_steps import PredictSteps
from cdl.trainers.custom.coupled import batch_of, in_batches, mixes_samples, of_rows
from cdl.trainers.custom.eager_step import Calls
from cdl.trainers.custom.steps import nested, steps_itself
from cdl.trainers.data_adapter import inputs
from cdl.trainers.epoch_iterator import refuse_beside_stream, warn_out_of_data
from cdl.trainers.lowering import lower_call, lower_with_calls
from cdl.trainers.signature import TrainableModel
from cdl.trainers.sizes import Rows, rows_of
from cdl.trainers.window_iterator import inputs_of, source_of
from cdl.utils.display import is_watched

Array = NDArray[Any]

_REAL = frozenset(
    np.dtype(code) for code in np.typecodes["Float"] + np.typecodes["AllInteger"] + "?"
)
FEW = 32  # rows of the executor for few rows: Keras's batch size
MANY = 256  # rows of the executor for many rows, if no callback sees the batches
_PART = 32 * MANY  # rows of files that are read between two looks at the memory


class Predictors:
    """Executors of a model's predictions, by the rows per batch.

    An Executor may be called from several threads at once, so one of each size is enough.

    Args:
        model: the model, built.
        rows: the shape of a sample of each input, for a model that takes several sizes.
    """

    def __init__(self, model: TrainableModel, rows: Rows | None = None) -> None:
        self.rows = rows
        self.outdated = False  # whether a layer computes otherwise by now
        self._merged: list[Merged] = []
        self._model = weakref.ref(model)
        self.coupled, self._size = False, FEW  # whether samples are; rows of a batch of them
        self._is_sized = False  # whether the program is for batches of one size
        try:
            self.program, self._watching = lower_with_calls(
                model, False, model.run_eagerly, rows, self._merged
            )
        except (TypeError, ValueError) as error:
            self.program, self._watching = self._lowered_coupled(error)
        self.training_by_default = model._training_by_default()
        layers = model._flatten_layers()
        self.before_step = [e._before_step for e in layers if hasattr(e, "_before_step")]
        graph = model._graph_of_model
        self._own = len(graph.output_infos())
        self._batch = self.program.batch_of_states  # which all batches must have; None: any
        # Rows that one call of an executor may take without a look at batches.
        self.at_once = range(1, MANY + 1)
        if self._batch is not None:
            self.at_once = range(self._batch, min(self._batch, FEW) + 1)
        elif self._is_sized:
            self.at_once = range(0)
        elif mixes_samples(self.program):
            self.coupled, self.at_once = True, range(1, FEW + 1)
        self._draws = self.program.draws
        # Shape of a row of the one input of a model that gives one array; None for others, which
        # pack theirs, and for those that draw numbers, other ones in each call.
        self.row_shape: tuple[int, ...] | None = None
        takes_arrays = not self._draws and not graph.has_host_part()
        if len(self.program.inputs) == len(self.program.outputs) == 1 and takes_arrays:
            packed = graph.packed_outputs(self.program.outputs)
            custom = steps_itself(type(model), "predict")
            as_it_is = packed is self.program.outputs[0] and not graph.merges_rows()
            if as_it_is and not custom and not self.program.penalizes:
                self.row_shape = rows[0] if rows is not None else graph.input_infos()[0].row
        self._is_low = any(name in LOW for name in self.program.output_dtypes)
        self._integers = [
            info.dtype if info.dtype == "bool" or info.dtype.lstrip("u").startswith("int") else None
            for info in graph.output_infos()
        ]
        if self._is_low or any(self._integers):  # they are given in their dtypes
            self.row_shape = None
        self._by_shape: dict[tuple[int, ...], Executor | MergingExecutor] = {}  # of arrays that fit
        self.grew = True  # the memory of the executors, since `Sizes` looked at it
        self.few = self._executor(self._size)
        self._others: dict[int, Executor | MergingExecutor] = {}
        self._kept = KeptPrograms()  # of forward passes in training mode
        self._trains_coupled = False  # whether samples are in these
        self._counts = model._draw_counts()
        for each in self.program.hosted:
            each.tell()
        self.watch = Watch(model)  # type: ignore[arg-type] # a model is a layer
        register_cache(self)

    def _lowered_coupled(self, error: Exception) -> tuple[Program, Calls | None]:
        """Program of a model that couples samples; or the error."""
        self.coupled = self._is_sized = True
        self._merged = []
        try:
            self._size = batch_of(self._model(), FEW)
            return self._lowered_for(self._size)
        except (TypeError, ValueError):
            raise error from None

    def _lowered_for(self, samples: int) -> tuple[Program, Calls | None]:
        """Program for batches of `samples` samples, which it may couple."""
        model = self._model()
        assert model is not None
        with knowing_samples(samples):
            return lower_with_calls(model, False, model.run_eagerly, self.rows)

    def forget(self) -> None:
        """Invalidate these, so that the model makes others."""
        self.outdated, self.row_shape, self._by_shape = True, None, {}

    @property
    def bytes(self) -> int:
        """Memory of the executors in bytes."""
        return sum(each.memory()[0] for each in (self.few, *self._others.values()))

    def executor_for(self, x: Any) -> Executor | MergingExecutor | None:
        """Executor that predicts from x without conversion; None if x needs one."""
        if type(x) is not ndarray or x.dtype not in _REAL:
            return None
        executor: Executor | MergingExecutor | None
        try:
            executor = self._by_shape[x.shape]
        except KeyError:
            executor = self._first_for(x.shape)
        return executor if self.watch.steady or self.watch.holds() else None

    def _first_for(self, shape: tuple[int, ...]) -> Executor | MergingExecutor | None:
        by_shape = self._by_shape  # that of another thread's `forget` is a new dict
        if not shape or shape[1:] != self.row_shape or shape[0] not in self.at_once:
            return None
        found = by_shape[shape] = self.few if shape[0] <= FEW else self.of(MANY)
        return found

    def of(self, rows: int) -> Executor | MergingExecutor:
        """Executor for batches of `rows` rows."""
        if rows == self._size:
            return self.few
        executor = self._others.get(rows)
        if executor is None:
            if len(self._others) >= 4:  # sizes that came once must not pile up
                self._others.clear()
                self._by_shape = {}
            self.grew = True
            executor = self._others[rows] = self._executor(rows)
        return executor

    def _executor(self, rows: int) -> Executor | MergingExecutor:
        program = self.program
        if self._is_sized and rows != self._size:
            program, _ = self._lowered_for(rows)
        executor = Executor(program, rows, predicts=True)
        return MergingExecutor(executor, self._merged) if self._merged else executor

    def run(self, x: list[Array], batch_size: int | None = None) -> list[Array]:
        """Outputs for all rows of checked inputs."""
        return self._as_integers(self._run(x, batch_size))

    def _as_integers(self, outputs: list[Array]) -> list[Array]:
        """Outputs with integers and booleans where the model declares them."""
        if not any(self._integers):
            return outputs
        others = outputs[len(self._integers) :]  # that layers of the user see
        pairs = zip(outputs, self._integers, strict=False)
        return [a if dtype is None else a.astype(dtype) for a, dtype in pairs] + others

    def _run(self, x: list[Array], batch_size: int | None = None) -> list[Array]:
        if self._watching is not None:
            return self._run_eagerly(self._watching, x, batch_size or FEW)
        n = len(x[0])
        if self.coupled:
            return self._run_coupled(x, min(batch_size or self._size, n))
        if self._batch is not None:
            check_batches("predict", self._batch, min(self._batch, n), n)
            batch_size = self._batch
        rows = batch_size or MANY
        is_one = n <= min(rows, FEW) and self._batch in (None, n)
        if is_one:  # a batch that threads share, also if it has one row
            rows = FEW
        if rows > MANY:  # no more than there are, and not a number of its own for each x
            rows = min(rows, -(-n // MANY) * MANY)
        call = next_draw(self._counts[1].__next__) if self._draws else 0
        outputs = self.of(rows).predict(x, core_seed(), call)
        outputs = outputs if len(self.program.outputs) > 1 else [outputs]
        return in_dtypes(outputs, self.program.output_dtypes) if self._is_low else outputs

    def _run_coupled(self, x: list[Array], batch: int) -> list[Array]:
        """Outputs for all rows in batches, of which the last may have its own executor."""
        rows = (
            FEW if batch == len(x[0]) <= FEW else batch
        )  # that a program of any size runs at once

        def run(part: list[Array]) -> list[Array]:
            call = next_draw(self._counts[1].__next__) if self._draws else 0
            executor = self.of(min(batch, len(part[0])) if self._is_sized else rows)
            found = executor.predict(part, core_seed(), call)
            return found if len(self.program.outputs) > 1 else [found]

        has_shared = any(each.shared for each in self.program.outputs)
        outputs = in_batches(run, x, batch, one_by_one=has_shared)
        return in_dtypes(outputs, self.program.output_dtypes) if self._is_low else outputs

    def run_shared(self, x: list[Array], batch_size: int | None = None) -> list[Array]:
        """Outputs for all rows of checked inputs, each rank computing a part.

        Random numbers and states depend on the rows before; with these each rank computes all.
        """
        shared = ranks.with_same_data()
        n = len(x[0])
        parted = not (self._draws or self._batch or self._watching or self.coupled) and all(
            not each.shared for each in self.program.outputs
        )
        if shared is None or not parted or n < MANY * shared.size:
            return self.run(x, batch_size)
        ends = [n * rank // shared.size for rank in range(shared.size + 1)]
        first, last = ends[shared.rank], ends[shared.rank + 1]
        counts = [b - a for a, b in itertools.pairwise(ends)]
        found = self._run([each[first:last] for each in x], batch_size)
        return self._as_integers([shared.rows(each, counts) for each in found])

    def in_one(self, model: TrainableModel, x: list[Array], training: bool) -> list[Array]:
        """Outputs of checked inputs, taken as one batch, whose penalties the model shows then."""
        coupled, eager, watching = self.coupled or self._trains_coupled, model.run_eagerly, None

        def lowered() -> tuple[Program, Calls | None]:
            lower = functools.partial(lower_call, model, training, eager, self.rows)
            found, self._trains_coupled = of_rows(lower, len(x[0]), coupled)
            model._watch_layers()  # a `call` of the user's may have set attributes
            return found

        if eager:
            program, watching = lowered()
            runner = Runner(program, training)
        else:
            key = training, len(x[0]) if coupled else None
            runner = self._kept.get(model, key, lambda: Runner(lowered()[0], training))
        if not training:
            step = next_draw(self._counts[1].__next__) if self._draws else 0
        elif model._place is None:
            step = counted(self._counts[0].__next__)
        else:
            step, model._calls = model._place, model._calls + 1
        outputs, penalty = runner.batch(x, step, core_seed())
        if runner.program.penalizes:
            model._penalize(penalty)
        if watching is not None:
            watching.run(outputs.__getitem__)
        return outputs[: self._own]

    def _run_eagerly(self, watching: Calls, x: list[Array], rows: int) -> list[Array]:
        """Outputs batch by batch; user layers see each batch."""
        parts = []
        for at in range(0, len(x[0]), rows):
            batch = [each[at : at + rows] for each in x]
            few = len(batch[0]) if self.coupled else rows
            found = self.of(few).predict(batch, core_seed(), next_draw(self._counts[1].__next__))
            watching.run(found.__getitem__)
            own = self.program.output_dtypes[: self._own]
            parts.append(in_dtypes(found[: self._own], own))
        return [np.concatenate(each) for each in zip(*parts, strict=True)]


def predict(
    model: TrainableModel, x: Any, batch_size: Any, verbose: Any, steps: Any, callbacks: Any
) -> Any:
    """Predict outputs: all of `Model.predict`."""
    call = "predict"
    batch_size = arguments.optional_whole(batch_size, f"{call}: batch_size")
    verbose = arguments.verbosity(verbose, f"{call}: verbose")
    steps = arguments.steps(steps, f"{call}: steps")
    custom = steps_itself(type(model), "predict")
    source = source_of(model, x, None, None, call)
    if not isinstance(source, tuple):
        return _in_windows(model, source, batch_size, verbose, steps, callbacks, custom)
    if data.is_stream(x):
        refuse_beside_stream(call, x, batch_size=batch_size)
        stream = data.Stream(x, f"{call}: x")
        target = steps or len(stream) or None
        if target is None and stream.is_dataset:
            raise ValueError(f"{call}: steps must be given for a PyDataset without end")
        stream.peek()
        batches = _batches(model, stream, steps, custom)
        return _watched(model, batches, 1, target, verbose, callbacks, custom)

    arrays: Any
    graph: Any = None
    if custom:
        arrays = nested(x, None, None, None, call)
    else:
        graph, arrays = inputs(model, x, call, batch_size)
    rows = arrays.samples if custom else len(arrays[0])
    batch_size = arguments.batch_of_states(model, batch_size, rows, call)
    batch = batch_size or (-(-rows // steps) if steps else FEW)
    if steps is not None:
        if steps * batch >= rows + batch:
            warn_out_of_data("predict", -(-rows // batch), steps)
        rows = min(rows, steps * batch)
        arrays = arrays if custom else [each[:rows] for each in arrays]
    mapped = data.Mapped([] if custom else arrays)
    unseen = callbacks is None and (verbose == 0 or (verbose == "auto" and not is_watched()))
    shared = ranks.with_same_data()
    if shared is not None:
        shared.compare({"rows": rows, "batch size": batch}, call)
        unseen = not shared.any(not unseen)
    if unseen and not custom:
        predictors = model._predictors(rows_of(graph, arrays))
        if mapped:
            return graph.packed_outputs(_from_files(predictors, arrays, mapped))
        return graph.packed_outputs(predictors.run_shared(arrays, batch_size))
    # The bar needs to hear of the work now and then; only a hook needs to see each batch.
    hooked = custom or CallbackList(callbacks).wants_batches("predict")
    if shared is not None:
        hooked = shared.any(hooked)
    each = max(1, 16 * MANY // batch)
    if hooked:
        each = 1 if custom else model.steps_per_execution
    slices = (slice(at, min(rows, at + each * batch)) for at in range(0, rows, each * batch))
    parts: Iterator[Any] = (
        arrays.step(part) if custom else [array[part] for array in arrays] for part in slices
    )
    return _watched(
        model, _trimmed(parts, mapped), each, -(-rows // batch), verbose, callbacks, custom
    )


def on_batch(model: Any, x: Any) -> Any:
    """Predict outputs of one batch: all of `Model.predict_on_batch`."""
    found, made = model.predict(x, verbose=0), model._predictors_made
    if made is None or not made.coupled:
        return found
    return model.predict(x, batch_size=len(tree.flatten(x)[0]), verbose=0)


def _in_windows(
    model: TrainableModel,
    source: data.Source,
    batch_size: int | None,
    verbose: int | str,
    steps: int | None,
    callbacks: Any,
    custom: bool,
) -> Any:
    """Outputs for all rows of data that are read in windows."""
    rows = source.rows
    batch = arguments.batch_of_states(model, batch_size, rows or 0, "predict")
    batch = batch or (-(-rows // steps) if steps and rows else FEW)
    hooked = custom or CallbackList(callbacks).wants_batches("predict")
    shared = ranks.with_same_data()
    if shared is not None:
        hooked = shared.any(hooked)
    each = 1 if hooked else max(1, 16 * MANY // batch)
    target = steps or (None if rows is None else -(-rows // batch))

    def parts() -> Iterator[Any]:
        left = math.inf if steps is None else steps * batch
        for x in inputs_of(source, each * batch):
            given: Any = (
                nested(x, None, None, None, "predict")
                if custom
                else inputs(model, x, "predict", batch)[1]
            )
            n = given.samples if custom else len(given[0])
            for at in range(0, int(min(n, left)), each * batch):
                part = slice(at, int(min(n, left, at + each * batch)))
                yield given.step(part) if custom else [array[part] for array in given]
            left -= n
            if left <= 0:
                return

    return _watched(model, parts(), each, target, verbose, callbacks, custom)


def _from_files(predictors: Predictors, x: list[Array], mapped: data.Mapped) -> list[Array]:
    """Outputs for all rows of memory-mapped files, a part of which is in memory at a time."""
    rows, outputs = len(x[0]), []
    for at in range(0, rows, _PART):
        found = predictors.run_shared([array[at : at + _PART] for array in x])
        if not at:
            outputs = [np.empty((rows, *each.shape[1:]), each.dtype) for each in found]
        for whole, part in zip(outputs, found, strict=True):
            whole[at : at + _PART] = part
        mapped.trim()
    return outputs


def _trimmed(parts: Iterator[Any], mapped: data.Mapped) -> Iterator[Any]:
    """Parts, with pages of mapped files released before each."""
    for part in parts:
        mapped.trim()
        yield part


def _batches(
    model: TrainableModel, stream: data.Stream, steps: int | None, custom: bool
) -> Iterator[Any]:
    """x of each batch of a stream; the whole batch for a custom step."""
    stream.expect(steps)
    try:
        while (steps is None or stream.taken < steps) and stream.ready():
            batch = stream.take()
            given = batch[0] if stream.bare else batch
            call = f"predict: batch {stream.current}"
            yield given if custom else inputs(model, batch[0], call)[1]
    finally:
        stream.close()
    if steps is not None and stream.taken < steps:
        warn_out_of_data("predict", stream.taken, steps)
    stream.end_epoch()


def _watched(
    model: TrainableModel,
    parts: Iterator[Any],
    each: int,
    target: int | None,
    verbose: int | str,
    callbacks: Callback | Sequence[Callback],
    custom: bool,
) -> Any:
    """Predictions part by part, of `each` batches, with hooks and a bar."""
    watchers = CallbackList(
        callbacks, add_progbar=verbose != 0, model=model, verbose=verbose, epochs=1, steps=target
    )
    hooked, step = watchers.wants_batches("predict"), PredictSteps(model)
    outputs: list[Any] = []
    try:
        model.stop_predicting = False
        watchers.on_predict_begin()
        for i, x in enumerate(parts):
            if hooked:
                watchers.on_predict_batch_begin(each * i)
            if custom:
                outputs.append(step(x))
            else:
                graph = model._graph_of_model
                predictors = model._predictors(rows_of(graph, x))
                outputs.append(graph.packed_outputs(predictors.run_shared(x)))
            if hooked:
                watchers.on_predict_batch_end(each * (i + 1) - 1, {"outputs": outputs[-1]})
            done = each * (i + 1)
            watchers.progress(done if target is None else min(done, target), dict)
            if model.stop_predicting:
                break
        watchers.on_predict_end()
    finally:
        watchers.close()
    if len(outputs) == 1:
        return outputs[0]
    return tree.map_structure(lambda *parts: np.concatenate(parts), *outputs)


def call(model: TrainableModel, x: Any, training: bool) -> Any:
    """`model(x)`: one forward pass, with dropout and the like if `training`."""
    if type(x) is not ndarray and type(x) in ARRAYS:  # a tensor of a script
        x = x.view(ndarray)
    made: Predictors | None = model._predictors_made
    if made is not None and not training and (executor := made.executor_for(x)) is not None:
        return executor.predict((x,))
    graph, arrays = inputs(model, x, "call")
    predictors = model._predictors(rows_of(graph, arrays))
    if not training and not predictors.program.penalizes:
        whole = len(arrays[0]) if predictors.coupled else None
        return graph.packed_outputs(predictors.run(arrays, whole))
    for prepare in predictors.before_step if training else ():
        prepare()
    return graph.packed_outputs(predictors.in_one(model, arrays, training))
