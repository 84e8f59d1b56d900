"""Predictions: in one call of the core, or batch by batch with callbacks or a bar.

Outputs are lists with one array an output of the model, until the model packs them for its user.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy import ndarray
from numpy.typing import NDArray

from cdl import data, tree
from cdl._variables.stepping import ARRAYS
from cdl.callbacks import CallbackList
from cdl.callbacks.callback import Callback
from cdl.distribution import ranks
from cdl.trainers import arguments
from cdl.trainers.chains.predict_steps import PredictSteps
from cdl.trainers.custom.steps import nested, steps_itself
from cdl.trainers.data_adapter import inputs
from cdl.trainers.epoch_iterator import refuse_beside_stream, warn_out_of_data
from cdl.trainers.predictors import FEW, MANY, Predictors
from cdl.trainers.signature import TrainableModel
from cdl.trainers.sizes import rows_of
from cdl.trainers.window_iterator import inputs_of, source_of
from cdl.utils.display import is_watched

Array = NDArray[Any]

_PART = 32 * MANY  # rows of files that are read between two looks at the memory


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
        whole = len(arrays[0]) if predictors.coupled or predictors.assigns else None
        return graph.packed_outputs(predictors.run(arrays, whole))
    for prepare in predictors.before_step if training else ():
        prepare()
    return graph.packed_outputs(predictors.in_one(model, arrays, training))
