"""Observer: the updates of metrics of a step that does not learn, as one program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cdl._core import Executor
from cdl._tracing import graph as graphs
from cdl._variables.stepping import Ref
from cdl.trainers.chains.link import Link
from cdl.trainers.custom.reads import Reads
from cdl.trainers.several_rows import Arguments, SeveralRows


def traced_calls(
    function: Callable[[Sequence[Any]], Any],
    kinds: Sequence[Any],
    read: Sequence[Any],
    program: SeveralRows,
) -> tuple[list[Any], Arguments, Reads]:
    """Append calls on the arrays of a batch to a program.

    Args:
        function: makes them, given symbolic arrays.
        kinds: shape and dtype of each array.
        read: layers, losses and other callables that they read.
        program: to append to.

    Returns:
        The values that the function gives, its arguments, and what it read.
    """
    reads = Reads(list(read), is_strict=False)
    arguments = Arguments([np.zeros(*each) for each in kinds])
    with arguments.tracing():
        specs = tuple(arguments.specs)
        graph = graphs.trace(lambda *_: function(arguments.symbols()), specs, {}, False)
        found = arguments.append(graph, program, arguments.inputs(program))
    reads.close()
    return found, arguments, reads


class Observer(Link):
    """Updates of metrics as one program, in place of a link that learns.

    Args:
        update: updates them, given symbolic arrays of the batch.
        inputs: numbers of these arrays.
        kinds: shape and dtype of each.
        read: layers, losses and other callables that the updates read.

    Attributes:
        metrics: the metric of each report of the program.
        unseen: what is read that cannot be compared later; or "".
    """

    def __init__(
        self,
        update: Callable[[Sequence[Any]], None],
        inputs: list[int],
        kinds: Sequence[Any],
        read: Sequence[Any],
    ) -> None:
        self.inputs, self._args = inputs, tuple(map(Ref, inputs))
        self._rows = kinds[0][0][0]
        self.is_fed, self.is_shown, self.changes, self.follows = True, False, False, False
        program = SeveralRows()
        observed = program.recorder.observed = dict[int, Any]()
        _, _, self._reads = traced_calls(update, kinds, read, program)
        self.unseen = self._reads.unseen
        self.metrics = [observed[id(each)] for each in program.reports]
        self.executor = Executor(program.fused(training=False), self._rows)

    def refresh(self) -> bool:
        """Do nothing: no optimizer steps."""
        return False

    @property
    def holds(self) -> bool:
        """Whether layers and losses are what they were."""
        return self._reads.hold()
