"""Loops of fit and evaluate: checks, then epochs over epoch iterators."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

from cdl import data
from cdl._common import clock
from cdl.callbacks import CallbackList, History
from cdl.distribution import ranks
from cdl.trainers import arguments, epoch_iterator, not_finite, together
from cdl.trainers.compile_utils import Compiled
from cdl.trainers.custom.steps import steps_itself
from cdl.trainers.epoch_iterator import (
    DEFAULT_BATCH,
    AnyArrays,
    EpochIterator,
    array_iterator,
    for_step,
    in_order,
    refuse_beside_stream,
    stream_iterator,
)
from cdl.trainers.one_batch import returned
from cdl.trainers.signature import TrainableModel
from cdl.trainers.window_iterator import source_of, split_source, window_iterator
from cdl.utils.job import job

_ALWAYS = 1e9  # seconds; for batches that a hook waits for, which must not be cut
SLICE = 0.05  # seconds that the core may keep to itself: then Ctrl-C and the bar have their turn


def fit(
    model: TrainableModel,
    x: Any,
    y: Any,
    *,
    batch_size: Any,
    epochs: Any,
    verbose: int | str,
    callbacks: Any,
    validation_split: Any,
    validation_data: Any,
    shuffle: Any,
    class_weight: Mapping[int, float],
    sample_weight: Any,
    initial_epoch: int,
    steps_per_epoch: Any,
    validation_steps: Any,
    validation_batch_size: Any,
    validation_freq: int,
) -> History:
    """Train a model: all of `Model.fit`."""
    compiled = model._compiled_for("fit", trains=True)
    batch_size = arguments.optional_whole(batch_size, "fit: batch_size")
    epochs = arguments.epochs(epochs, "fit: epochs")
    verbose = arguments.verbosity(verbose, "fit: verbose")
    initial_epoch = arguments.whole(initial_epoch, "fit: initial_epoch", 0)
    steps = arguments.steps(steps_per_epoch, "fit: steps_per_epoch")
    validation_steps = arguments.optional_whole(validation_steps, "fit: validation_steps")
    validation_batch = arguments.optional_whole(validation_batch_size, "fit: validation_batch_size")
    frequency = arguments.validation_epochs(validation_freq, "fit: validation_freq")
    shuffle = arguments.shuffling(shuffle, "fit: shuffle", compiled.optimizer.whole_batch)
    callbacks = CallbackList(callbacks, add_history=True, add_progbar=verbose != 0)

    compiled.told_not_finite = False
    fresh = compiled.resolved is None and model._last_train_function is None
    iterator: EpochIterator
    held_out: Any = None
    given = source_of(model, x, y, sample_weight, "fit", trains=True)
    if not isinstance(given, tuple):
        if validation_split and validation_data is None:
            given, held_out = split_source(given, validation_split)
        iterator = window_iterator(
            model,
            given,
            "fit",
            "train",
            batch_size,
            steps,
            shuffle=shuffle,
            class_weight=class_weight,
        )
    elif data.is_stream(x):
        only_arrays = {"y": y, "sample_weight": sample_weight, "batch_size": batch_size}
        if hasattr(x, "__next__") and not isinstance(x, data.PyDataset):
            only_arrays["class_weight"] = class_weight
        refuse_beside_stream("fit", x, **only_arrays, validation_split=validation_split or None)
        iterator = stream_iterator(
            model,
            compiled,
            x,
            "fit",
            "train",
            steps,
            shuffle=bool(shuffle),
            class_weight=class_weight,
            in_fit=True,
        )
    else:
        parts, most = given, batch_size or DEFAULT_BATCH
        arrays = for_step(model, compiled, "train", parts, class_weight, "fit", most)
        point = rows = arrays.samples
        if validation_data is None:
            point = arguments.split_point(validation_split, rows, "fit: validation_split")
        if point < rows:
            whole = arrays
            if steps_itself(type(model), "train") != steps_itself(type(model), "test"):
                whole = for_step(model, compiled, "test", parts, None, "fit", most)
            arrays, held_out = arrays.rows(0, point), whole.rows(point, rows)
            if class_weight is not None:
                held_out = held_out.without_weights()
        batch_size = arguments.batch_of_states(model, batch_size, point, "fit")
        batch_size = batch_size or (-(-point // steps) if steps else DEFAULT_BATCH)
        iterator = array_iterator(
            model, compiled, arrays, "train", batch_size, steps, shuffle=shuffle, discard=fresh
        )

    validation = None
    if validation_data is not None or held_out is not None:
        validation = Validation(
            model,
            compiled,
            held_out if validation_data is None else validation_data,
            validation_batch or batch_size or DEFAULT_BATCH,
            arguments.steps(validation_steps, "fit: validation_steps"),
        )
    arguments.one_batch(compiled.optimizer, iterator.target)
    with callbacks.taken(model, {"verbose": verbose, "epochs": epochs, "steps": iterator.target}):
        _run_epochs(model, iterator, callbacks, range(initial_epoch, epochs), validation, frequency)
    history: History = callbacks.history
    return history


def _run_epochs(
    model: TrainableModel,
    iterator: EpochIterator,
    callbacks: CallbackList,
    epochs: range,
    validation: Validation | None,
    frequency: int | frozenset[int],
) -> None:
    """Run the epochs of a fit, with their hooks."""
    chunk = model.steps_per_execution
    _begin(model, iterator)
    try:
        validated = None if validation is None else validation.iterator
        together.begin_training(model, iterator, callbacks, epochs, validated)
        logs: dict[str, Any] = {}
        epoch = model._initial_epoch or epochs.start
        alone = validation is None and callbacks.only_keep_history
        while epoch < epochs.stop:
            start = clock.now()
            _reset(model, iterator.train_function)
            callbacks.on_epoch_begin(epoch)
            done = run_epoch(iterator, callbacks, "train", model, chunk)
            logs = watched(in_order(iterator.train_function.results()), iterator, model, "fit")
            if validation is not None and arguments.is_due(frequency, epoch):
                logs = in_order(logs | validation.run(callbacks, chunk))
            callbacks.on_epoch_end(epoch, dict(logs))  # what callbacks add ends with the epoch
            stopped = together.is_stopped(model, epoch)
            epoch += 1
            if stopped or not done:
                break
            if alone and epoch < epochs.stop and iterator.runs_fused:
                took = max(clock.now() - start, 1e-9)
                most = int(min(SLICE / took, epochs.stop - epoch))
                if most > 1:
                    passes = _run_together(iterator, callbacks, epoch, most)
                    epoch, logs = epoch + len(passes), watched(passes[-1], iterator, model, "fit")
                if model.stop_training:
                    break
        if epochs.stop > 0 and model.optimizer is not None:
            model.optimizer.finalize_variable_values(model._trained())
        not_finite.look_after(model, logs)
        callbacks.on_train_end(logs)
    finally:
        iterator.close()
        callbacks.close(trained=True)
        model.history = callbacks.history
        model._release(iterator.train_function)
        if model._last_train_function is not None:  # None if a callback has called compile
            model._last_train_function.share_totals(only_held=True)
        if validation is not None:
            validation.close()


def _begin(model: TrainableModel, iterator: EpochIterator) -> None:
    """Reset a model's state of the last run."""
    model.stop_training = False
    if job.halted:  # read last: train_many halts the job first, and then sets the flag
        model.stop_training = True
    model._initial_epoch = None
    not_finite.look_before(model)
    model._last_train_function = iterator.train_function


