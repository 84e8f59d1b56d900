"""Programs of models whose code couples samples: one for each batch size.

Code that treats samples independently has one program for all batch sizes. A loss over pairs, or a
layer that compares samples, is traced for one batch size; a shorter last batch has a program of its
own. All share the weights, the optimizer's slots and its step counter.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from cdl import data
from cdl._ir.program import Program
from cdl._tracing.joining import telling
from cdl._tracing.keras_tensor import knowing_samples
from cdl._tracing.variable import Variable
from cdl.trainers.compile_utils import Compiled, Resolved
from cdl.trainers.data_adapter import Arrays
from cdl.trainers.lowering import Plan, lower_inference, lower_training
from cdl.trainers.signature import TrainableModel
from cdl.trainers.sizes import Form, outputs_of, own_rows
from cdl.trainers.train_function import TrainFunction

T = TypeVar("T")

_MOST = 4  # sizes of batches whose executors are kept
_SHOWN = 32  # samples of a batch in a program that is printed


def plan_of(
    model: TrainableModel,
    resolved: Resolved,
    form: Form,
    training: bool = True,
    scale: Variable | None = None,
    rows: int = _SHOWN,
) -> Plan:
    """Plan of a training or evaluation step; for batch size `rows` if code couples samples.

    Args:
        resolved: its losses and metrics.
        form: of the data.
        training: whether dropout and the like are part of it.
        scale: see `lower_training`.
        rows: how many samples each batch has.

    Raises:
        TypeError, ValueError: see `lower_training`.
    """
    plan, couples = of_rows(
        lambda: lower_training(model, resolved, form, training, scale),
        rows,
        any(getattr(entry.loss, "couples", False) for entry in resolved.losses),
    )
    return plan._replace(rows=rows) if couples else plan


def of_rows(lower: Callable[[], T], rows: int, couples: bool) -> tuple[T, bool]:
    """Result of a lowering, and whether it is for batch size `rows`, since it couples samples.

    Args:
        lower: the lowering.
        rows: how many samples each batch has.
        couples: whether the code is known to couple samples.

    Raises:
        TypeError, ValueError: error of `lower` for independent samples, or for joined ones.
    """
    refusal: Exception | None = None
    if not couples:
        try:
            return lower(), False
        except (TypeError, ValueError) as error:
            refusal = error
    try:
        with knowing_samples(rows):
            return lower(), True
    except (TypeError, ValueError) as error:
        raise error if refusal is None else telling(refusal, error) from None


def program_of(model: TrainableModel, compiled: Compiled | None) -> Program:
    """Program of a model for printing: of `predict`, or of a compiled training step.

    Before the first data targets are taken to have the shapes of the outputs, or to be class
    numbers where the loss wants them.
    """
    made = model._predictors_made
    rows = None if made is None else made.rows
    if compiled is None:
        try:
            return lower_inference(model, rows=rows)
        except (TypeError, ValueError):
            with knowing_samples(batch_of(model, _SHOWN)):
                return lower_inference(model, rows=rows)
    inputs, graph = rows or own_rows(model), model._graph_of_model
    outputs = outputs_of(model, graph, [np.empty((0, *row)) for row in inputs])
    shapes, nest = [info.shape for info in outputs], graph.output_nest()
    resolved = compiled.resolved or compiled.resolve(outputs, shapes, nest)
    if compiled.resolved is None:
        for i, target in enumerate(resolved.targets):
            if any(want == "classes" for _, want in target.readers):
                shapes[i] = shapes[i][:-1]
        resolved = compiled.resolve(outputs, shapes, nest)
    form = Form((None,) * len(outputs), tuple(info.row for info in outputs), inputs=rows)
    return plan_of(model, resolved, form, rows=batch_of(model, _SHOWN)).program


def mixes_samples(program: Program) -> bool:
    """Whether a program computes a value of all samples of a batch, such as a mean.

    Args:
        program: the program, whose batches may have any size.
    """
    return any(
        any(not each.shared for each in instruction.inputs)
        and any(each.shared for each in instruction.outputs)
        for instruction in program.instructions
    )


def batch_of(model: TrainableModel | None, default: int) -> int:
    """Fixed batch size of a model's inputs, or a default.

    Args:
        default: result for inputs of any batch size.
    """
    assert model is not None
    sizes = [info.shape[0] for info in model._graph_of_model.input_infos()]
    return next((size for size in sizes if size), default)


def in_batches(
    run: Callable[[list[Any]], list[Any]], x: list[Any], batch: int, one_by_one: bool
) -> list[NDArray[Any]]:
    """Outputs for all rows in batches of one size, and a last shorter one.

    Args:
        run: function from inputs of full batches, or of the last one, to outputs.
        one_by_one: whether each batch is a call of `run`, as for outputs without a batch axis:
            these are concatenated, as in Keras.

    Raises:
        ValueError: outputs of batches whose shapes do not fit.
    """
    n = len(x[0])
    cuts = {0, n // batch * batch, n} | set(range(0, n, batch) if one_by_one else ())
    parts = [run([each[at:end] for each in x]) for at, end in itertools.pairwise(sorted(cuts))]
    if len(parts) == 1:
        return parts[0]
    try:
        return [np.concatenate(list(map(np.atleast_1d, each))) for each in zip(*parts, strict=True)]
    except ValueError:
        shapes = [tuple(each.shape for each in part) for part in (parts[0], parts[-1])]
        raise ValueError(
            f"predict: batch_size must cut {n} samples into batches of one size, since all "
            f"outputs before the last batch have shapes {shapes[0]}, and its own {shapes[1]}, "
            f"got batch_size={batch}"
        ) from None


class CoupledFunction(TrainFunction):
    """Train function of coupled samples, with an executor for each batch size.

    Args:
        plan: plan for the first batch size.
        plans: function from a batch size to its plan.
        given: see `TrainFunction`.
    """

    def __init__(self, plan: Plan, plans: Callable[[int], Plan], *given: Any) -> None:
        self._plans = plans
        self._of_rows: dict[int, tuple[Plan, Any]] = {}
        self._rest: tuple[Arrays, NDArray[np.int64] | None] | None = None
        self._left = 0  # batches of the part of the pass that is under way
        super().__init__(plan, *given)

    def _capacity(self, rows: int) -> int:
        return rows

    def _make_executor(self, rows: int) -> None:
        if self._of_rows and self._is_outdated:
            self._of_rows.clear()
        if rows in self._of_rows:
            self.plan, self.executor = self._of_rows[rows]
            self.executor.reset()
            return
        if self.plan.rows != rows:
            self.plan = self._plans(rows)
        super()._make_executor(rows)
        if len(self._of_rows) >= _MOST:
            del self._of_rows[next(iter(self._of_rows))]
        self._of_rows[rows] = self.plan, self.executor

    def begin(self, arrays: Arrays, batch: int, order: NDArray[np.int64] | None = None) -> None:
        rows = arrays.samples if order is None else len(order)
        whole = rows // batch * batch
        self._rest = None
        if not whole:
            whole = batch = rows
        elif whole < rows and order is None:
            self._rest = arrays.each(lambda each: each[whole:]), None
            arrays = arrays.each(lambda each: each[:whole])
        elif whole < rows and order is not None:
            self._rest, order = (arrays, order[whole:]), order[:whole]
        if whole < rows:  # an error in it comes before a step
            if rows - whole not in self._of_rows:
                self._remake_executor(rows - whole)
            self._check_targets(arrays, rows - whole)
        super().begin(arrays, batch, order)
        self._left = whole // batch

    def _fed(self, arrays: Arrays) -> list[Any]:
        self._check_targets(arrays, self.executor.rows)
        return super()._fed(arrays)

    def _check_targets(self, arrays: Arrays, rows: int) -> None:
        """ValueError for targets of other sizes than the outputs of batches of so many samples."""
        inputs = self._of_rows[rows][0].program.inputs
        for (part, number), value in zip(self._feeds, inputs, strict=True):
            y = arrays.y[number] if arrays._fields[part] == "y" else None
            if y is not None and math.prod(y.shape[1:]) != math.prod(value.shape):
                shape = data.batch_of(value.shape)
                raise ValueError(
                    f"y must have shape {shape}, that of the output for batches of {rows} "
                    f"samples, got {y.shape}"
                )

    def run(self, steps: int, seconds: float) -> int:
        if not self._left and self._rest is not None:
            arrays, order = self._rest
            self.begin(arrays, arrays.samples if order is None else len(order), order)
        ran = super().run(min(steps, self._left), seconds)
        self._left -= ran
        return ran

    def release(self) -> None:
        self._rest = None
        for _, executor in self._of_rows.values():
            if executor is not self.executor:
                executor.release()
        super().release()

    @property
    def runs_fused(self) -> bool:
        return False
