"""Executors of a model's predictions, by the rows per batch."""

from __future__ import annotations

import functools
import itertools
import weakref
from typing import Any

import numpy as np
from numpy import ndarray
from numpy.typing import NDArray

from cdl._common.dtypes import LOW
from cdl._common.validation import check_batches
from cdl._core import Executor
from cdl._ir.program import Program
from cdl._tracing.eager import Runner, in_dtypes
from cdl._tracing.keras_tensor import knowing_samples
from cdl._variables.draw_counts import counted, next_draw
from cdl._variables.program_caches import register_cache
from cdl.distribution import ranks
from cdl.layers.kept import KeptPrograms, Watch
from cdl.layers.lora import Merged, MergingExecutor
from cdl.random import core_seed
from cdl.trainers.custom.coupled import batch_of, in_batches, mixes_samples, of_rows
from cdl.trainers.custom.eager_step import Calls
from cdl.trainers.custom.steps import steps_itself
from cdl.trainers.lowering import lower_call, lower_with_calls
from cdl.trainers.signature import TrainableModel
from cdl.trainers.sizes import Rows

Array = NDArray[Any]

_REAL = frozenset(
    np.dtype(code) for code in np.typecodes["Float"] + np.typecodes["AllInteger"] + "?"
)
FEW = 32  # rows of the executor for few rows: Keras's batch size
MANY = 256  # rows of the executor for many rows, if no callback sees the batches