def _reset(model: TrainableModel, train_function: Any) -> None:
    """Begin an epoch, of which `model.metrics` and the model's own steps then tell."""
    model._last_train_function = train_function
    train_function.reset()


def _run_together(
    iterator: EpochIterator, callbacks: CallbackList, epoch: int, most: int
) -> list[dict[str, float]]:
    """Run up to `most` epochs in one call; their logs, also in History after an interrupt."""
    passes: list[dict[str, float]] = []
    try:
        iterator.run_epochs(most, passes)
    finally:
        for number, logs in enumerate(passes, epoch):
            callbacks.on_epoch_begin(number)
            callbacks.on_epoch_end(number, dict(logs))
    return passes


def watched(
    logs: dict[str, Any], iterator: EpochIterator, model: TrainableModel, call: str
) -> dict[str, Any]:
    """Return the logs, with one report of the cause of a loss that is not finite."""
    loss, compiled = logs.get("loss", 0.0), model._compiled
    assert compiled is not None
    if isinstance(loss, float) and not math.isfinite(loss) and not compiled.told_not_finite:
        in_batches = isinstance(iterator, epoch_iterator.StreamIterator)
        not_finite.tell(model, compiled, iterator.arrays, loss, call, in_batches)
    return logs


class Validation:
    """Data of validation, and the passes over them; a stream is read when first needed."""

    def __init__(
        self, model: TrainableModel, compiled: Compiled, given: Any, batch: int, steps: int | None
    ) -> None:
        call = "fit: validation_data"
        self._model = model
        self.iterator: EpochIterator | None = None
        if isinstance(given, (tuple, list)) and len(given) in (1, 2, 3):
            x, y, weight = (*given, None, None)[:3]
            given = source_of(model, x, y, weight, call)
        if isinstance(given, (data.ChunkedArrays, data.Table)):
            self._open: Callable[[], EpochIterator] = functools.partial(
                window_iterator, model, given, call, "test", batch, steps, restart=True
            )
            return
        if data.is_stream(given):
            self._open = functools.partial(
                stream_iterator,
                model,
                compiled,
                given,
                call,
                "test",
                steps,
                in_fit=True,
                validating=True,
            )
            return
        if not isinstance(given, AnyArrays):
            if not isinstance(given, (tuple, list)) or len(given) not in (1, 2, 3):
                what = f"a {type(given).__name__}"
                if isinstance(given, (tuple, list)):
                    what += f" of {len(given)}"
                raise ValueError(
                    f"{call} must be (x, y), (x, y, sample_weight), (x,), a generator or a "
                    f"PyDataset, got {what}"
                )
            x, y, weight = (*given, None, None)[:3]
            given = for_step(model, compiled, "test", (x, y, weight), None, call)
        self.iterator = array_iterator(model, compiled, given, "test", batch, steps, restart=True)

    def run(self, callbacks: CallbackList, chunk: int) -> dict[str, float]:
        """Evaluate; the logs with `val_` before their names."""
        if self.iterator is None:
            self.iterator = self._open()
        else:
            self.iterator.reset()
        _reset(self._model, self.iterator.train_function)
        callbacks.on_test_begin()
        done = run_epoch(self.iterator, callbacks, "test", self._model, chunk)
        logs = in_order(self.iterator.train_function.results()) if done else {}
        watched(logs, self.iterator, self._model, "fit: validation_data")
        callbacks.on_test_end(logs)
        return {f"val_{name}": value for name, value in logs.items()}

    def close(self) -> None:
        """Release the data of validation."""
        if self.iterator is not None:
            self.iterator.close()
            self._model._release(self.iterator.train_function)


