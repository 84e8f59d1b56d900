"""Likeness of jobs: alike jobs have equal programs.

A likeness is derived from a first job, and matched against others. It covers all that lowering
reads: classes and attributes of layers, losses and metrics by name, the optimizer's arguments,
shapes and dtypes. Names, weights, seeds, learning rates, data and orders are left out, since
members of a group differ in them. An object of unknown class is compared by identity, so that only
models that share it are alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cdl import _core, config, metrics
from cdl._common.overriding import is_users
from cdl._tracing.variable import Variable
from cdl._variables.state import State
from cdl.callbacks import EarlyStopping, LearningRateScheduler, ReduceLROnPlateau
from cdl.initializers import Initializer
from cdl.layers import Layer
from cdl.optimizers import LossScaleOptimizer, MultiOptimizer, Optimizer
from cdl.optimizers.rate_factors import factor_of
from cdl.random import SeedGenerator
from cdl.trainers import arguments
from cdl.trainers.compile_arguments import leaves
from cdl.trainers.epoch_iterator import DEFAULT_BATCH
from cdl.trainers.many.plain_functions import is_plain

if TYPE_CHECKING:
    from cdl.trainers.many.own_callbacks import OwnCallbacks

MOST_ORDERED = 2**20
"""Row numbers of all epochs of the members that run in one call, 8 MB; a job of more goes alone."""

_MOST_BYTES = 2**16  # of an array that is compared by value

_PLAIN = frozenset((bool, int, str, bytes, type(None)))
_VALUES = frozenset((tuple, list, dict))  # equal ones count as the same
_NAMES = frozenset(("name", "_path", "_made"))
_OF_STACKS = frozenset(("_infos", "_places", "_model_graph", "_executors", "_compiled"))
OF_OPTIMIZERS = frozenset(
    ("_iterations", "_rate", "_own_slots", "_python", "_foreign", "_executors", "_changes", "built")
)
_COMPILED = itemgetter("loss", "loss_weights", "metrics", "weighted_metrics", "jit_compile")
OPTIONS = frozenset(
    ("x", "y", "batch_size", "epochs", "verbose", "shuffle", "sample_weight", "class_weight")
)
_VALIDATION = frozenset(
    f"validation_{name}" for name in ("split", "data", "batch_size", "freq", "steps")
)
MOST_WEIGHTS = 2**18
"""Weights of a model of a group; a larger one takes longer to copy than its program to make."""

_OF_OTHERS = LossScaleOptimizer, MultiOptimizer

# Callbacks that only read the logs of an epoch, and set weights or the learning rate.
_CALLBACKS = frozenset((EarlyStopping, ReduceLROnPlateau, LearningRateScheduler))


class Description(NamedTuple):
    """Description of a job.

    Attributes:
        key: equal for jobs of equal programs.
        variables: weights of the model, in the order in which they were found.
        generators: seed generators of its layers, likewise.
        kept: objects compared by identity, which a copy of the model shares.
    """

    key: Likeness
    variables: list[Variable]
    generators: list[SeedGenerator]
    kept: list[Any]


class Plan(NamedTuple):
    """Arguments of a simple `fit`.

    Attributes:
        rows: number of training samples.
        epochs: number of epochs.
        shuffle: whether each epoch has a new order of rows.
        is_plain: whether there is neither validation nor a callback.
    """

    rows: int
    batch: int
    epochs: int
    shuffle: bool
    is_plain: bool


class Job(NamedTuple):
    """Job that may run in a group.

    Attributes:
        number: index of the job.
        options: arguments of `fit`.
        plan: the simple arguments among them.
        callbacks: callbacks of the job.
        seed: seed of its generator.
    """

    number: int
    model: Any
    options: Mapping[str, Any]
    plan: Plan
    callbacks: OwnCallbacks
    seed: int


def plan_of(model: Any, options: Mapping[str, Any], callbacks: Sequence[Any]) -> Plan | None:
    """Arguments of a job that may run in a group; None for any other.

    Args:
        options: of `fit`.
        callbacks: of the job.
    """
    if not hasattr(model, "_stack") or is_users(type(model)):
        return None
    more = options.keys() - OPTIONS
    if not (_VALIDATION.issuperset(more) and all(map(is_simple, callbacks))):
        return None
    x, y, weight = options.get("x"), options.get("y"), options.get("sample_weight")
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
        epochs = arguments.whole(given[1], "fit: epochs", 0)
        rows = _rows_of_training(options, len(x))
    except (TypeError, ValueError):  # `fit` is to say so
        return None
    if not 0 < epochs * rows <= MOST_ORDERED:
        return None
    if config.max_epochs() is not None or config.max_steps_per_epoch() is not None:
        return None  # `fit` tells of these limits
    if not model.built or model._compiled is None or model._host is not None:
        return None
    return Plan(rows, min(batch, rows), epochs, shuffle, not (more or callbacks))


def is_simple(callback: Any) -> bool:
    """Whether a callback acts on its model alone, and can be restarted without a trace."""
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


class Likenesses:
    """Cache of likenesses, each derived from the first job that has it."""

    def __init__(self) -> None:
        self._known: dict[Any, list[Likeness]] = {}
        self._last: Likeness | None = None  # as most jobs are alike the one before

    def described(self, model: Any, options: Mapping[str, Any], plan: Plan) -> Description | None:
        """Description of a job with a plan; None if it must train alone."""
        compiled = model._compiled
        optimizer, given = compiled.optimizer, compiled.given
        if given["run_eagerly"] or compiled.scales or not optimizer.has_one_rate:
            return None
        infos = model._infos
        things = _Compared(
            (plan.batch, plan.is_plain, *_traits(options), *[(i.shape, i.dtype) for i in infos]),
            (*_COMPILED(given), optimizer, model),
            compiled.resolved,
        )
        last = self._last
        if last is not None and (found := last.described(things, optimizer)) is not None:
            return found
        if _is_of_one(given, optimizer):
            return None
        known = self._known.setdefault((*map(type, model._stack), things.traits), [])
        for each in known:
            if (found := each.described(things, optimizer)) is not None:
                self._last = each
                return found
        made = Likeness(things, optimizer)
        if sum(math.prod(each.shape) for each in made.first.variables) > MOST_WEIGHTS:
            return None
        known.append(made)
        self._last = made
        return Description(made, *made.first.listed())


class _Compared(NamedTuple):
    """Objects and values that are compared between jobs.

    Attributes:
        traits: of the arguments of `fit` and the data, and inputs and outputs.
        listed: arguments of `compile`, the optimizer and the model.
        resolved: losses and metrics, once they are known; values of their states do not count.
    """

    traits: tuple[Any, ...]
    listed: tuple[Any, ...]
    resolved: Any


def _traits(options: Mapping[str, Any]) -> list[Any]:
    """Shapes of rows and dtypes of a job's arrays, and whether it has weights of classes."""
    x, y, weight = options["x"], options["y"], options.get("sample_weight")
    found = [x.shape[1:], x.dtype, y.shape[1:], y.dtype, options.get("class_weight") is None]
    return found if weight is None else [*found, weight.shape[1:], weight.dtype]


