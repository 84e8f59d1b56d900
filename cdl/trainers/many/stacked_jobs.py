"""Jobs of a group as members of one run: their weights become rows of stacks, and come back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from cdl import _core
from cdl.optimizers.slots import Begun, Slots
from cdl.trainers.many.alike import Description
from cdl.trainers.many.member_data import MemberData
from cdl.trainers.many.stacked_run import Draws, Epochs, StackedRun
from cdl.trainers.many.stand_in import Stacks, StandIn, storage_of, value_of, variables_of


class Begin(NamedTuple):
    """Seeds of a job, and its own arguments of `fit`.

    Attributes:
        draws: its seeds.
        epochs: number of epochs.
        data: x, y and sample weights.
    """

    draws: Draws
    batch: int
    epochs: int
    data: tuple[Any, Any, Any]


class StackedJobs:
    """Conversion of models like a stand-in to rows of stacks, and back.

    Args:
        stand_in: the copy of the first of them.
        found: the description of the copy.
        fresh: whether the optimizer of the copy had no slots yet.

    Attributes:
        fits: whether their weights are those of the description, in float32.
    """

    def __init__(self, stand_in: StandIn, found: Description, fresh: bool) -> None:
        self._stand_in = stand_in
        model, optimizer = stand_in.model, stand_in.model._compiled.optimizer
        walked = {id(each): place for place, each in enumerate(found.variables)}
        variables = variables_of(model)
        self._count = len(model.weights)
        self._variables = variables
        self.fits = stand_in.is_plain and all(
            id(each) in walked and each.kept_dtype == "float32" for each in model.weights
        )
        if not self.fits:
            return
        self._places = [walked[id(each)] for each in model.weights]
        self._trained = [walked[id(each)] for each in model.trainable_weights]
        # First values of an optimizer whose slots are all its variables but step and rate.
        self._first: list[Any] | None = None
        if fresh and optimizer.begins_alike and not optimizer.gradient_accumulation_steps:
            ids = list(map(id, variables))
            slots = [optimizer._slots_as_listed(each) for each in model.trainable_weights]
            self._names = [[name for name, _ in each] for each in slots]
            if all(id(slot) in ids for each in slots for _, slot in each):
                self._slots = [ids.index(id(slot)) for each in slots for _, slot in each]
                self._first = [value_of(each) for each in variables[self._count :]]

    def train(
        self,
        jobs: Sequence[tuple[Any, Description, Begin]],
        halt: threading.Event,
        is_over: Callable[[], bool],
    ) -> Iterator[tuple[set[int], dict[int, Epochs]]]:
        """Train models together.

        Args:
            jobs: model, description and begin of each job.
            halt: set by an interrupt.
            is_over: whether no further one is to begin.

        Yields:
            Indices of jobs that have not begun, and Epochs of finished ones by index, whose models
            have their trained values.
        """
        begins = [begin for _, _, begin in jobs]
        stacks = self._stacks(jobs)
        before = [stack.copy() for stack in stacks[: self._count]]
        data = MemberData(*([begin.data[i] for begin in begins].__getitem__ for i in range(3)))
        draws = {k: begin.draws for k, begin in enumerate(begins)}
        run = StackedRun(self._stand_in, stacks, stacks, data, draws)
        sound = _sound(stacks)
        options = {k: (one.batch, one.epochs) for k, one in enumerate(begins) if sound[k]}
        steps = stacks[self._stand_in.places[0]]
        first = steps.copy()
        written = set[int]()
        try:
            for ended in run.train(options, halt, is_over):
                self._write(jobs, [*ended], stacks, before)
                written |= ended.keys()
                yield set(), ended
        finally:
            if halt.is_set():  # at whole batches
                some = [k for k in options if k not in written and steps[k] != first[k]]
                self._write(jobs, some, stacks, before)
        if run.lost:  # the core may keep NaN
            self._stand_in.take_model(self._stand_in.model)
        yield run.waiting, {}

    def _stacks(self, jobs: Sequence[tuple[Any, Description, Begin]]) -> Stacks:
        """Stacks of the weights and optimizer variables of models."""
        n, stacks = len(jobs), []
        for place in self._places:
            storages = [found.variables[place].storage for _, found, _ in jobs]
            stacks.append(_core.stacked(storages))
        made = self._variables[self._count :]
        for i, variable in enumerate(made):
            first = value_of(variable) if self._first is None else self._first[i]
            stacks.append(np.repeat(np.asarray(first)[None], n, axis=0))
        steps, rates = (stacks[place] for place in self._stand_in.places)
        for k, (model, _, _) in enumerate(jobs):
            optimizer = model._compiled.optimizer
            if self._is_fresh(optimizer):
                steps[k], rates[k] = optimizer.step, float(optimizer.learning_rate)
                continue
            model._executors._agree_on_variables(model)
            for stack, each in zip(stacks[self._count :], optimizer.variables, strict=True):
                stack[k] = value_of(each)
        return stacks

    def _is_fresh(self, optimizer: Any) -> bool:
        return self._first is not None and not optimizer.built

    def _write(
        self,
        jobs: Sequence[tuple[Any, Description, Begin]],
        which: Sequence[int],
        stacks: Stacks,
        before: Stacks,
    ) -> None:
        """Write trained values to models; slots of optimizers are made when they are first read."""
        steps = stacks[self._stand_in.places[0]].tolist()
        # A frozen weight stays: models of other threads may have it, too.
        learned = [
            (place, stack)
            for place, stack, old in zip(self._places, stacks, before, strict=False)
            if not np.array_equal(stack, old)
        ]
        for place, stack in learned:
            _core.set_all([jobs[k][1].variables[place].storage for k in which], which, stack)
        of_slots = [] if self._first is None else [stacks[place] for place in self._slots]
        for k in which:
            model, found, _ = jobs[k]
            optimizer = model._compiled.optimizer
            if self._is_fresh(optimizer):
                trained = [found.variables[place] for place in self._trained]
                begun = Begun(self._names, of_slots, k)
                optimizer._own_slots = Slots(optimizer, trained, begun)
                optimizer.built = True
                model._executors.agree(trained)
            else:
                slots = zip(optimizer.variables, stacks[self._count :], strict=True)
                for variable, stack in slots:
                    if (storage := storage_of(variable)) is not None:
                        storage.set(stack[k])
            optimizer.counter[0] = steps[k]


def _sound(stacks: Stacks) -> Any:
    """Whether each member has finite values alone."""
    finite = [np.isfinite(stack.reshape(len(stack), -1)) for stack in stacks]
    if all(each.all() for each in finite):  # in half of the time of rows
        return np.ones(len(stacks[0]), bool)
    return np.all([each.all(axis=1) for each in finite], 0)
