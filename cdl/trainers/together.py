"""Agreement of ranks that share a fit: its start and its end."""

from __future__ import annotations

from importlib import metadata
from typing import Any

from cdl import random
from cdl.callbacks import CallbackList
from cdl.distribution import ranks
from cdl.trainers.epoch_iterator import EpochIterator
from cdl.trainers.signature import TrainableModel


def begin_training(
    model: TrainableModel,
    iterator: EpochIterator,
    callbacks: CallbackList,
    epochs: range,
    validated: EpochIterator | None,
) -> None:
    """Call the callbacks' start hooks, then copy the state of the first rank to the others."""
    shared = ranks.current()
    if shared is not None:
        start = _start_of(model, iterator, epochs)
        for name, value in (validated.start() if validated is not None else {}).items():
            start[f"validation_data: {name}"] = value
        shared.compare(start, "fit")
    if model._restore_random_state(epochs):
        iterator.draw_anew()
    callbacks.on_train_begin()
    if shared is not None:
        _begin_alike(shared, model)
    if shared is not None or model._initial_epoch is not None:
        iterator.draw_anew()


def _start_of(model: TrainableModel, iterator: EpochIterator, epochs: range) -> dict[str, Any]:
    """Values that all ranks must agree on before they train."""
    compiled = model._compiled
    assert compiled is not None
    return {
        "version of cdl": metadata.version("cdl-nn"),
        "epochs": epochs,
        **iterator.start(),
        "layers": [type(each).__name__ for each in model._flatten_layers()],
        "shapes of weights": [tuple(each.shape) for each in model.weights],
        "optimizer": type(compiled.optimizer).__name__,
    }


def _begin_alike(shared: ranks.Ranks, model: TrainableModel) -> None:
    """Copy weights, optimizer and generators of the first rank, which may have restored them."""
    variables = [*model.weights, *getattr(model.optimizer, "variables", ())]
    state, epoch = shared.begin_alike(variables, (random.state(), model._initial_epoch))
    random.set_state(state)
    model._initial_epoch = epoch
    shared.alike.add(model.optimizer)


def begin_batches(model: TrainableModel, rows: int) -> None:
    """Copy the first rank's state before a single batch, of the same number of rows."""
    shared = ranks.current()
    if shared is not None and shared.own_data:
        shared.compare({"rows": rows}, "train_on_batch")
    if shared is not None and model.optimizer not in shared.alike:
        _begin_alike(shared, model)


def begin_evaluation(model: TrainableModel, iterator: EpochIterator) -> None:
    """Check that all ranks have the same data and weights."""
    shared = ranks.current()
    if shared is not None:
        weights = f"hash {ranks.hash_of(model.weights):08x}"
        shared.compare({**iterator.start(), "weights": weights}, "evaluate")


def is_stopped(model: TrainableModel, epoch: int) -> bool:
    """Whether a callback, another thread or the optimizer has ended the run since the last check.

    Of several ranks that of any; and they see that their weights are alike.
    """
    shared = ranks.current()
    if getattr(model.optimizer, "converged", False):
        model.stop_training = True
    if shared is not None:
        shared.check_alike(model.weights, epoch)
        model.stop_training = shared.any(model.stop_training)
    return model.stop_training
