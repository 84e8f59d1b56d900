"""StandIn: a model that is trained in place of each member in turn."""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from cdl import _core
from cdl._common import clock
from cdl._common.errors import standing_in
from cdl._common.interrupts import held_interrupts
from cdl._common.locks import new_lock
from cdl._common.overriding import is_users
from cdl._tracing.variable import Variable
from cdl.callbacks import Callback, CallbackList, History
from cdl.distribution import ranks
from cdl.trainers import arguments
from cdl.trainers.data_adapter import Arrays
from cdl.trainers.epoch_iterator import ArrayIterator, array_iterator, for_step, in_order
from cdl.trainers.fit_loop import SLICE, Validation
from cdl.trainers.many.left_to_fit import LeftToFit

_MOST_ROWS = 2**14  # of an epoch in one call, for whose end an interrupt waits
Stacks = list[np.ndarray[Any, Any]]


def variables_of(model: Any) -> list[Any]:
    """Weights and optimizer variables of a model: all that members differ in."""
    optimizer = model.optimizer if model.compiled else None
    if optimizer is not None:
        optimizer.build(model.trainable_variables)
    return [*model.weights, *getattr(optimizer, "variables", ())]


def has_begun(model: Any) -> bool:
    """Whether a model was trained or evaluated since `compile`, so that its losses are resolved."""
    return model._compiled is not None and model._compiled.resolved is not None


class Run(NamedTuple):
    """Arguments of a plain `fit`.

    Attributes:
        data: x, y and sample weights.
        epochs: number of epochs.
        held_out: x, y and perhaps weights of validation, or None.
        split: fraction of rows to hold out, without `held_out`.
        callbacks: callbacks of the member.
    """

    data: tuple[Any, Any, Any]
    batch: int
    epochs: int
    held_out: tuple[Any, ...] | None
    split: float
    callbacks: list[Callback]