def evaluate(
    model: TrainableModel,
    x: Any,
    y: Any,
    *,
    batch_size: Any,
    verbose: Any,
    sample_weight: Any,
    steps: Any,
    callbacks: Any,
    return_dict: Any,
) -> Any:
    """Evaluate a model: all of `Model.evaluate`."""
    compiled = model._compiled_for("evaluate")
    batch_size = arguments.optional_whole(batch_size, "evaluate: batch_size")
    verbose = arguments.verbosity(verbose, "evaluate: verbose")
    steps = arguments.steps(steps, "evaluate: steps")
    return_dict = arguments.switch(return_dict, "evaluate: return_dict")
    callbacks = CallbackList(callbacks, add_progbar=verbose != 0)
    iterator: EpochIterator
    given = source_of(model, x, y, sample_weight, "evaluate")
    if not isinstance(given, tuple):
        iterator = window_iterator(model, given, "evaluate", "test", batch_size, steps)
    elif data.is_stream(x):
        refuse_beside_stream("evaluate", x, y=y, sample_weight=sample_weight, batch_size=batch_size)
        iterator = stream_iterator(model, compiled, x, "evaluate", "test", steps)
    else:
        most = batch_size or DEFAULT_BATCH
        arrays = for_step(model, compiled, "test", given, None, "evaluate", most)
        batch_size = arguments.batch_of_states(model, batch_size, arrays.samples, "evaluate")
        batch = batch_size or (-(-arrays.samples // steps) if steps else DEFAULT_BATCH)
        iterator = array_iterator(model, compiled, arrays, "test", batch, steps)

    callbacks.set_model(model)
    callbacks.set_params({"verbose": verbose, "epochs": 1, "steps": iterator.target})
    together.begin_evaluation(model, iterator)
    try:
        _reset(model, iterator.train_function)
        callbacks.on_test_begin()
        run_epoch(iterator, callbacks, "test", model, model.steps_per_execution)
        results = iterator.train_function.results()
        compiled.told_not_finite = False
        watched(results, iterator, model, "evaluate")
        callbacks.on_test_end(in_order(results))
    finally:
        train_function = iterator.train_function  # that of the last batch's sizes
        iterator.close()
        callbacks.close()
        model._release(train_function)
        train_function.share_totals(only_held=True)
    return returned(results, return_dict, train_function)


def run_epoch(
    iterator: EpochIterator, callbacks: CallbackList, kind: str, model: TrainableModel, chunk: int
) -> int:
    """Run the next epoch of an epoch iterator; the number of its batches.

    The core has the whole epoch to itself, but for time slices. Only if a callback overrides a
    batch hook, the loop comes back after each `chunk` batches.

    Args:
        iterator: where batches come from.
        callbacks: whose hooks are called.
        kind: "train" or "test".
        model: whose `stop_training` or `stop_evaluating` ends the epoch between two batches.
        chunk: `steps_per_execution`: batches between two calls of the hooks.
    """
    begin = end = None
    shared = ranks.current()
    hooked = callbacks.wants_batches(kind)
    if shared is not None:
        hooked = shared.any(hooked)
    if hooked:
        begin = getattr(callbacks, f"on_{kind}_batch_begin")
        end = getattr(callbacks, f"on_{kind}_batch_end")

    def logs() -> dict[str, float]:
        return in_order(iterator.train_function.results())

    def logs_here() -> dict[str, float]:
        return in_order(iterator.train_function.results(here=True))

    stop = "stop_training" if kind == "train" else "stop_evaluating"
    model.stop_evaluating = False
    iterator.begin_epoch()
    done, target = 0, iterator.target
    while target is None or done < target:
        if not iterator.ready():
            if target is not None or not done:
                iterator.ran_out(done, kind)
            break
        left = chunk if target is None else target - done
        if begin is not None and end is not None:
            first = done
            begin(first)
            done += _run_chunk(iterator, min(chunk, left))
            end(first + chunk - 1, logs())
        else:
            ends = shared is None and getattr(model, stop)  # as a hook of the epoch may ask for
            done += iterator.run(min(chunk, left) if ends else left, SLICE)
        callbacks.progress(done, logs_here)
        stopped = getattr(model, stop)
        if shared is not None:  # without hooks it stops between two epochs
            stopped = begin is not None and shared.any(stopped)
        if stopped:
            break
    iterator.end_epoch()
    return done


def _run_chunk(iterator: EpochIterator, steps: int) -> int:
    done = 0
    while done < steps and iterator.ready():
        done += iterator.run(steps - done, _ALWAYS)
    return done
