"""Functions that are traced and compiled for arguments of one form, with their derivatives."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl import tree
from cdl._core import Executor, Parameter
from cdl._ir.fusion import without_outputs
from cdl._ir.lowering import Lowering
from cdl._ir.program import Value
from cdl._tracing import graph as graphs
from cdl._tracing.derivatives import value_and_aux
from cdl._tracing.graph import KerasTensor
from cdl._tracing.variable import Variable
from cdl.data import brief
from cdl.layers.running import preparing
from cdl.trainers.custom.reads import Reads
from cdl.trainers.learner import learner
from cdl.trainers.several_rows import Arguments, SeveralRows
from cdl.trainers.vjp import Vjp

Array = NDArray[Any]


class _Traced:
    """Function, traced for the arguments of one call.

    Args:
        has_aux: whether it gives (value, aux).
        variables: by which it is differentiated.

    Attributes:
        arguments: as given.
        graph: what it does.
        before_step: functions of layers that change their weights before each step.
        prepared: weights of these layers.

    Raises:
        ValueError: it does not give one value of its arguments.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        arguments: Arguments,
        has_aux: bool,
        variables: Sequence[Variable],
    ) -> None:
        self.arguments = arguments

        def of_samples(*specs: KerasTensor) -> Any:
            scope = graphs.current_scope()
            assert scope is not None
            scope.sought = frozenset(map(id, variables))
            return function(*arguments.symbols())

        self.graph = graphs.trace(of_samples, tuple(arguments.specs), {}, False)
        value, self._aux = value_and_aux(self.graph.outputs, has_aux)
        if not isinstance(value, KerasTensor):
            raise ValueError(
                "grad: the function must give one value that depends on its arguments, got "
                f"{brief(value)}"
            )
        self._has_aux = has_aux
        self._tensors = [value, *_tensors(self._aux)]  # those that a program gives
        self._counts: list[int | None] = []
        self.before_step: list[Callable[[], None]] = []
        self.prepared: list[Variable] = []

    def append(self, program: Lowering, values: list[Value]) -> list[Value]:
        """Append the function to a program of `SeveralRows`; 0 in rows that do not count."""
        assert isinstance(program, SeveralRows)
        self.arguments.tell_integers(values)
        lowered = self.arguments.append(self.graph, program, values)
        value, aux = lowered if self._has_aux else (lowered, None)
        others = [each for each in tree.flatten(aux) if isinstance(each, Value)]
        self._counts = [program.count(each) for each in (value, *others)]
        return [program.masked(value), *others]

    def result(self, arrays: Sequence[Array]) -> Any:
        """Result of the function, from the outputs of the program."""
        parts = zip(self._tensors, arrays, self._counts, strict=True)
        value, *found = [self.arguments.own_rows(*each) for each in parts]
        if not self._has_aux:
            return value
        left = iter(found)
        return value, tree.map_structure(
            lambda leaf: next(left) if isinstance(leaf, KerasTensor) else copy.copy(leaf), self._aux
        )


def _tensors(structure: Any) -> list[KerasTensor]:
    return [each for each in tree.flatten(structure) if isinstance(each, KerasTensor)]


def _traced_and_lowered(
    arguments: Arguments,
    function: Callable[..., Any],
    has_aux: bool,
    numbers: Sequence[int],
    variables: list[Variable] | None,
    penalties: Sequence[str],
    observes: bool,
) -> tuple[_Traced, Vjp, list[Any]]:
    """Function of arguments of one form, what runs it, and its metrics; see `Compiled`."""
    program = SeveralRows(training=True)
    observed = program.recorder.observed = dict[int, Any]() if observes else None
    with arguments.tracing(), preparing() as prepared:
        traced = _Traced(function, arguments, has_aux, variables or ())
        vjp = Vjp(
            traced.append,
            [each.shape[1:] for each in arguments.arrays],
            program=program,
            by=numbers,
            variables=variables or (),
            weighted=False,
            penalties=penalties,
        )
    if not getattr(function, "replays", False):  # the calls themselves have
        traced.before_step = [each._before_step for each in prepared]
        traced.prepared = [v for each in prepared for v in each.variables]
    return traced, vjp, [(observed or {}).get(id(each)) for each in program.reports]


