"""Descriptions of jobs: jobs of equal descriptions have equal programs.

A description is of all that lowering reads: classes and attributes of layers, losses and metrics by
name, the optimizer's arguments, shapes and dtypes. It leaves out what members of a group differ in:
names, weights, seeds, learning rates, data, orders. An object of which nothing is known stands for
itself, so that only models that share it are alike.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from cdl import metrics
from cdl._common.errors import StandsInError, standing_in
from cdl._common.overriding import is_users
from cdl._tracing.variable import Variable
from cdl._variables.state import State
from cdl.callbacks import EarlyStopping, LearningRateScheduler, ReduceLROnPlateau
from cdl.initializers import Initializer
from cdl.layers import Layer
from cdl.optimizers import Optimizer
from cdl.optimizers.rate_factors import factor_of
from cdl.random import SeedGenerator
from cdl.trainers import arguments
from cdl.trainers.compile_arguments import leaves
from cdl.trainers.epoch_iterator import DEFAULT_BATCH
from cdl.trainers.many.plain_functions import is_plain

MOST_ORDERED = 2**20
"""Row numbers of all epochs of the members that run in one call, 8 MB; a job of more goes alone."""

_MOST_BYTES = 2**16  # of an array that is compared by value

_PLAIN = frozenset((bool, int, str, bytes, type(None)))
_NAMES = frozenset(("name", "_path", "_made"))
_OF_STACKS = frozenset(("_infos", "_places", "_model_graph", "_executors", "_compiled"))
_OF_OPTIMIZERS = frozenset(
    ("_iterations", "_rate", "_slots", "_python", "_foreign", "_executors", "_changes", "built")
)
OPTIONS = frozenset(
    ("x", "y", "batch_size", "epochs", "verbose", "shuffle", "sample_weight", "class_weight")
)
_VALIDATION = frozenset(
    f"validation_{name}" for name in ("split", "data", "batch_size", "freq", "steps")
)
MOST_WEIGHTS = 2**18
"""Weights of a model of a group; a larger one takes longer to copy than its program to make."""

# Callbacks that only look at the values of an epoch, and set weights or the rate.
_CALLBACKS = frozenset((EarlyStopping, ReduceLROnPlateau, LearningRateScheduler))


class Description(NamedTuple):
    """Description of a job.

    Attributes:
        key: equal for jobs of equal programs.
        variables: weights of the model, in the order in which they were found.
        generators: seed generators of its layers, likewise.
        kept: objects that stand for themselves, which a copy of the model shares.
    """

    key: tuple[Any, ...]
    variables: list[Variable]
    generators: list[SeedGenerator]
    kept: list[Any]


class Plan(NamedTuple):
    """Arguments of a simple `fit`.

    Attributes:
        rows: of training.
        batch: rows of a batch.
        epochs: how many.
        shuffle: whether rows are taken in a new order in each.
        is_plain: whether nothing is to be done between epochs: no validation, no callback.
    """

    rows: int
    batch: int
    epochs: int
    shuffle: bool
    is_plain: bool


def plan_of(model: Any, options: Mapping[str, Any], callbacks: Sequence[Any]) -> Plan | None:
    """Arguments of a job that may run in a group; None for any other.

    Args:
        model: the model.
        options: of `fit`.
        callbacks: of the job.
    """
    is_stack = hasattr(model, "_stack") and not is_users(type(model))
    more = options.keys() - OPTIONS
    if not is_stack or not _VALIDATION.issuperset(more):
        return None
    if not all(map(is_simple, callbacks)):
        return None
    x, y, weight = (options.get(name) for name in ("x", "y", "sample_weight"))
    if type(x) is not np.ndarray or type(y) is not np.ndarray or not x.ndim or not y.ndim:
        return None
    if not len(x) or len(x) != len(y) or type(weight) not in (np.ndarray, type(None)):
        return None
    shuffle = options.get("shuffle", True)
    if type(shuffle) is not bool or options.get("verbose", 0) != 0:
        return None
    try:
        given = options.get("batch_size"), options.get("epochs", 1)
        batch = arguments.optional_whole(given[0], "fit: batch_size") or DEFAULT_BATCH
        with standing_in():  # limits of `config` are told of
            epochs = arguments.epochs(given[1], "fit: epochs")
            arguments.steps(None, "fit: steps_per_epoch")
        rows = _rows_of_training(options, len(x))
    except (TypeError, ValueError, StandsInError):  # `fit` is to say so
        return None
    if not 0 < epochs * rows <= MOST_ORDERED:
        return None
    if not model.built or model._compiled is None or model._host is not None:
        return None
    return Plan(rows, min(batch, rows), epochs, shuffle, not (more or callbacks))


def is_simple(callback: Any) -> bool:
    """Whether a callback acts on the model that it is given, and may begin anew unnoticed."""
    if type(callback) not in _CALLBACKS or callback.verbose:
        return False
    if any(name.startswith("on_") for name in vars(callback)):  # a hook of the user's
        return False
    return type(callback) is not LearningRateScheduler or is_plain(callback.schedule)


def _rows_of_training(options: Mapping[str, Any], rows: int) -> int:
    """Rows that validation leaves; 0 for data of validation that are no arrays."""
    held_out = options.get("validation_data")
    if held_out is None:
        return arguments.split_point(options.get("validation_split", 0.0), rows, "fit")
    is_plain = isinstance(held_out, tuple) and all(type(each) is np.ndarray for each in held_out)
    return rows if is_plain else 0


def described(model: Any, options: Mapping[str, Any], plan: Plan) -> Description | None:
    """Description of a job with such a plan; None if it must go alone."""
    compiled = model._compiled
    given, optimizer = compiled.given, compiled.optimizer
    if given["run_eagerly"] or compiled.scales or not optimizer.has_one_rate:
        return None
    if optimizer.is_written or optimizer._excluded or optimizer._excluded_names is not None:
        return None
    if hasattr(optimizer, "inner_optimizer") or hasattr(optimizer, "optimizers"):
        return None
    listed = leaves(given["metrics"]) + leaves(given["weighted_metrics"])
    if any(isinstance(each, metrics.Metric) for each in listed):  # which the user may ask
        return None
    found = _Walk()
    found.add([plan.batch, plan.is_plain])
    for name in ("x", "y", "sample_weight"):
        array = options.get(name)
        found.add(None if array is None else (array.shape[1:], str(array.dtype)))
    found.add(options.get("class_weight") is None)
    found.add([given[name] for name in ("loss", "loss_weights", "metrics", "weighted_metrics")])
    found.add(given["jit_compile"])
    found.add(optimizer)
    found.add([(info.shape, info.dtype) for info in model._infos])
    found.add(model)
    if sum(math.prod(each.shape) for each in found.variables) > MOST_WEIGHTS:
        return None
    # Paths of weights count where patterns name them.
    trained = [each for each in found.variables if each.trainable]
    factors = optimizer.rate_factors
    found.add([(optimizer.row_of(each), optimizer.decay_of(each)) for each in trained])
    found.add([factor_of(factors, each) for each in trained])
    found.reads_states = False  # of metrics
    found.add(compiled.resolved)
    seeds = [each.seed for each in found.generators]
    found.add([seeds.index(seed) for seed in seeds])  # which of them are equal
    return Description(tuple(found.parts), found.variables, found.generators, found.kept)


class _Walk:
    """Walk through objects and their attributes, each once."""

    def __init__(self) -> None:
        self.parts: list[Any] = []
        self.variables: list[Variable] = []
        self.generators: list[SeedGenerator] = []
        self.kept: list[Any] = []
        self.reads_states = True  # whether their values are constants of a program
        self._seen: dict[int, int] = {}

    def add(self, thing: Any) -> None:
        """Add a thing and all that is in it."""
        kind, parts = type(thing), self.parts
        if kind in _PLAIN:
            parts += (kind, thing)
        elif kind is float or isinstance(thing, np.generic):
            parts += (kind, repr(thing))  # -0.0 is another one than 0.0
        elif id(thing) in self._seen:
            parts += ("seen", self._seen[id(thing)])
        elif kind is tuple or kind is list:
            parts.append(kind)
            self._add_values(list(thing))
        else:
            self._seen[id(thing)] = len(self._seen)
            self._add_object(thing)

    def _add_object(self, thing: Any) -> None:
        kind, parts = type(thing), self.parts
        if kind is Variable:
            self.variables.append(thing)
            traits = thing.kept_dtype, thing.trainable, thing.autocast, thing.storage.matrix
            parts += (kind, thing.shape, *traits)
            self._add_values([thing.regularizer, thing.constraint])
        elif kind is SeedGenerator:
            self.generators.append(thing)
            parts += (kind, thing.was_given)
        elif kind is State:
            value = thing.numpy()
            parts += (
                kind,
                str(value.dtype),
                value.shape,
                value.tobytes() if self.reads_states else 0,
            )
        elif isinstance(thing, Initializer):  # the weights are there
            parts.append(Initializer)
        elif kind is dict:
            parts.append(kind)
            self._add_values([*thing, *thing.values()])
        elif kind is set and all(id(each) in self._seen for each in thing):
            parts += (kind, *sorted(self._seen[id(each)] for each in thing))
        elif kind is np.ndarray and thing.nbytes <= _MOST_BYTES:
            parts += (kind, thing.shape, str(thing.dtype), thing.tobytes())
        elif kind.__module__.startswith("cdl.") and hasattr(thing, "__dict__"):
            self._add_attributes(kind, thing)
        else:
            parts += ("id", id(thing))
            self.kept.append(thing)

    def _add_attributes(self, kind: type, thing: Any) -> None:
        there = vars(thing)
        draws = type(there.get("seed_generator")) is SeedGenerator
        layout = _layout(kind, tuple(there), draws)
        self.parts.append(layout)
        self._add_values([there[name] for name in layout.counted])

    def _add_values(self, values: list[Any]) -> None:
        kinds = tuple(map(type, values))
        inner = []
        for place in _not_plain(kinds):
            inner.append(values[place])
            values[place] = None
        self.parts += (kinds, tuple(values))
        for value in inner:
            self.add(value)


class _Layout:
    """Attributes of a class that count, where objects have certain ones; each is itself alone."""

    def __init__(self, kind: type, names: tuple[str, ...], draws: bool) -> None:
        left_out = _NAMES
        if issubclass(kind, Layer):
            left_out |= kind._passing | (_OF_STACKS if "_stack" in names else frozenset())
        elif issubclass(kind, Optimizer):
            left_out |= _OF_OPTIMIZERS
        if draws:
            left_out |= {"seed"}  # which is the generator's
        self.counted = [name for name in names if name not in left_out]


_layout = functools.lru_cache(1024)(_Layout)


@functools.lru_cache(1024)
def _not_plain(kinds: tuple[type, ...]) -> list[int]:
    """Places of values that are not compared as they are."""
    return [place for place, kind in enumerate(kinds) if kind not in _PLAIN]
