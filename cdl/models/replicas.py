"""Replicas: many models of one architecture as one object."""

from __future__ import annotations

import copy
import operator
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

import numpy as np

from cdl import tree
from cdl._common import dtypes
from cdl.models import replicas_file
from cdl.models.cloning import clone_model
from cdl.models.model import Model
from cdl.random import draw_seed, numpys
from cdl.saving import atomic
from cdl.trainers.many import first_weights
from cdl.trainers.many.member_data import (
    MemberData,
    of_members,
    option,
    padded,
    rates_of,
    seeds_of,
)
from cdl.trainers.many.members_fit import MembersFit, Past
from cdl.trainers.many.members_pass import evaluated, predicted
from cdl.trainers.many.own_state import of_member, standing_in_for, warn_of_attributes
from cdl.trainers.many.stand_in import (
    Idle,
    StandIn,
    has_begun,
    stacked,
    taken,
    value_of,
    variables_of,
)

Array = np.ndarray[Any, np.dtype[Any]]

_PLAIN = frozenset(("batch_size", "return_dict"))  # options of an evaluation in one call
_SEEDS = 2**32


class Histories(NamedTuple):
    """Values of each epoch of each member.

    Attributes:
        history: name -> array (members, epochs), NaN behind a member's last epoch; of a metric
            of several numbers their axes follow.
        epochs: how many epochs each member has trained, an array (members,).
    """

    history: dict[str, Array]
    epochs: Array