class Compiled:
    """Function compiled for arguments of one form, with its derivatives.

    Args:
        numbers: of the arguments to differentiate by, from 0.
        variables: weights to differentiate by in place of arguments, or None.
        has_aux: whether the function gives (value, aux).
        unseen: what it reads beside arguments that cannot be compared; "" if that stays as it is,
            None to look.
        penalties: see `Vjp`.
        observes: whether the function updates metrics.

    Attributes:
        metrics: the metric that each report of the program is for; None for the loss.
        holds: tells whether what the function has read beside its arguments is as it was.
        unseen: why that cannot be told, with the line; or "".
        takes_plain: whether arrays are read as they are given.
        weights: that are read.
        learns: whether an optimizer can take the gradients within the program.
        draws: whether it depends on random numbers.
        moves: weights that a call may change, such as moving averages.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        arguments: Arguments,
        numbers: Sequence[int],
        variables: list[Variable] | None,
        has_aux: bool,
        unseen: str | None,
        penalties: Sequence[str],
        observes: bool = False,
    ) -> None:
        reads = Reads(function, is_strict=variables is None) if unseen is None else None
        self.holds: Callable[[], bool] = (lambda: not unseen) if reads is None else reads.hold
        parts = (function, has_aux, numbers, variables, penalties, observes)
        try:
            self._traced, self._vjp, self.metrics = _traced_and_lowered(arguments, *parts)
        except (TypeError, ValueError) as error:
            arguments = arguments.whole()
            try:
                self._traced, self._vjp, self.metrics = _traced_and_lowered(arguments, *parts)
            except (TypeError, ValueError) as other:
                raise (other if "no derivative" in str(other) else error) from None
        if reads is not None:
            reads.close()
        self.unseen = reads.unseen if reads is not None else unseen or ""
        self._numbers, self._variables = numbers, variables
        places = {v: i for i, v in enumerate(self._vjp.learning)}
        self._places = [places.get(v) for v in variables or ()]
        self._as_given = self._places == list(range(len(places)))
        self.takes_plain = arguments.is_plain
        self.weights = self._vjp.variables
        self._traced.arguments = arguments.without_arrays()
        can_learn = (
            not self._traced.before_step
            and self._as_given
            and not self.unseen
            and self.takes_plain
            and bool(places)
        )
        self.learns = can_learn and self._vjp.gradients.learning is not None
        self.draws = self._vjp.gradients.draws
        moved = [*(v for v in self.weights if not v.trainable), *self._traced.prepared]
        self.moves = list(dict.fromkeys(moved))

    def learner(
        self, optimizer: Any, rows: int, after: Executor | None = None, is_shown: bool = True
    ) -> Executor:
        """Executor that hands the gradients to an optimizer at once; for one that `learns`.

        Args:
            optimizer: makes the steps.
            rows: of a batch.
            after: what runs behind each step.
            is_shown: whether results are read; else batches may be split, as in `fit`.
        """
        assert self._vjp.gradients.learning is not None
        program, rules = self._vjp.gradients.learning
        program = program if is_shown else without_outputs(program)
        return learner(program, rows, optimizer, self._vjp.learning, rules, after, not is_shown)

    def summer(self, rows: int, counter: Array) -> tuple[Executor, list[Parameter]]:
        """Executor that adds gradients to the parameters along with it; for one that `learns`.

        Args:
            rows: of a batch.
            counter: number of the step, from which dropout draws; counted up by the executor.
        """
        made = self._vjp.gradients.another()
        executor = made.of_rows(rows)
        executor.count_in(counter)
        return executor, list(made.sums.values())

    @property
    def by_weights(self) -> list[Variable]:
        """The weights to differentiate by."""
        return self._variables or []

    def shown(self, executor: Executor, rows: int) -> Any:
        """Result of the function for the last batch of a `learner`."""
        return self._traced.result([executor.output(i, rows) for i in self._vjp.results])

    def of(self, arrays: Sequence[Array], step: int) -> tuple[Any, list[Array]]:
        """Result, and gradient by each argument or weight; 0 for a weight that is not read."""
        for prepare in self._traced.before_step:
            prepare()
        if self._variables is None:
            results, found = self._vjp.of_all(arrays, step=step)
            self._vjp.trim()
            arguments = self._traced.arguments
            pairs = zip(self._numbers, found, strict=True)
            return self._traced.result(results), [arguments.gradient(*each) for each in pairs]
        results, found = self._vjp.by_weights(arrays, step)
        if not self._as_given:
            found = [
                np.zeros(v.shape, np.float32) if place is None else found[place].copy()
                for place, v in zip(self._places, self._variables, strict=True)
            ]
        return self._traced.result(results), found