def _is_of_one(given: Mapping[str, Any], optimizer: Any) -> bool:
    """Whether a model must train alone, for its optimizer or metrics that the user may ask."""
    if optimizer.gathers or optimizer._excluded or optimizer._excluded_names is not None:
        return True
    listed = leaves(given["metrics"]) + leaves(given["weighted_metrics"])
    of_users = any(isinstance(each, metrics.Metric) for each in listed)
    return of_users or isinstance(optimizer, _OF_OTHERS)


class Likeness:
    """Common form of the compared objects, of jobs with equal programs.

    Args:
        things: the compared objects of the first job.
        optimizer: its optimizer.

    Attributes:
        first: objects found in them, with their forms.
    """

    def __init__(self, things: _Compared, optimizer: Any) -> None:
        self.first = _First()
        self._traits = things.traits
        self._resolved = _Form(things.resolved, self.first, reads_states=False)
        self._listed = _Form(things.listed, self.first)
        self._paths = _of_paths(optimizer, self.first)
        self._count = len(self.first.forms)

    def described(self, things: _Compared, optimizer: Any) -> Description | None:
        """Description of a job that has the likeness; None for any other."""
        if things.traits != self._traits:
            return None
        found = _core.Found(self._count)
        try:
            if not self._resolved.fits(things.resolved, found):
                return None
            if not self._listed.fits(things.listed, found):
                return None
            if _of_paths(optimizer, found) != self._paths:
                return None
        except KeyError:  # a set of objects that were not found
            return None
        return Description(self, found.variables, found.generators, found.kept)


def _of_paths(optimizer: Any, found: _Walk) -> list[Any]:
    """Optimizer rules that depend on paths of weights, and which seeds are equal."""
    seeds = [each.seed for each in found.generators]
    parts: list[Any] = [seeds.index(seed) for seed in seeds]
    if optimizer.reads_paths or optimizer.rate_factors:
        factors = optimizer.rate_factors
        for each in found.variables:
            if each.trainable:
                decay, factor = optimizer.decay_of(each), factor_of(factors, each)
                parts.append((optimizer.row_of(each), repr(decay), repr(factor)))
    return parts


class _First:
    """Objects found in the first job, with their forms; of others the core's Found has them."""

    def __init__(self) -> None:
        self.forms: dict[int, _Form] = {}  # by ids of objects
        self.variables: list[Variable] = []
        self.generators: list[SeedGenerator] = []
        self.kept: list[Any] = []

    def number(self, thing: Any) -> int:
        """Number of the form of an object."""
        return self.forms[id(thing)].number

    def listed(self) -> tuple[list[Variable], list[SeedGenerator], list[Any]]:
        return self.variables, self.generators, self.kept


