"""inference.py - predictions: at the core's pace if nobody looks, by batches if somebody does."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl import data
from cdl._core import Executor
from cdl.callbacks import CallbackList
from cdl.models import checks
from cdl.models.loops import warn_out_of_data
from cdl.models.lowering import lower_inference
from cdl.random import core_seed
from cdl.utils.display import is_watched

FEW = 32  # rows of the executor for few rows: Keras's batch size
MANY = 256  # rows of the one for many, where nobody can see the batches


class Predictors:
    """The executors of a model's predictions, by the number of rows of a batch.

    An Executor may be called from several threads at once, so one of each size is enough.
    """

    def __init__(self, model: Any) -> None:
        self.program = lower_inference(model)
        self.row_shape: tuple[int, ...] = model.input_shape[1:]
        self.few = Executor(self.program, FEW)
        self._others: dict[int, Executor] = {}
        self._steps = 0  # forward passes in training mode, each with a dropout of its own

    def of(self, rows: int) -> Executor:
        """The executor for batches of `rows` rows."""
        if rows == FEW:
            return self.few
        executor = self._others.get(rows)
        if executor is None:
            if len(self._others) >= 4:  # sizes that came once must not pile up
                self._others.clear()
            executor = self._others[rows] = Executor(self.program, rows)
        return executor

    def run(self, x: NDArray[Any], batch_size: int | None = None) -> NDArray[np.float32]:
        """The outputs for all rows of a checked x."""
        rows = batch_size or (FEW if len(x) <= FEW else MANY)
        if rows > MANY:  # no more than there are, and not a number of its own for each x
            rows = min(rows, -(-len(x) // MANY) * MANY)
        outputs: NDArray[np.float32] = self.of(rows).predict([x])
        return outputs


def predict(
    model: Any, x: Any, batch_size: Any, verbose: Any, steps: Any, callbacks: Any
) -> NDArray[np.float32]:
    """What `Model.predict` does, all of it."""
    call = "predict"
    batch_size = checks.optional_whole(batch_size, f"{call}: batch_size")
    verbose = checks.verbosity(verbose, f"{call}: verbose")
    steps = checks.steps(steps, f"{call}: steps")
    if data.is_stream(x):
        if batch_size is not None:
            raise ValueError(f"{call}: batch_size must be None for a generator, got {batch_size}")
        stream = data.Stream(x, f"{call}: x")
        target = steps or len(stream) or None
        if target is None and stream.is_dataset:
            raise ValueError(f"{call}: steps must be given for a PyDataset without end")
        stream.peek()
        return _watched(model, _batches(model, stream, steps), 1, target, verbose, callbacks)

    x = checks.inputs(model, x, call, batch_size or FEW)
    batch = batch_size or (-(-len(x) // steps) if steps else FEW)
    if steps is not None:
        if steps * batch >= len(x) + batch:
            warn_out_of_data("predict", -(-len(x) // batch), steps)
        x = x[: steps * batch]
    if callbacks is None and (verbose == 0 or (verbose == "auto" and not is_watched())):
        predictors: Predictors = model._predictors()
        return predictors.run(x, batch_size)
    # The bar needs to hear of the work now and then; only a hook needs to see each batch.
    hooked = CallbackList(callbacks).wants_batches("predict")
    each = 1 if hooked else max(1, 16 * MANY // batch)
    parts = (x[start : start + each * batch] for start in range(0, len(x), each * batch))
    return _watched(model, parts, each, -(-len(x) // batch), verbose, callbacks)


def _batches(model: Any, stream: data.Stream, steps: int | None) -> Iterator[NDArray[Any]]:
    """The x of each batch of a stream; what else the batches hold is left alone."""
    while (steps is None or stream.taken < steps) and stream.ready():
        yield checks.inputs(model, stream.take()[0], f"predict: batch {stream.current}")
    if steps is not None and stream.taken < steps:
        warn_out_of_data("predict", stream.taken, steps)
    stream.end_epoch()


def _watched(
    model: Any,
    parts: Iterator[NDArray[Any]],
    each: int,
    target: int | None,
    verbose: Any,
    callbacks: Any,
) -> NDArray[np.float32]:
    """Predictions part by part, of `each` batches, with hooks and a bar."""
    watchers = CallbackList(
        callbacks, add_progbar=verbose != 0, model=model, verbose=verbose, epochs=1, steps=target
    )
    hooked = watchers.wants_batches("predict")
    outputs: list[NDArray[np.float32]] = []
    try:
        watchers.on_predict_begin()
        for i, x in enumerate(parts):
            if hooked:
                watchers.on_predict_batch_begin(i)
            outputs.append(model._predictors().run(x))
            if hooked:
                watchers.on_predict_batch_end(i, {"outputs": outputs[-1]})
            done = each * (i + 1)
            watchers.progress(done if target is None else min(done, target), dict)
        watchers.on_predict_end()
    finally:
        watchers.close()
    return outputs[0] if len(outputs) == 1 else np.concatenate(outputs)


def call(model: Any, x: Any, training: bool) -> NDArray[np.float32]:
    """`model(x)`: one forward pass, with dropout and the like if `training`."""
    array = checks.inputs(model, x, "call")
    predictors: Predictors = model._predictors()
    if not training:
        return predictors.run(array)
    program = lower_inference(model, training=True)
    executor = Executor(program, len(array), training=True)
    executor.begin([array], len(array))
    rows = executor.forward(True, predictors._steps, core_seed())
    predictors._steps += 1
    return executor.output(0, rows)