class StandIn:
    """Copy of a model, with its compiled programs.

    Args:
        model: the model to copy.
        kept: objects of it that the copy shares.

    Attributes:
        model: the copy.
        is_plain: whether its class is cdl's, and its optimizer does nothing at the end of `fit`.
    """

    def __init__(self, model: Any, kept: Sequence[Any] = ()) -> None:
        self._most = 1  # epochs in a call: a time slice, at the speed of the last member
        self.take_model(model, kept)

    def take_model(self, model: Any, kept: Sequence[Any] = ()) -> None:
        """Replace the copy by one of a model, which may be the present copy; programs are dropped.

        Args:
            kept: objects of it that the copy shares.
        """
        made = copy.deepcopy(model, {id(each): each for each in kept})
        self._take(made, variables_of(made))

    def _take(self, model: Any, variables: list[Any]) -> None:
        self.model, self._weights = model, len(model.weights)
        self._variables = [(each, storage_of(each)) for each in variables]
        optimizer = self.model.optimizer if self.model.compiled else None
        ends = getattr(optimizer, "use_ema", True) or getattr(optimizer, "whole_batch", True)
        self.is_plain = not is_users(type(model)) and not ends

    def __getstate__(self) -> dict[str, Any]:
        """Model and variables for a copy or a pickle, in their order even if layers are frozen."""
        return {"model": self.model, "variables": [each for each, _ in self._variables]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._most = 1
        self._take(**state)

    @held_interrupts()  # a member has all of its values
    def put(self, stacks: Stacks, number: int) -> None:
        """Load the weights and states of a member, whose draws begin as those of a copy."""
        self.model._draw_counts(anew=True)
        for (variable, storage), stack in zip(self._variables, stacks, strict=True):
            _write(variable, storage, stack[number])

    def put_weights(self, stacks: Stacks, number: int) -> None:
        """Load the weights of a member alone, whose draws begin as those of a copy."""
        self.model._draw_counts(anew=True)
        weights = self._variables[: self._weights]
        for (variable, storage), stack in zip(weights, stacks, strict=False):
            _write(variable, storage, stack[number])

    @held_interrupts()
    def take(self, stacks: Stacks, number: int) -> None:
        """Write a member's state back."""
        for (variable, _), stack in zip(self._variables, stacks, strict=True):
            stack[number] = value_of(variable)

    @property
    def places(self) -> tuple[int, int]:
        """Indices of the step counter and the learning rate in stacks.

        Raises:
            ValueError: an optimizer without a constant rate has no place for it.
        """
        optimizer, variables = self.model.optimizer, [each for each, _ in self._variables]
        ids = list(map(id, variables))
        return ids.index(id(optimizer._iterations)), ids.index(id(optimizer.learning_rate))

    def places_of(self, function: Any) -> list[int]:
        """Indices in stacks of the variables in a function's program; in evaluation, weights."""
        kept = self._variables if function.training else self._variables[: self._weights]
        return [i for i, (_, storage) in enumerate(kept) if storage is not None]

    @property
    def storages(self) -> list[Any]:
        """Memory in the core of each variable, in the order of stacks; None for one without."""
        return [storage for _, storage in self._variables]

    def places_in(self, program: Any) -> list[int] | None:
        """Indices in stacks of the weights that a program reads; None if it reads others."""
        known = {id(each): i for i, (each, _) in enumerate(self._variables[: self._weights])}
        places = [known.get(id(each)) for each in program.variables]
        found = [place for place in places if place is not None]
        storages = self.storages
        has_all = len(found) == len(places) and all(storages[i] is not None for i in found)
        return found if has_all and not _has_fixed(program, False) else None

    def host(self, function: Any, threads: int = 1) -> _core.Members | None:
        """The core's side of members that train with a function's program; None if none can."""
        if not self.is_plain or not is_for_members(function, [each for each, _ in self._variables]):
            return None
        storages = [self._variables[place][1] for place in self.places_of(function)]
        return _core.Members(function.executor, storages, threads)

    def train(self, run: Run, halt: threading.Event) -> History | None:
        """Train as `fit` does, without its checks and lookups for each model.

        Args:
            run: arguments of the fit.
            halt: set by an interrupt, after which no further slice of epochs begins.

        Returns:
            The History; None if `fit` must be called instead, from the start.
        """
        if not self.is_plain:
            return None
        with LeftToFit(), standing_in():
            compiled, fresh = self.model._compiled, not has_begun(self.model)
            arrays = for_step(self.model, compiled, "train", run.data, None, "fit", run.batch)
            if not isinstance(arrays, Arrays) or arrays.samples > _MOST_ROWS:
                return None
            held_out: Any = run.held_out
            if run.split and held_out is None:
                point = arguments.split_point(run.split, arrays.samples, "fit: validation_split")
                held_out, arrays = arrays.rows(point, arrays.samples), arrays.rows(0, point)
            options = {"shuffle": True, "discard": fresh}
            whole = array_iterator(
                self.model, compiled, arrays, "train", run.batch, None, **options
            )
            validation = None
            try:
                if held_out is not None:
                    validation = Validation(self.model, compiled, held_out, run.batch, None)
                if not whole.runs_fused:
                    return None
                if validation is None and not run.callbacks:
                    return self._unwatched(whole, run.epochs, halt)
                return self._watched(whole, validation, run, halt)
            finally:
                whole.close()
                self.model._release(whole.train_function)
                if validation is not None:
                    validation.close()
        return None

    def _watched(
        self, whole: ArrayIterator, validation: Validation | None, run: Run, halt: threading.Event
    ) -> History | None:
        """History of epochs with validation and callbacks between them."""
        model = self.model
        callbacks = CallbackList(run.callbacks, add_history=True, model=model)
        callbacks.set_params({"verbose": 0, "epochs": run.epochs, "steps": whole.target})
        model.stop_training, logs = False, dict[str, Any]()
        callbacks.on_train_begin()
        for epoch in range(run.epochs):
            callbacks.on_epoch_begin(epoch)
            passes: list[dict[str, float]] = []
            whole.run_epochs(1, passes)
            logs = passes[0]
            if not math.isfinite(logs["loss"]):
                return None
            if validation is not None:
                logs = in_order(logs | validation.run(callbacks, 1))
            callbacks.on_epoch_end(epoch, dict(logs))
            if model.stop_training or halt.is_set():
                break
        callbacks.on_train_end(logs)
        history: History = callbacks.history
        return history

    def _unwatched(
        self, whole: ArrayIterator, epochs: int, halt: threading.Event
    ) -> History | None:
        """History of epochs between which there is nothing to do; None if a loss is not finite."""
        passes: list[dict[str, float]] = []
        while len(passes) < epochs and not halt.is_set():
            start, before = clock.now(), len(passes)
            whole.run_epochs(min(self._most, epochs - before), passes)
            took = max(clock.now() - start, 1e-9) / (len(passes) - before)
            self._most = max(1, int(SLICE / took))
        if not all(math.isfinite(logs["loss"]) for logs in passes):
            return None
        history = History()
        for epoch, logs in enumerate(passes):
            history.on_epoch_end(epoch, logs)
        return history


def is_for_members(function: Any, variables: Sequence[Any]) -> bool:
    """Whether models that are alike may train with the program of a train function.

    Args:
        function: the train function.
        variables: the variables that differ between members.
    """
    known, program = set(map(id, variables)), function.plan.program
    return (
        function.is_compiled
        and function.optimizer.has_one_rate
        and ranks.current() is None
        and not function.batch_of_states
        and not function.plan.observed
        and all(id(each) in known for each in program.variables)
        and not _has_fixed(program, True)
    )


def _has_fixed(program: Any, training: bool) -> bool:
    """Whether a program has numbers drawn when it was made."""
    return any(i.attributes.get("fixed") for i in program.flat(training).instructions)


def _write(variable: Any, storage: Any, value: Any) -> None:
    if storage is None:
        variable.assign(value)
    else:
        storage.set(value)


def storage_of(variable: Any) -> Any:
    """Memory of a weight in the core, in float32 whatever its dtype; None for other variables."""
    is_plain = getattr(type(variable), "numpy", None) is Variable.numpy
    return variable.storage if is_plain else None


def value_of(variable: Any) -> Any:
    """Copy of the values of a weight as the core keeps them, or of another variable."""
    storage = storage_of(variable)
    return variable.numpy() if storage is None else storage.get()


class Idle(list[StandIn]):
    """Unused stand-ins of a `Replicas`; a copy or a pickle has none.

    Attributes:
        fitting: lock of the fit that trains its members.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fitting = new_lock()

    def __reduce__(self) -> Any:
        """Constructor and its arguments, for a copy."""
        return Idle, ()


def taken(idle: list[StandIn], model: Any) -> StandIn:
    """Idle stand-in, or a new one for `model` if none has resolved losses as `model` has."""
    while True:
        try:
            found = idle.pop()
        except IndexError:
            return StandIn(model)
        if has_begun(found.model) or not has_begun(model):
            return found


def stacked(variables: Sequence[Any], n: int) -> Stacks:
    """Arrays of n copies of the values of each variable."""
    return [np.repeat(np.asarray(value_of(each))[None], n, axis=0) for each in variables]