class Replicas:
    """Models of one architecture, of which only weights and optimizer states are kept n times.

    Made by `cdl.replicate`. ``many[k]`` is an ordinary model with copies of a member's weights,
    `len` and iteration go over these.

    Args:
        model: a built model; compiled, if members are to be trained. It is copied.
        n: how many members there are; each begins with the model's weights.

    Raises:
        TypeError: not a model, or n is no int.
        ValueError: a model that is not built, or n below 1.
    """

    def __init__(self, model: Any, n: int) -> None:
        if not isinstance(model, Model):
            raise TypeError(f"replicate: model must be a Model, got {type(model).__name__}")
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)):
            raise TypeError(f"replicate: n must be an int, got {n!r}")
        if n < 1:
            raise ValueError(f"replicate: n must be at least 1, got {n}")
        if not model.built:
            raise ValueError(
                f"replicate: model must be built, got {model.name!r}, which is not: begin it with "
                "an Input, or call build"
            )
        layers = model._flatten_layers(include_self=False)
        keeping = [each.name for each in layers if getattr(each, "stateful", False)]
        if keeping:
            raise ValueError(
                f"replicate: layer {keeping[0]!r} must not be stateful: members share its states"
            )
        self._idle = Idle()
        self._own: dict[int, StandIn] = {}  # of members of which a user's code changed attributes
        self._past: Past | None = None  # the beginning of the last fit
        self._model = copy.deepcopy(model)
        self._stacks = stacked(variables_of(self._model), int(n))

    def __len__(self) -> int:
        """Number of the members here."""
        return len(self._stacks[0])

    def __getitem__(self, number: int) -> Any:
        """Member as an ordinary model of its own, with copies of its weights and states.

        Raises:
            IndexError: there is no such member.
            TypeError: `number` is no int.
        """
        try:
            at = operator.index(number)
        except TypeError:
            raise TypeError(f"Replicas: member must be an int, got {number!r}") from None
        if not -len(self) <= at < len(self):
            raise IndexError(f"Replicas: member must be below {len(self)}, got {number}")
        at %= len(self)
        made = copy.deepcopy(self._own[at]) if at in self._own else StandIn(self._model)
        made.put(self._stacks, at)
        return made.model

    def __iter__(self) -> Iterator[Any]:
        """Members as ordinary models, one after the other."""
        return (self[number] for number in range(len(self)))

    def __repr__(self) -> str:
        """Number of members, and the model of each."""
        kind = type(self._model).__name__
        return f"<Replicas n={len(self)} of {kind} {self._model.name!r}>"

    @property
    def learning_rate(self) -> Array:
        """Learning rate of each member, an array (n,); to be set to one number or n of them."""
        return self._stacks[self._place_of_rate("learning_rate")].copy()

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        place, rates = self._rates(value, "learning_rate")
        self._stacks[place][...] = rates

    def get_weights(self) -> list[Array]:
        """Weights of all members: arrays (n, ...) in the order of `model.get_weights()`."""
        pairs = zip(self._model.weights, self._stacks, strict=False)
        return [dtypes.astype(stack, str(each.dtype)).copy() for each, stack in pairs]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set the weights of all members.

        Args:
            weights: arrays (n, ...) in the order of `get_weights`.

        Raises:
            ValueError: another number of arrays, or one of another shape.
        """
        own = self._model.weights
        if len(weights) != len(own):
            raise ValueError(f"set_weights: expected {len(own)} arrays, got {len(weights)}")
        arrays = [np.asarray(each) for each in weights]
        for variable, array, stack in zip(own, arrays, self._stacks, strict=False):
            if array.shape != stack.shape:
                raise ValueError(
                    f"set_weights: {variable.path} must have shape {stack.shape}, got {array.shape}"
                )
        for variable, array, stack in zip(own, arrays, self._stacks, strict=False):
            stack[...] = dtypes.rounded(array, str(variable.dtype))

    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        seeds: Any = None,
        learning_rate: Any = None,
        workers: int | None = None,
        verbose: int | str = 0,
        callbacks: Any = None,
        **fit: Any,
    ) -> Histories:
        """Train all members, one after the other on each core.

        Each ends with the bits that ``cdl.utils.set_random_seed(seeds[k])`` and
        ``many[k].fit(...)`` alone would have.

        Args:
            x: samples: a list of the rows of each member or an array ``(n, rows, ...)``; or
                ``(rows, ...)`` for all. A list, tuple or dict of arrays for a model of several
                inputs has one of these arrays for each input.
            y: targets, likewise.
            seeds: n ints, from which a member's orders and dropout are drawn; None draws them
                from NumPy's global generator, or, with an `initial_epoch`, goes on with those of
                the last fit, which then is as one of all epochs. Code of your own that draws from
                `numpy.random` is not seeded by them.
            learning_rate: one number or n of them, set before; None leaves what is there.
            workers: how many members train at a time; None for one a core.
            verbose: 1 shows a bar over all members, 0 nothing.
            callbacks: copied for each member, as by `copy.deepcopy`, with hooks that see the
                member as an ordinary model; or a function of a member's number that makes them.
            fit: further arguments of `Model.fit`, such as `epochs`, `batch_size`,
                `validation_split`: a list or an array of one axis has one for each member, all
                else is of all. Rows of `validation_data` and `sample_weight` are as those of x.

        Returns:
            Histories: ``history`` has an array (n, epochs) for each name, NaN behind the last
            epoch of a member that ended early, and ``epochs`` how many each has trained.

        Raises:
            ValueError: lists of other lengths than n, rows of several shapes, or what `fit`
                raises, which is raised once the other members have ended, with the number of its
                member; that one is as before.
        """
        self._check_compiled("fit")
        n = len(self)
        data = self._rows_of((x, y, fit.pop("sample_weight", None)), "fit")
        held_out = self._held_out(fit.pop("validation_data", None))
        options = {name: option(value, n, f"fit: {name}") for name, value in fit.items()}
        past = self._past if seeds is None and np.any(fit.get("initial_epoch", 0)) else None
        starts = self._seeds_of_fit(seeds) if past is None else past.seeds
        begin = [*self._stacks]
        if learning_rate is not None:
            place, rates = self._rates(learning_rate, "fit: learning_rate")
            begin[place] = rates
        run = MembersFit(
            self._model,
            self._stacks,
            begin,
            (self._idle, self._own),
            data,
            held_out,
            options,
            starts,
            past,
        )
        begun = past or Past(starts, not has_begun(self._model))
        try:
            histories = run.train(callbacks, workers, verbose)
        finally:
            if run.has_begun:
                self._past = begun
        self._settle()
        epochs = np.array([len(each.epoch) for each in histories])
        names = dict.fromkeys(name for each in histories for name in each.history)
        listed = {name: [each.history.get(name, ()) for each in histories] for name in names}
        return Histories({k: padded(each, epochs.max()) for k, each in listed.items()}, epochs)

    def predict(self, x: Any, **predict: Any) -> Any:
        """Predictions of all members.

        Args:
            x: samples: ``(rows, ...)`` for all; or a list of the rows of each, or an array
                ``(n, rows, ...)``.
            predict: further arguments of `Model.predict`.

        Returns:
            Array ``(n, rows, ...)``, nested as the outputs are; a list of n if the members have
            several numbers of rows. Their mean over the first axis is that of an ensemble.
        """
        of_each = self._rows_of((x,), "predict").x
        predict.setdefault("verbose", 0)
        with _borrowed(self._idle, self._model) as stand_in:
            found = []
            for number in range(len(self)):
                note = of_member("predict", number, len(self))
                with standing_in_for(number, stand_in, self._own, self._model, note) as used:
                    used.put_weights(self._stacks, number)
                    found.append(used.model.predict(of_each(number), **predict))
                if not self._own and not number and predict == {"verbose": 0}:
                    at_once = predicted(stand_in, self._stacks, of_each)
                    if at_once is not None:
                        return at_once
        shapes = [[each.shape for each in tree.flatten(result)] for result in found]
        if any(each != shapes[0] for each in shapes):
            return found
        return tree.map_structure(lambda *each: np.stack(each), *found)

    def evaluate(
        self, x: Any, y: Any = None, sample_weight: Any = None, **evaluate: Any
    ) -> dict[str, Array]:
        """Losses and metrics of all members.

        Args:
            x: samples, as those of `predict`.
            y: targets, likewise.
            sample_weight: weights of the samples, likewise.
            evaluate: further arguments of `Model.evaluate`.

        Returns:
            An array (n,) for each name.

        Raises:
            ValueError: `return_dict=False`, as values always have their names.
        """
        self._check_compiled("evaluate")
        if not evaluate.get("return_dict", True):
            raise ValueError("evaluate: return_dict must be True for replicas, got False")
        data = self._rows_of((x, y, sample_weight), "evaluate")
        options = {"verbose": 0, **evaluate, "return_dict": True}
        at_once = None
        with _borrowed(self._idle, self._model) as stand_in:
            found = []
            for number in range(len(self)):
                rows = data.x(number), data.y(number)
                weight, note = data.weight(number), of_member("evaluate", number, len(self))
                with standing_in_for(number, stand_in, self._own, self._model, note) as used:
                    used.put_weights(self._stacks, number)
                    found.append(used.model.evaluate(*rows, sample_weight=weight, **options))
                if not self._own and not number and _PLAIN.issuperset(evaluate):
                    at_once = evaluated(stand_in, self._stacks, data, evaluate.get("batch_size"))
                    if at_once is not None:
                        break
        self._settle()
        return at_once or {name: np.array([each[name] for each in found]) for name in found[0]}

    def save(self, filepath: Any, overwrite: bool = True) -> None:
        """Write all members to one file, which is there whole or not at all.

        It is an archive of NumPy's: the bytes of a `.keras` file of the architecture, and an
        array for each weight and state.

        Args:
            filepath: where; best with the suffix `.npz`.
            overwrite: whether a file there is written over without asking.
        """
        path = atomic.checked_path(filepath, "Replicas.save")
        warn_of_attributes(self._own)
        whole: Any = replicas_file.contents(self._model, self._stacks, self._past)
        if atomic.may_write(path, overwrite, "Replicas.save"):
            with atomic.replacing(path) as to:
                np.savez(to, **whole)

    @classmethod
    def load(cls, filepath: Any, custom_objects: Any = None) -> Self:
        """Load the members that `save` wrote; training continues with their optimizer states.

        Args:
            filepath: the file.
            custom_objects: classes and functions of the user's own, by name.

        Raises:
            ValueError: no such file, or one that is damaged.
        """
        path = atomic.checked_path(filepath, "Replicas.load")
        atomic.check_regular(path, "Replicas.load")
        loaded, arrays, past = replicas_file.read(path, custom_objects)
        made, n = cls(loaded, 1), len(arrays[0])
        made._past = past
        expected = [((n, *each.shape[1:]), each.dtype) for each in made._stacks]
        if not n or [(each.shape, each.dtype) for each in arrays] != expected:
            raise ValueError(f"Replicas.load: {path} has arrays of other shapes than its model")
        made._stacks = arrays
        return made

    def _check_compiled(self, call: str) -> None:
        if not self._model.compiled:
            raise ValueError(f"{call}: the model that was given to replicate must be compiled")

    def _rows_of(self, given: Sequence[Any], call: str) -> MemberData:
        return of_members(given, len(self), self._model, call)

    def _held_out(self, given: Any) -> MemberData | None:
        """Rows of validation by member."""
        if given is None:
            return None
        if not isinstance(given, tuple) or len(given) not in (2, 3):
            raise ValueError(
                "fit: validation_data must be a tuple (x, y) or (x, y, sample_weight), "
                f"got {type(given).__name__}"
            )
        return self._rows_of(given, "fit: validation_data")

    def _seeds_of_fit(self, seeds: Any) -> list[int]:
        if seeds is None:
            return [int(each) for each in numpys().randint(0, _SEEDS, len(self), np.uint64)]
        return seeds_of(seeds, len(self), "fit")

    def _place_of_rate(self, name: str) -> int:
        self._check_compiled(name)
        optimizer = self._model.optimizer
        if optimizer is not None and optimizer.has_one_rate:
            for place, each in enumerate(variables_of(self._model)):
                if each is optimizer.learning_rate:
                    return place
        raise ValueError(
            f"{name} must be left out: the optimizer of the model has no constant rate"
        )

    def _rates(self, value: Any, name: str) -> tuple[int, Array]:
        """Place of the rates among the stacks, and those given, one for each member."""
        place = self._place_of_rate(name)
        return place, rates_of(value, self._stacks[place], name)

    def _settle(self) -> None:
        """Let the model be one that has trained, once a stand-in has, for members to come."""
        for each in self._idle:
            if has_begun(each.model) and not has_begun(self._model):
                self._model = copy.deepcopy(each.model)


@contextmanager
def _borrowed(idle: list[StandIn], model: Any) -> Iterator[StandIn]:
    """Context with a stand-in that no other thread uses meanwhile."""
    stand_in = taken(idle, model)
    try:
        yield stand_in
    finally:
        idle.append(stand_in)


def replicate(model: Any, n: int, *, seeds: Any = None, weights: str = "new") -> Replicas:
    """Many models of one architecture as one object, trained by one program.

    Thousands of small nets, one for each store, sensor, patient, fold or seed: they take the
    memory of their weights and optimizer states alone. `train_many` is for models that differ.

    Args:
        model: a built model; compiled, if members are to be trained. It is copied.
        n: how many members there are.
        seeds: n ints: member k begins with the weights of ``cdl.models.clone_model(model)`` after
            ``cdl.utils.set_random_seed(seeds[k])``; None draws them from Python's generator. An
            initializer of your own that draws from `numpy.random` is not seeded by them.
        weights: "new" for trainable weights of their own and an optimizer that has made no step;
            frozen ones and statistics are the model's. "same" for all that the model has.

    Returns:
        Replicas: with `fit`, `predict`, `evaluate` and `save`; ``many[k]`` is an ordinary model.

    Raises:
        TypeError: not a model, or n is no int.
        ValueError: a model that is not built, n below 1, seeds of another number, or another word
            for `weights`.
    """
    if weights not in ("new", "same"):
        raise ValueError(f"replicate: weights must be 'new' or 'same', got {weights!r}")
    if seeds is not None and weights == "same":
        raise ValueError("replicate: seeds must be None for weights that are the same")
    made = Replicas(model, n)
    if weights == "new":
        first = [draw_seed() for _ in range(n)] if seeds is None else None
        bare = copy.deepcopy(model)
        bare._compiled = None  # a clone is not to be compiled
        given = first or seeds_of(seeds, n, "replicate")
        try:
            first_weights.draw(made._model, lambda: clone_model(bare), made._stacks, given)
        except Exception as error:
            error.add_note("replicate: weights='new' are a clone's; weights='same' need none")
            raise
        if model.compiled and model.optimizer is not None:
            _begin_optimizers(made, bare, model.optimizer)
    return made


def _begin_optimizers(made: Replicas, bare: Any, optimizer: Any) -> None:
    """Give members what the optimizer has before its first step; some begins with the weights."""
    stacks = made._stacks[len(bare.weights) :]

    def begin(number: int) -> list[Array]:
        for variable, weights in zip(bare.weights, made._stacks, strict=False):
            variable.assign(weights[number])
        is_new = not optimizer.built
        own = copy.deepcopy(optimizer) if is_new else optimizer.from_config(optimizer.get_config())
        own.build(bare.trainable_variables)
        found = [value_of(each) for each in getattr(own, "variables", ())]
        for stack, value in zip(stacks, found, strict=True):
            stack[number] = value
        return found

    first, last = begin(0), begin(len(made) - 1)
    if all(np.array_equal(*each) for each in zip(first, last, strict=True)):
        for stack, value in zip(stacks, first, strict=True):
            stack[...] = value
    else:
        for number in range(1, len(made) - 1):
            begin(number)
