"""Vjp: derivatives of a function or a model by its inputs and by weights, for a batch.

All gradients that are not part of `fit` come from here: of `value_and_grad`, `Model.gradients`,
`cdl.explain`, of losses that see whole batches, and of the tape in scripts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl._common.locks import new_rlock
from cdl._core import Executor, Parameter, clear_all, get_all
from cdl._ir.lowering import Lowering
from cdl._ir.program import Instruction, Program, Value
from cdl._tracing.variable import Variable
from cdl.random import core_seed
from cdl.trainers.custom.weight_rules import WeightRules
from cdl.trainers.signature import TrainableModel

Array = NDArray[np.float32]
_MOST = 1024  # rows of a batch
_MOST_BYTES = 2**23  # of an executor that is kept for gradients by inputs
STEPS = 2**30 - 1  # distinct step numbers, and batches without an update


class GradientExecutor:
    """Executor whose steps leave the weights alone, and its accumulated gradients.

    The core keeps no whole gradients: their blocks go straight into the optimizer. Here the
    optimizer accumulates gradients over very many batches before its first step, so that its sum
    after one batch is the gradient, and no weight changes.

    Args:
        program: with a loss, fused for training.
        variables: weights to differentiate by.
        penalized: ids of the weights whose penalties are in the program.

    Attributes:
        sums: gradients by weight.
        lock: to be held from `begin` until results have been read.
    """

    def __init__(
        self, program: Program, variables: Sequence[Variable], penalized: Collection[int] = ()
    ) -> None:
        self.lock = new_rlock()
        self.sums = {v: Parameter(v.storage.shape, v.storage.matrix) for v in variables}
        self._sums = list(self.sums.values())
        self._program, self._penalized = program, penalized
        self._weight_rules = WeightRules(variables, True, penalized, constrains=False)
        self._executor: Executor | None = None

    def of_rows(self, rows: int) -> Executor:
        """Executor for batches of up to `rows` rows."""
        if self._executor is None or self._executor.rows < rows:
            learning: dict[Variable, list[Parameter]] = {v: [] for v in self.sums}
            rules = {
                "penalties": self._weight_rules.rules["penalties"],
                "added_gradients": self._weight_rules.rules["added_gradients"],
                "gradient_accumulation_steps": STEPS + 1,
                "accumulators": self.sums,
            }
            options: Any = {"optimizer": [("sgd", {}, learning)], "rules": rules}
            self._executor = Executor(
                self._program, rows, training=True, **(options if learning else {})
            )
        return self._executor

    def another(self) -> GradientExecutor:
        """One of the same program, with sums of its own."""
        return GradientExecutor(self._program, list(self.sums), self._penalized)

    @property
    def draws(self) -> bool:
        """Whether the program draws random numbers."""
        parts = self._program.flat(False).instructions
        return any(each.draws or "seed" in each.attributes for each in parts)

    @property
    def learning(self) -> tuple[Program, dict[str, Any]] | None:
        """The program and the rules of its update; None if Python runs in it."""
        program, rules = self._program, self._weight_rules
        if rules.in_python or program.hosted or program.batch_of_states:
            return None
        return program, rules.rules

    def trim(self) -> None:
        """Free a large executor: another one is made faster than it runs."""
        if self._executor is not None and self._executor.memory()[0] > _MOST_BYTES:
            self._executor = None

    def begin(self, arrays: Sequence[Any], rows: int) -> Executor:
        """Load data for batches of `rows` rows, with the sums reset."""
        executor = self.of_rows(rows)
        self._reset()
        executor.begin(arrays, rows)
        return executor

    def _reset(self) -> None:
        clear_all(self._sums)
        self._weight_rules.before_step()

    def train(self, step: int) -> None:
        """Accumulate the gradients of the next batch.

        Args:
            step: number of the step, from which dropout draws its mask.
        """
        executor = self.of_rows(1)
        executor.train(1, 0.0, np.zeros(1, np.float32), step % STEPS, core_seed())

    def once(
        self, arrays: Sequence[Any], step: int, outputs: Sequence[int]
    ) -> tuple[list[Array], list[Array]]:
        """Outputs of a batch, and its gradients by the weights, in their order.

        Args:
            step: as in `train`.
            outputs: numbers of those that are wanted.
        """
        rows = len(arrays[0])
        with self.lock:
            executor = self.of_rows(rows)
            self._reset()
            executor.once(arrays, 0.0, step % STEPS, core_seed())
            return [executor.output(i, rows) for i in outputs], get_all(self._sums)


class Vjp:
    """Derivative of the sum of (output * factor) by inputs and weights, as in inference.

    Args:
        append: appends the function to a program: from values of the inputs to the output, or to a
            list of the output and other values, which are results too.
        shapes: of one sample of each input.
        layer: one that is called on the way, for `of_layer`.
        program: an empty one to append to; None for one of the usual kind.
        by: numbers of the inputs to differentiate by; None for all.
        variables: weights to differentiate by.
        weighted: whether elements of the output can have factors.
        penalties: what adds to the derivative: "weights" are the regularizers of these, "outputs"
            those of activities and what layers add.

    Attributes:
        shape: of one sample of the output; None if it is one number for all samples.
        variables: the weights that are read.
        learning: those among them to differentiate by.
        gradients: the executor.
    """

    def __init__(
        self,
        append: Callable[[Lowering, list[Value]], Any],
        shapes: Sequence[tuple[int, ...]],
        layer: Any = None,
        program: Lowering | None = None,
        by: Sequence[int] | None = None,
        variables: Sequence[Variable] = (),
        weighted: bool = True,
        penalties: Collection[str] = ("weights", "outputs"),
    ) -> None:
        program = Lowering(training=True) if program is None else program
        program.recorder.probed = None if layer is None else (layer, [])
        program.recorder.learning = set(map(id, variables))
        values = [program.input(shape) for shape in shapes]
        probes = []
        for i in range(len(shapes)) if by is None else by:
            values[i] = program.emit("probe", (values[i],), values[i].shape)
            probes.append(values[i])
        with program.fixed(training=False):
            found = append(program, values)
        if "outputs" not in penalties:
            program.instructions = [e for e in program.instructions if not _is_penalty(e)]
        results = found if isinstance(found, list) else [found]
        y = total = results[0]
        self.shape = None if y.shared else y.shape
        flat = program.flat(training=True)
        self._mixes = flat.draws or any(map(_mixes, flat.instructions))
        self._weighted = weighted and not y.shared
        if self._weighted:
            total = program.map("multiply", [y, program.input(y.shape, role="y")])
        _append_loss(program, total)
        if program.recorder.probed:
            probes += program.recorder.probed[1]
        for value in results + probes:
            program.output(value)
        self.results = range(len(results))
        self._inputs = range(len(results), len(results) + len(shapes if by is None else by))
        self._calls = range(self._inputs.stop, len(program.outputs))
        fused = program.fused(training=True)
        self.variables = fused.variables
        read = set(map(id, self.variables))
        self.learning = list(dict.fromkeys(v for v in variables if id(v) in read))
        penalized = () if "weights" in penalties else set(map(id, self.learning))
        self.gradients = GradientExecutor(fused, self.learning, penalized)

    def of(self, arrays: Sequence[Any], factor: Any = None) -> tuple[Array, list[Array]]:
        """Output, and the derivative by each input, of the input's shape.

        Args:
            factor: of each element of the output; None for 1.
        """
        results, gradients = self.of_all(arrays, factor)
        return results[0], gradients

    def of_all(
        self, arrays: Sequence[Any], factor: Any = None, step: int = 0
    ) -> tuple[list[Array], list[Array]]:
        """All results, and the derivative by each input.

        Args:
            factor: as in `of`.
            step: what is drawn at random depends on it.
        """
        joined = self._run(arrays, factor, self.results, self._inputs, step)
        return joined[: len(self.results)], joined[len(self.results) :]

    def by_weights(self, arrays: Sequence[Any], step: int) -> tuple[list[Array], list[Array]]:
        """All results, and the derivative by each weight of `learning`; inputs are one batch.

        Args:
            step: what is drawn at random depends on it.
        """
        return self.gradients.once(arrays, step, self.results)

    def of_layer(self, arrays: Sequence[Any], factor: Any = None) -> tuple[Array, Array]:
        """Output of the layer, and the derivative by it.

        Args:
            factor: as in `of`.

        Raises:
            ValueError: the layer is not called, or more than once.
        """
        if len(self._calls) != 1:
            raise ValueError(
                f"layer must be one that is called once on the way, got {len(self._calls)} calls"
            )
        values, gradients = self._run(arrays, factor, self._calls, self._calls)
        return values, gradients

    def trim(self) -> None:
        """Free memory that is worth more than the time to take it anew."""
        with self.gradients.lock:
            self.gradients.trim()

    def _run(
        self,
        arrays: Sequence[Any],
        factor: Any,
        values: Sequence[int],
        gradients: Sequence[int],
        step: int = 0,
    ) -> list[Array]:
        """Some outputs of the program, and the gradients of some."""
        rows = len(arrays[0])
        if self._weighted:
            ones = np.ones((rows, *(self.shape or ())), np.float32)
            arrays = [*arrays, ones if factor is None else factor]
        batch = rows if self._mixes else max(1, min(rows, _MOST))
        parts: list[list[Array]] = []
        with self.gradients.lock:
            executor = self.gradients.begin(arrays, batch)
            for _ in range(-(-rows // batch)):
                self.gradients.train(step)
                found = [executor.output(i) for i in values]
                parts.append(found + [executor.gradient(i) for i in gradients])
            executor.release()
        if len(parts) == 1:
            return parts[0]
        return [
            np.concatenate(each) if each[0].ndim else each[0] for each in zip(*parts, strict=True)
        ]


def _append_loss(program: Lowering, total: Value) -> None:
    """Append the sum of a value as the loss; means and sums of losses of lines as in `fit`."""
    makers = {id(y): each for each in program.instructions for y in each.outputs}
    value, source, scale, reduction = total, makers.get(id(total)), 1.0, "sum"
    while source is not None and source.op in ("batch_reduce", "reduce", "reshape"):
        kind = source.attributes.get("kind", reduction)
        if kind not in ("mean", "sum"):
            break
        n = prod(source.inputs[0].shape) / prod(value.shape)
        if source.op == "batch_reduce":
            reduction, scale = kind, scale * (prod(value.shape) if kind == "mean" else 1)
        else:
            scale *= {("mean", "sum"): 1 / n, ("sum", "mean"): n}.get((kind, reduction), 1.0)
        value = source.inputs[0]
        source = makers.get(id(value))
    if source is None or source.op != "line_loss":
        program.objective(total, reduction="sum")
        return
    attributes = dict(source.attributes)
    kind, (prediction, target) = attributes.pop("kind"), source.inputs
    program.loss(kind, target, prediction, None, scale, reduction, **attributes)


def _mixes(instruction: Instruction) -> bool:
    """Whether an instruction has to see all rows as one batch, or draws other numbers for each."""
    op, attributes = instruction.op, instruction.attributes
    if op == "batch_norm":
        return not attributes["frozen"]
    return op in ("batch_reduce", "join_batch") or "seed" in attributes


def _is_penalty(instruction: Instruction) -> bool:
    """Whether an instruction only adds a penalty; activity ops stay, with penalties set to 0."""
    if instruction.op == "activity":
        instruction.attributes.update(l1=0.0, l2=0.0)
    return instruction.op == "objective" and not instruction.attributes["counts"]


def of_model(
    model: TrainableModel,
    rows: Sequence[tuple[int, ...]],
    output: int | str | None = None,
    layer: Any = None,
) -> Vjp:
    """Vjp of one output of a model, which keeps it.

    Args:
        rows: the shape of a sample of each input.
        output: its number or name; None if there is one.
        layer: one of the model's, for `of_layer`.

    Raises:
        ValueError: a model that is not built, or has no such output.
    """
    infos = model._graph_of_model.output_infos()
    names = [info.name for info in infos]
    if output is None and len(infos) > 1:
        raise ValueError(f"output must be one of {names} or its number, got None")
    number = 0 if output is None else names.index(output) if output in names else output
    if not isinstance(number, int) or not 0 <= number < len(infos):
        raise ValueError(f"output must be one of {names} or its number, got {output!r}")

    def append(program: Lowering, values: list[Value]) -> Value:
        return model.append_all(program, values)[number]

    key = ("vjp", tuple(rows), number, id(layer))
    return model._kept_programs.get(model, key, lambda: Vjp(append, rows, layer))
