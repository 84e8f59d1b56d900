"""plans.py - Plan: a program of training or evaluation, and what goes into it and comes out."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from cdl._program import Program, Value
from cdl._untraced import Untraced
from cdl.models.arrays import Arrays
from cdl.models.compiled import Reported, Settled
from cdl.models.eagerly import Calls
from cdl.models.whole_batches import WholeLoss

Rows = tuple[tuple[int, ...] | None, ...]


class Form(NamedTuple):
    """What a program depends on, of the data.

    Attributes:
        weights: shape of one row's sample weights, output by output: one number, or one a line;
            None without.
        targets: shape of one row of y, output by output, where somebody sees it.
        nest: as in Arrays.
    """

    weights: Rows
    targets: Rows
    nest: Any = None

    @property
    def key(self) -> Any:
        """The same, to be looked up by."""
        return self if self.nest is None else (*self[:2], repr(self.nest))


def form_of(arrays: Arrays, settled: Settled, own_loss: bool) -> Form:
    """The form of data.

    Args:
        arrays: the data.
        settled: what reads them: the core only counts the elements of a row of y, unless somebody
            sees its shape.
        own_loss: whether a `compute_loss` of the model's own sees all of them.
    """
    targets = weights = _NONE * len(arrays.y)
    if not (own_loss or settled.reads_y_as_it_is or arrays.weight):
        return _plain(len(targets))
    if own_loss:
        targets = tuple(None if y is None else y.shape[1:] for y in arrays.y)
    elif settled.reads_y_as_it_is:
        pairs = zip(arrays.y, [head.reads_y_as_it_is for head in settled.heads], strict=True)
        targets = tuple(y.shape[1:] if y is not None and seen else None for y, seen in pairs)
    if arrays.weight is not None:
        weights = tuple(None if w is None else w.shape[1:] for w in arrays.weight)
    return Form(weights, targets, arrays.nest)


_NONE: Rows = (None,)


@functools.lru_cache(64)
def _plain(outputs: int) -> Form:
    """That of data without weights, whose shapes nobody sees: the usual one."""
    return Form(_NONE * outputs, _NONE * outputs)


class Slot(NamedTuple):
    """One input of a program: which of the arrays it reads, and as what."""

    role: str  # the field of Arrays: "x", "y" or "weight"
    number: int  # of the model's input or output that the array belongs to
    dtype: str
    shape: tuple[int, ...]


class Inputs:
    """The inputs of a program as they are asked for; each array comes in once for each form."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._values: dict[Slot, Value] = {}

    def get(self, role: str, number: int, shape: tuple[int, ...], dtype: str = "float32") -> Value:
        """The input that has an array in that form."""
        slot = Slot(role, number, dtype, shape)
        if slot not in self._values:
            self._values[slot] = self._program.input(shape, dtype=dtype, role=role)
        return self._values[slot]

    def place(self, role: str, number: int, shape: tuple[int, ...]) -> int:
        """The number of the slot of that form."""
        self.get(role, number, shape)
        return list(self._values).index(Slot(role, number, "float32", shape))

    @property
    def values(self) -> list[Value]:
        """The program's inputs, in their order."""
        return list(self._values.values())

    @property
    def slots(self) -> tuple[Slot, ...]:
        """What feeds the program's inputs."""
        return tuple(self._values)


class Seen(NamedTuple):
    """Where Python code finds what belongs to an output: numbers of the program's slots."""

    y: int
    weight: int | None
    mask: int | None  # number of an output of the program


class Plan(NamedTuple):
    """A program that is ready for an Executor, and how its inputs and reports are called.

    Attributes:
        program: whose first outputs are those of the model.
        slots: what feeds its inputs.
        reports: what each of its reports is: the number of an output, whose loss it is; WHOLE, if
            it is the whole loss; or the key of a metric.
        seen: of each output whose loss or metrics are Python code; None for the others.
        penalized: ids of the weights whose regularizers are left to the program.
        untraced: regularizers that are not.
        observed: metrics that traced code shows values to.
        whole: a loss of the model's own that sees whole batches, if it has such.
        calls: the user's layers, if they are to see the numbers of each batch.
    """

    program: Program
    slots: tuple[Slot, ...]
    reports: tuple[int | str, ...]
    seen: tuple[Seen | None, ...]
    penalized: frozenset[int] = frozenset()
    untraced: tuple[Untraced, ...] = ()
    observed: tuple[Reported, ...] = ()
    whole: WholeLoss | None = None
    calls: Calls | None = None

    def fed(self, arrays: Arrays) -> list[Any]:
        """What goes into the program's inputs."""
        parts: Any = arrays
        return [parts[Arrays._fields.index(slot.role)][slot.number] for slot in self.slots]

    def nothing(self) -> list[Any]:
        """Arrays without rows, to let go of the last ones."""
        return [np.empty((0, *slot.shape), np.float32) for slot in self.slots]


WHOLE = -1  # among reports, where there is a number of an output


def keys_of_reports(
    program: Program, keys: dict[int, int | str]
) -> tuple[tuple[int | str, ...], tuple[Reported, ...]]:
    """What the reports of a program are, and the metrics among them that traced code shows values.

    Args:
        program: not fused yet.
        keys: what the reports are that lowering has appended, by their ids.
    """
    found: list[int | str] = []
    observed: list[Reported] = []
    for report in program.reports:
        key: Any = keys.get(id(report))
        if key is None:
            assert program.observed is not None
            key = program.observed[id(report)]
        if not isinstance(key, (int, str)):
            number = WHOLE - 1 - len(observed)
            observed.append(Reported(key.name, key, weighted=False, held=True, output=number))
            key = number
        found.append(key)
    return tuple(found), tuple(observed)


def with_others(observed: tuple[Reported, ...], held: Sequence[Any]) -> tuple[Reported, ...]:
    """Metrics that traced code shows values to, and those to which nothing does, in their order.

    As in Keras the logs have the latter too, with the values that they have by themselves.

    Args:
        observed: what `keys_of_reports` found.
        held: the Metrics that a model and its layers have as attributes.
    """
    known = {id(each.metric): each for each in observed}
    last = WHOLE - len(observed)
    for metric in held:
        if id(metric) not in known and _has_value(metric):
            last -= 1
            known[id(metric)] = Reported(metric.name, metric, False, held=False, output=last)
    places = {id(metric): i for i, metric in enumerate(held)}
    return tuple(sorted(known.values(), key=lambda each: places.get(id(each.metric), len(places))))


def _has_value(metric: Any) -> bool:
    """Whether it can be asked for its result before it has seen anything."""
    try:
        metric.result()
    except Exception:
        return False
    return True