_Walk = _First | _core.Found


class _Form(_core.Form):
    """Form of an object: its class and attribute values, with nested objects as forms.

    Args:
        thing: the object.
        found: objects found so far; this one, and those within it, are added.
        reads_states: whether values of states are constants of a program.
    """

    def __init__(self, thing: Any, found: _First, reads_states: bool = True) -> None:
        before = len(found.variables) + len(found.generators)
        is_value = type(thing) in _VALUES
        number = -1 if is_value else len(found.forms)  # its place among the forms of a job
        if not is_value:
            found.forms[id(thing)] = self
        read = _reader(thing, found, reads_states)
        names, others = None, 0
        if is_value:
            values = [*thing, *(thing.values() if type(thing) is dict else ())]
        elif read is not None:
            values = [*read(thing, found)]
        else:
            names = _counted(thing)
            values, others = [vars(thing)[name] for name in names], len(vars(thing)) - len(names)
        super().__init__(thing, number, names, others, read)
        ways, expected = bytearray(), list[Any]()
        for each in values:
            way, value = _way(each)
            if way == _FORM:
                known = found.forms.get(id(each))
                value = known or _Form(each, found, reads_states)
                value.is_noted |= known is not None
                way += known is not None
            ways.append(way)
            expected.append(value)
        self.expect(tuple(map(type, values)), bytes(ways), tuple(expected))
        # An object that jobs share, and training does not change, is compared once.
        self.is_bare = len(found.variables) + len(found.generators) == before
        self.is_noted |= not (self.is_bare or is_value)


_EQUAL, _FIXED, _EMPTY, _FORM = range(4)  # of the core, with the next one for a form again


def _way(value: Any) -> tuple[int, Any]:
    """Way in which a value is compared, and with what."""
    kind = type(value)
    if _is_plain(value):
        return _EQUAL, value
    # Texts differ for -0.0 and 0.0, and for 1 and 1.0.
    if kind is float or (kind is tuple and all(map(_is_plain, value))):
        return _FIXED, value
    if (kind in _VALUES or kind is set) and not value:
        return _EMPTY, None
    return _FORM, None


def _is_plain(value: Any) -> bool:
    """Whether a value is compared by equality alone."""
    return type(value) in _PLAIN or (type(value) is float and abs(value) > 0.0)


def _nothing(thing: Any, found: _Walk) -> tuple[Any, ...]:
    """Values of an initializer: none, since its weights are drawn already."""
    return ()


def _reader(
    thing: Any, found: _First, reads_states: bool
) -> Callable[[Any, _Walk], tuple[Any, ...]] | None:
    """Function that takes values out of objects of a class, and notes what training changes.

    None for an object of cdl's, whose attributes are the values, and for containers.
    """
    kind = type(thing)
    if isinstance(thing, np.generic):
        return lambda thing, found: (repr(thing),)
    if kind is Variable:
        return _core.traits_of
    if kind is SeedGenerator:
        return _of_generator
    if kind is State:
        return _of_state if reads_states else lambda thing, found: (thing.dtype, *thing.shape)
    if isinstance(thing, Initializer):
        return _nothing
    if kind is set and all(id(each) in found.forms for each in thing):
        for each in thing:
            found.forms[id(each)].is_noted = True
        return lambda thing, found: (*sorted(map(found.number, thing)),)
    if kind is np.ndarray and thing.nbytes <= _MOST_BYTES:
        return lambda thing, found: (thing.dtype.str, *thing.shape, thing.tobytes())
    is_own = kind.__module__.startswith("cdl.") and hasattr(thing, "__dict__")
    return None if kind in _VALUES or is_own else _of_unknown


def _of_generator(thing: SeedGenerator, found: _Walk) -> tuple[Any, ...]:
    found.generators.append(thing)
    return (thing.was_given,)


def _of_state(thing: State, found: _Walk) -> tuple[Any, ...]:
    return (thing.dtype, *thing.shape, thing.numpy().tobytes())


def _of_unknown(thing: Any, found: _Walk) -> tuple[Any, ...]:
    found.kept.append(thing)
    return (id(thing),)


def _counted(thing: Any) -> tuple[str, ...]:
    """Names of attributes to compare: not initializers, whose weights exist, nor input specs."""
    kind, values = type(thing), vars(thing)
    left_out = _NAMES | {name for name in values if isinstance(values[name], Initializer)}
    if issubclass(kind, Layer):
        left_out |= kind._passing | {"input_spec"} | (_OF_STACKS if "_stack" in values else set())
    elif issubclass(kind, Optimizer):
        left_out |= OF_OPTIMIZERS
    if type(values.get("seed_generator")) is SeedGenerator:
        left_out |= {"seed"}  # which is the generator's
    return tuple(name for name in values if name not in left_out)
