"""training.py - what fit and evaluate do: check all, then run epochs over feeds."""

import functools
from typing import Any

from cdl import data
from cdl.callbacks import CallbackList, History
from cdl.models import checks
from cdl.models.compiled import Compiled
from cdl.models.engine import Arrays, Engine
from cdl.models.loops import ArrayFeed, Feed, StreamFeed, in_order, run_epoch

DEFAULT_BATCH = 32


def fit(
    model: Any,
    x: Any,
    y: Any,
    *,
    batch_size: Any,
    epochs: Any,
    verbose: Any,
    callbacks: Any,
    validation_split: Any,
    validation_data: Any,
    shuffle: Any,
    class_weight: Any,
    sample_weight: Any,
    initial_epoch: Any,
    steps_per_epoch: Any,
    validation_steps: Any,
    validation_batch_size: Any,
    validation_freq: Any,
) -> History:
    """What `Model.fit` does."""
    compiled = model._compiled_for("fit", trains=True)
    batch_size = checks.optional_whole(batch_size, "fit: batch_size")
    epochs = checks.whole(epochs, "fit: epochs", 0)
    verbose = checks.verbosity(verbose, "fit: verbose")
    initial_epoch = checks.whole(initial_epoch, "fit: initial_epoch", 0)
    steps = checks.steps(steps_per_epoch, "fit: steps_per_epoch")
    validation_steps = checks.steps(validation_steps, "fit: validation_steps")
    validation_batch = checks.optional_whole(validation_batch_size, "fit: validation_batch_size")
    frequency = checks.validation_epochs(validation_freq, "fit: validation_freq")
    shuffle = checks.shuffling(shuffle, "fit: shuffle")
    callbacks = CallbackList(callbacks, add_history=True, add_progbar=verbose != 0)

    if data.is_stream(x):
        _refuse_beside_stream(
            "fit",
            y=y,
            sample_weight=sample_weight,
            class_weight=class_weight,
            batch_size=batch_size,
            validation_split=validation_split or None,
        )
        feed, held_out = _stream_feed(model, compiled, x, "fit", "train", steps), None
    else:
        arrays = checks.training_data(
            model, compiled, x, y, sample_weight, class_weight, "fit", batch_size or DEFAULT_BATCH
        )
        rows = len(arrays.x)
        point = rows
        if validation_data is None:
            point = checks.split_point(validation_split, rows, "fit: validation_split")
        arrays, held_out = checks.split(arrays, point)
        if held_out is not None and class_weight is not None:
            held_out = held_out._replace(weight=None)
        batch_size = batch_size or (-(-point // steps) if steps else DEFAULT_BATCH)
        engine = model._engine(compiled, "train", arrays, min(batch_size, point))
        feed = ArrayFeed(
            engine,
            arrays,
            min(batch_size, point),
            steps,
            shuffle=shuffle,
            discard=not compiled.shuffled_before,
        )

    validation = None
    if validation_data is not None or held_out is not None:
        validation = _Validation(
            model,
            compiled,
            held_out if validation_data is None else validation_data,
            validation_batch or batch_size or DEFAULT_BATCH,
            validation_steps,
        )
    compiled.shuffled_before = True
    callbacks.set_model(model)
    callbacks.set_params({"verbose": verbose, "epochs": epochs, "steps": feed.target})
    _run_epochs(model, feed, callbacks, range(initial_epoch, epochs), validation, frequency)
    history: History = callbacks.history
    return history


def _run_epochs(
    model: Any,
    feed: Feed,
    callbacks: CallbackList,
    epochs: range,
    validation: "_Validation | None",
    frequency: int | frozenset[int],
) -> None:
    """The epochs of a fit, with their hooks."""
    chunk = model.steps_per_execution
    model.stop_training = False
    model._last_engine = feed.engine
    try:
        callbacks.on_train_begin()
        logs: dict[str, Any] = {}
        try:
            for epoch in epochs:
                feed.engine.reset()
                callbacks.on_epoch_begin(epoch)
                done = run_epoch(feed, callbacks, "train", model, chunk)
                logs = in_order(feed.engine.results())
                if validation is not None and checks.is_due(frequency, epoch):
                    logs = in_order(logs | validation.run(callbacks, chunk))
                    model._last_engine = validation.feed.engine
                callbacks.on_epoch_end(epoch, logs)
                if model.stop_training or not done:
                    break
        finally:
            if epochs.stop > 0:
                model.optimizer.finalize_variable_values(model.trainable_variables)
        callbacks.on_train_end(logs)
    finally:
        callbacks.close()
        model.history = callbacks.history
        model._release(feed.engine)
        model._last_engine.share_totals(only_held=True)
        if validation is not None:
            model._release(validation.feed.engine)


class _Validation:
    """The data of validation, and the passes over them."""

    def __init__(
        self, model: Any, compiled: Compiled, given: Any, batch: int, steps: int | None
    ) -> None:
        call = "fit: validation_data"
        self._model = model
        self.feed: Feed
        if data.is_stream(given):
            self.feed = _stream_feed(model, compiled, given, call, "test", steps, restart=True)
            return
        if not isinstance(given, Arrays):
            if not isinstance(given, (tuple, list)) or len(given) not in (2, 3):
                what = f"a {type(given).__name__}"
                if isinstance(given, (tuple, list)):
                    what += f" of {len(given)}"
                raise ValueError(
                    f"{call} must be (x, y), (x, y, sample_weight) or a generator, got {what}"
                )
            x, y, weight = (*given, None)[:3]
            given = checks.training_data(model, compiled, x, y, weight, None, call)
        batch = min(batch, len(given.x))
        engine = model._engine(compiled, "test", given, batch)
        self.feed = ArrayFeed(engine, given, batch, steps, restart=True)

    def run(self, callbacks: CallbackList, chunk: int) -> dict[str, float]:
        """Evaluate; the logs with `val_` before their names."""
        self.feed.engine.reset()
        callbacks.on_test_begin()
        done = run_epoch(self.feed, callbacks, "test", self._model, chunk)
        logs = in_order(self.feed.engine.results()) if done else {}
        callbacks.on_test_end(logs)
        return {f"val_{name}": value for name, value in logs.items()}


def evaluate(
    model: Any,
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
    """What `Model.evaluate` does."""
    compiled = model._compiled_for("evaluate")
    batch_size = checks.optional_whole(batch_size, "evaluate: batch_size")
    verbose = checks.verbosity(verbose, "evaluate: verbose")
    steps = checks.steps(steps, "evaluate: steps")
    return_dict = checks.switch(return_dict, "evaluate: return_dict")
    callbacks = CallbackList(callbacks, add_progbar=verbose != 0)
    if data.is_stream(x):
        _refuse_beside_stream("evaluate", y=y, sample_weight=sample_weight, batch_size=batch_size)
        feed: Feed = _stream_feed(model, compiled, x, "evaluate", "test", steps)
    else:
        arrays = checks.training_data(
            model, compiled, x, y, sample_weight, None, "evaluate", batch_size or DEFAULT_BATCH
        )
        rows = len(arrays.x)
        batch = min(batch_size or (-(-rows // steps) if steps else DEFAULT_BATCH), rows)
        feed = ArrayFeed(model._engine(compiled, "test", arrays, batch), arrays, batch, steps)

    callbacks.set_model(model)
    callbacks.set_params({"verbose": verbose, "epochs": 1, "steps": feed.target})
    engine = feed.engine
    try:
        engine.reset()
        callbacks.on_test_begin()
        run_epoch(feed, callbacks, "test", model, model.steps_per_execution)
        results = engine.results()
        callbacks.on_test_end(in_order(results))
    finally:
        callbacks.close()
        model._release(engine)
        engine.share_totals(only_held=True)
        model._last_engine = engine
    return returned(results, return_dict)


def on_batch(
    model: Any,
    kind: str,
    x: Any,
    y: Any,
    sample_weight: Any,
    class_weight: Any,
    return_dict: Any,
) -> Any:
    """What `train_on_batch` and `test_on_batch` do."""
    call = f"{kind}_on_batch"
    compiled = model._compiled_for(call, trains=kind == "train")
    return_dict = checks.switch(return_dict, f"{call}: return_dict")
    arrays = checks.training_data(model, compiled, x, y, sample_weight, class_weight, call)
    rows = len(arrays.x)
    engine = model._engine(compiled, kind, arrays, rows)
    compiled.shuffled_before |= kind == "train"
    try:
        engine.reset()
        engine.begin(arrays, rows)
        engine.run(1, 0.0)
        results = engine.results()
    finally:
        model._release(engine)
        engine.share_totals(only_held=True)
        model._last_engine = engine
    return returned(results, return_dict)


def returned(results: dict[str, float], return_dict: bool) -> Any:
    """Results as Keras returns them: a float, a list with the loss first, or a dict by name."""
    if return_dict:
        return in_order(results)
    values = list(results.values())
    return values[0] if len(values) == 1 else values


def _refuse_beside_stream(call: str, **given: Any) -> None:
    for name, value in given.items():
        if value is not None:
            raise ValueError(
                f"{call}: {name} must not be given when x is a generator, got "
                f"{data.brief(value)}: let the generator yield it"
            )


def _stream_feed(
    model: Any,
    compiled: Compiled,
    source: Any,
    call: str,
    kind: str,
    steps: int | None,
    restart: bool = False,
) -> Feed:
    """A feed of the batches that a generator or another iterable yields."""
    stream = data.Stream(source, call if "validation" in call else f"{call}: x")

    def checked(batch: tuple[Any, ...]) -> Arrays:
        x, y, weight = (*batch, None, None)[:3]
        where = f"{call}: batch {stream.current}"
        arrays = checks.training_data(model, compiled, x, y, weight, None, where)
        return arrays

    first = checked(stream.peek())
    engine: Engine = model._engine(compiled, kind, first, len(first.x))
    same = functools.partial(checks.like_first, first=first, name=stream.name)

    def check(batch: tuple[Any, ...]) -> Arrays:
        return same(checked(batch), number=stream.current)

    return StreamFeed(engine, stream, check, steps, restart)
