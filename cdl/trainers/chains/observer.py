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
        self._reads = Reads(list(read), is_strict=False)
        arguments, program = Arguments([np.zeros(*each) for each in kinds]), SeveralRows()
        observed = program.recorder.observed = dict[int, Any]()
        with arguments.tracing():
            specs = tuple(arguments.specs)
            graph = graphs.trace(lambda *_: update(arguments.symbols()), specs, {}, False)
            arguments.append(graph, program, arguments.inputs(program))
        self._reads.close()
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