class Predictors:
    """Executors of a model's predictions, by the rows per batch.

    An Executor may be called from several threads at once, so one of each size is enough.

    Args:
        model: the model, built.
        rows: the shape of a sample of each input, for a model that takes several sizes.
    """

    def __init__(self, model: TrainableModel, rows: Rows | None = None) -> None:
        self.rows = rows
        self.outdated = False  # whether a layer computes otherwise by now
        self._merged: list[Merged] = []
        self._model = weakref.ref(model)
        self.coupled, self._size = False, FEW  # whether samples are; rows of a batch of them
        self._is_sized = False  # whether the program is for batches of one size
        try:
            self.program, self._watching = lower_with_calls(
                model, False, model.run_eagerly, rows, self._merged, assigns=True
            )
        except (TypeError, ValueError) as error:
            self.program, self._watching = self._lowered_coupled(error)
        self.training_by_default = model._training_by_default()
        layers = model._flatten_layers()
        self.before_step = [e._before_step for e in layers if hasattr(e, "_before_step")]
        graph = model._graph_of_model
        self._own = len(graph.output_infos())
        self._batch = self.program.batch_of_states  # which all batches must have; None: any
        # Rows that one call of an executor may take without a look at batches.
        self.at_once = range(1, MANY + 1)
        if self._batch is not None:
            self.at_once = range(self._batch, min(self._batch, FEW) + 1)
        elif self._is_sized:
            self.at_once = range(0)
        elif mixes_samples(self.program):
            self.coupled, self.at_once = True, range(1, FEW + 1)
        self._draws = self.program.draws
        self.assigns = self.program.assigns  # what one batch leaves behind for the next
        if self.assigns:
            self.at_once, self._runner = range(0), Runner(self.program)
        # Shape of a row of the one input of a model that gives one array; None for others, which
        # pack theirs, and for those that draw numbers, other ones in each call.
        self.row_shape: tuple[int, ...] | None = None
        takes_arrays = not self._draws and not graph.has_host_part()
        if len(self.program.inputs) == len(self.program.outputs) == 1 and takes_arrays:
            packed = graph.packed_outputs(self.program.outputs)
            custom = steps_itself(type(model), "predict")
            as_it_is = packed is self.program.outputs[0] and not graph.merges_rows()
            if as_it_is and not custom and not self.program.penalizes:
                self.row_shape = rows[0] if rows is not None else graph.input_infos()[0].row
        self._is_low = any(name in LOW for name in self.program.output_dtypes)
        self._integers = [
            info.dtype if info.dtype == "bool" or info.dtype.lstrip("u").startswith("int") else None
            for info in graph.output_infos()
        ]
        if self._is_low or any(self._integers):  # they are given in their dtypes
            self.row_shape = None
        self._by_shape: dict[tuple[int, ...], Executor | MergingExecutor] = {}  # of arrays that fit
        self.grew = True  # the memory of the executors, since `Sizes` looked at it
        self.few = self._executor(self._size)
        self._others: dict[int, Executor | MergingExecutor] = {}
        self._kept = KeptPrograms()  # of forward passes in training mode
        self._trains_coupled = False  # whether samples are in these
        self._counts = model._draw_counts()
        for each in self.program.hosted:
            each.tell()
        self.watch = Watch(model)  # type: ignore[arg-type] # a model is a layer
        register_cache(self)

    def _lowered_coupled(self, error: Exception) -> tuple[Program, Calls | None]:
        """Program of a model that couples samples; or the error."""
        self.coupled = self._is_sized = True
        self._merged = []
        try:
            self._size = batch_of(self._model(), FEW)
            return self._lowered_for(self._size)
        except (TypeError, ValueError):
            raise error from None

    def _lowered_for(self, samples: int) -> tuple[Program, Calls | None]:
        """Program for batches of `samples` samples, which it may couple."""
        model = self._model()
        assert model is not None
        with knowing_samples(samples):
            return lower_with_calls(model, False, model.run_eagerly, self.rows, assigns=True)

    def forget(self) -> None:
        """Invalidate these, so that the model makes others."""
        self.outdated, self.row_shape, self._by_shape = True, None, {}

    @property
    def bytes(self) -> int:
        """Memory of the executors in bytes."""
        return sum(each.memory()[0] for each in (self.few, *self._others.values()))

    def executor_for(self, x: Any) -> Executor | MergingExecutor | None:
        """Executor that predicts from x without conversion; None if x needs one."""
        if type(x) is not ndarray or x.dtype not in _REAL:
            return None
        executor: Executor | MergingExecutor | None
        try:
            executor = self._by_shape[x.shape]
        except KeyError:
            executor = self._first_for(x.shape)
        return executor if self.watch.steady or self.watch.holds() else None

    def _first_for(self, shape: tuple[int, ...]) -> Executor | MergingExecutor | None:
        by_shape = self._by_shape  # that of another thread's `forget` is a new dict
        if not shape or shape[1:] != self.row_shape or shape[0] not in self.at_once:
            return None
        found = by_shape[shape] = self.few if shape[0] <= FEW else self.of(MANY)
        return found

    def of(self, rows: int) -> Executor | MergingExecutor:
        """Executor for batches of `rows` rows."""
        if rows == self._size:
            return self.few
        executor = self._others.get(rows)
        if executor is None:
            if len(self._others) >= 4:  # sizes that came once must not pile up
                self._others.clear()
                self._by_shape = {}
            self.grew = True
            executor = self._others[rows] = self._executor(rows)
        return executor

    def _executor(self, rows: int) -> Executor | MergingExecutor:
        program = self.program
        if self._is_sized and rows != self._size:
            program, _ = self._lowered_for(rows)
        executor = Executor(program, rows, predicts=True)
        return MergingExecutor(executor, self._merged) if self._merged else executor

    def run(self, x: list[Array], batch_size: int | None = None) -> list[Array]:
        """Outputs for all rows of checked inputs."""
        return self._as_integers(self._run(x, batch_size))

    def _as_integers(self, outputs: list[Array]) -> list[Array]:
        """Outputs with integers and booleans where the model declares them."""
        if not any(self._integers):
            return outputs
        others = outputs[len(self._integers) :]  # that layers of the user see
        pairs = zip(outputs, self._integers, strict=False)
        return [a if dtype is None else a.astype(dtype) for a, dtype in pairs] + others

    def _run(self, x: list[Array], batch_size: int | None = None) -> list[Array]:
        n = len(x[0])
        if self.assigns:
            return in_batches(self._assigned, x, min(batch_size or FEW, n), one_by_one=True)
        if self._watching is not None:
            return self._run_eagerly(self._watching, x, batch_size or FEW)
        if self.coupled:
            return self._run_coupled(x, min(batch_size or self._size, n))
        if self._batch is not None:
            check_batches("predict", self._batch, min(self._batch, n), n)
            batch_size = self._batch
        rows = batch_size or MANY
        is_one = n <= min(rows, FEW) and self._batch in (None, n)
        if is_one:  # a batch that threads share, also if it has one row
            rows = FEW
        if rows > MANY:  # no more than there are, and not a number of its own for each x
            rows = min(rows, -(-n // MANY) * MANY)
        call = next_draw(self._counts[1].__next__) if self._draws else 0
        outputs = self.of(rows).predict(x, core_seed(), call)
        outputs = outputs if len(self.program.outputs) > 1 else [outputs]
        return in_dtypes(outputs, self.program.output_dtypes) if self._is_low else outputs

    def _assigned(self, part: list[Array]) -> list[Array]:
        """Outputs of a batch, which assigns weights as `call` of a layer says."""
        runner = self._runner
        for weight in self._merged:
            weight.refresh()
        if self._is_sized and len(part[0]) != self._size:
            runner = Runner(self._lowered_for(len(part[0]))[0])
        call = next_draw(self._counts[1].__next__) if self._draws else 0
        outputs = runner.batch(part, call, core_seed()).outputs
        if self._watching is not None:
            self._watching.run(outputs.__getitem__)
        return outputs[: self._own]

    def _run_coupled(self, x: list[Array], batch: int) -> list[Array]:
        """Outputs for all rows in batches, of which the last may have its own executor."""
        rows = (
            FEW if batch == len(x[0]) <= FEW else batch
        )  # that a program of any size runs at once

        def run(part: list[Array]) -> list[Array]:
            call = next_draw(self._counts[1].__next__) if self._draws else 0
            executor = self.of(min(batch, len(part[0])) if self._is_sized else rows)
            found = executor.predict(part, core_seed(), call)
            return found if len(self.program.outputs) > 1 else [found]

        has_shared = any(each.shared for each in self.program.outputs)
        outputs = in_batches(run, x, batch, one_by_one=has_shared)
        return in_dtypes(outputs, self.program.output_dtypes) if self._is_low else outputs

    def run_shared(self, x: list[Array], batch_size: int | None = None) -> list[Array]:
        """Outputs for all rows of checked inputs, each rank computing a part.

        Random numbers and states depend on the rows before; with these each rank computes all.
        """
        shared = ranks.with_same_data()
        n = len(x[0])
        parted = not (
            self._draws or self._batch or self._watching or self.coupled or self.assigns
        ) and all(not each.shared for each in self.program.outputs)
        if shared is None or not parted or n < MANY * shared.size:
            return self.run(x, batch_size)
        ends = [n * rank // shared.size for rank in range(shared.size + 1)]
        first, last = ends[shared.rank], ends[shared.rank + 1]
        counts = [b - a for a, b in itertools.pairwise(ends)]
        found = self._run([each[first:last] for each in x], batch_size)
        return self._as_integers([shared.rows(each, counts) for each in found])

    def in_one(self, model: TrainableModel, x: list[Array], training: bool) -> list[Array]:
        """Outputs of checked inputs, taken as one batch, whose penalties the model shows then."""
        coupled, eager, watching = self.coupled or self._trains_coupled, model.run_eagerly, None

        def lowered() -> tuple[Program, Calls | None]:
            lower = functools.partial(lower_call, model, training, eager, self.rows)
            found, self._trains_coupled = of_rows(lower, len(x[0]), coupled)
            model._watch_layers()  # a `call` of the user's may have set attributes
            return found

        if eager:
            program, watching = lowered()
            runner = Runner(program, training)
        else:
            key = training, len(x[0]) if coupled else None
            runner = self._kept.get(model, key, lambda: Runner(lowered()[0], training))
        if not training:
            step = next_draw(self._counts[1].__next__) if self._draws else 0
        elif model._place is None:
            step = counted(self._counts[0].__next__)
        else:
            step, model._calls = model._place, model._calls + 1
        outputs, penalty = runner.batch(x, step, core_seed())
        if runner.program.penalizes:
            model._penalize(penalty)
        if watching is not None:
            watching.run(outputs.__getitem__)
        return outputs[: self._own]

    def _run_eagerly(self, watching: Calls, x: list[Array], rows: int) -> list[Array]:
        """Outputs batch by batch; user layers see each batch."""
        parts = []
        for at in range(0, len(x[0]), rows):
            batch = [each[at : at + rows] for each in x]
            few = len(batch[0]) if self.coupled else rows
            found = self.of(few).predict(batch, core_seed(), next_draw(self._counts[1].__next__))
            watching.run(found.__getitem__)
            own = self.program.output_dtypes[: self._own]
            parts.append(in_dtypes(found[: self._own], own))
        return [np.concatenate(each) for each in zip(*parts, strict=True)]
