"""Lowering of a model, its losses and its metrics to a program with named inputs."""

import math
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

from cdl import _core, losses, metrics, regularizers, tree
from cdl._common.dtypes import bound_of_dtype
from cdl._common.naming import FreeNames
from cdl._common.overriding import overrides
from cdl._ir import emit
from cdl._ir.instruction import REDUCTIONS, Instruction
from cdl._ir.lowering import Lowering, Recorder
from cdl._ir.program import Program, Value
from cdl._tracing.keras_tensor import known_samples
from cdl._tracing.untraced import Untraced
from cdl._tracing.variable import Variable
from cdl.layers.call_arguments import takes
from cdl.layers.in_programs import cast_value
from cdl.optimizers.scaled_gradients import has_float16, scale_gradients
from cdl.trainers.compile_utils import Logged, Resolved
from cdl.trainers.custom.eager_step import Calls
from cdl.trainers.custom.losses import given_to_loss, lower_custom_loss
from cdl.trainers.data_adapter import Arrays
from cdl.trainers.signature import TrainableModel
from cdl.trainers.sizes import Form, Rows, own_rows


class Slot(NamedTuple):
    """Input of a program: which array it reads, and in which form."""

    role: str  # the field of Arrays: "x", "y" or "weight"
    number: int  # of the model's input or output that the array belongs to
    dtype: str
    shape: tuple[int, ...]


class Inputs:
    """Inputs of a program, created on request; each array once per form."""

    def __init__(self, program: Lowering) -> None:
        self._program = program
        self._values: dict[Slot, Value] = {}
        self._numbers: dict[Slot, int] = {}

    def get(self, role: str, number: int, shape: tuple[int, ...], dtype: str = "float32") -> Value:
        """Input for an array in that form."""
        slot = Slot(role, number, dtype, shape)
        if slot not in self._values:
            self._numbers[slot] = len(self._values)
            self._values[slot] = self._program.input(shape, dtype=dtype, role=role)
        return self._values[slot]

    def place(self, role: str, number: int, shape: tuple[int, ...]) -> int:
        """Number of the slot of that form."""
        self.get(role, number, shape)
        return self._numbers[Slot(role, number, "float32", shape)]

    @property
    def values(self) -> list[Value]:
        """Inputs of the program, in their order."""
        return list(self._values.values())

    @property
    def slots(self) -> tuple[Slot, ...]:
        """Slots of the program's inputs."""
        return tuple(self._values)


class PythonInputs(NamedTuple):
    """Slot numbers of an output's targets and weights, for Python code."""

    y: int
    weight: int | None
    mask: int | None  # number of an output of the program


class Plan(NamedTuple):
    """Program for an Executor, with the roles of its inputs and the keys of its reports.

    Attributes:
        program: whose first outputs are those of the model.
        slots: array and form of each input.
        reports: kind of each report: number of a loss, MODEL_LOSS for the whole loss, or key of a
            metric.
        python_inputs: of each output whose loss or metrics are Python code; None for the others.
        penalized: ids of the weights whose regularizers are in the program.
        untraced: regularizers that run in Python.
        observed: metrics that traced code shows values to.
        calls: calls of the user's layers, if these see the arrays of each batch.
        rows: batch size, for code that couples samples; None for any.
    """

    program: Program
    slots: tuple[Slot, ...]
    reports: tuple[int | str, ...]
    python_inputs: tuple[PythonInputs | None, ...]
    penalized: frozenset[int] = frozenset()
    untraced: tuple[Untraced, ...] = ()
    observed: tuple[Logged, ...] = ()
    calls: Calls | None = None
    rows: int | None = None

    def fed(self, arrays: Arrays) -> list[Any]:
        """Arrays for the program's inputs."""
        parts: Any = arrays
        return [parts[Arrays._fields.index(slot.role)][slot.number] for slot in self.slots]


MODEL_LOSS = -1  # among reports, where there is a number of a loss


def keys_of_reports(
    program: Lowering, keys: dict[int, int | str]
) -> tuple[tuple[int | str, ...], tuple[Logged, ...]]:
    """Keys of a program's reports, and the metrics among them that traced code updates.

    Args:
        program: not fused yet.
        keys: what the reports are that lowering has appended, by their ids.
    """
    found: list[int | str] = []
    observed: list[Logged] = []
    for report in program.reports:
        key: Any = keys.get(id(report))
        if key is None:
            assert program.recorder.observed is not None
            key = program.recorder.observed[id(report)]
        if not isinstance(key, (int, str)):
            number = MODEL_LOSS - 1 - len(observed)
            observed.append(Logged(key.name, key, weighted=False, held=True, output=number))
            key = number
        found.append(key)
    return tuple(found), tuple(observed)


def with_others(
    observed: tuple[Logged, ...], held: Sequence[Any], taken: Iterable[str]
) -> tuple[Logged, ...]:
    """Metrics that traced code updates, and those that nothing updates, in their order.

    As in Keras the logs have the latter too, with the results of their own states.

    Args:
        observed: what `keys_of_reports` found.
        held: the Metrics that a model and its layers have as attributes.
        taken: names in the logs of other values: a metric of such a name gets the next free one.
            "loss" is none of them: as in Keras, a metric of that name stands in its place.
    """
    names = FreeNames(*taken)
    known = {id(each.metric): each for each in observed}
    last = MODEL_LOSS - len(observed)
    for metric in held:
        if id(metric) not in known and _has_value(metric):
            last -= 1
            known[id(metric)] = Logged(metric.name, metric, False, held=False, output=last)
    places = {id(metric): i for i, metric in enumerate(held)}
    found = sorted(known.values(), key=lambda each: places.get(id(each.metric), len(places)))
    return tuple(each._replace(name=names.take(each.name)) for each in found)


def _has_value(metric: Any) -> bool:
    """Whether a metric has a result before its first update."""
    try:
        metric.result()
    except Exception:
        return False
    return True


def lower_inference(
    model: TrainableModel,
    training: bool = False,
    rows: Rows | None = None,
    merged: list[Any] | None = None,
    unrolls: bool = False,
) -> Program:
    """Program of `predict`: x in, the outputs out; with dropout if `training`.

    Args:
        training: whether dropout and the like are part of it.
        rows: the shape of a sample of each input; None for the model's own.
        merged: list that gets the weights of LoRA which are read as one sum; None: each is read.
        unrolls: whether steps of loops are appended one by one, for exports without loops.
    """
    return lower_with_calls(model, training, False, rows, merged, unrolls)[0]


def lower_with_calls(
    model: TrainableModel,
    training: bool,
    eager: bool,
    rows: Rows | None = None,
    merged: list[Any] | None = None,
    unrolls: bool = False,
    penalties: bool = False,
    assigns: bool = False,
) -> tuple[Program, Calls | None]:
    """Program of `predict` and, if `eager`, the calls of user code in it.

    With `assigns` it assigns what `call` of a layer does, which an export cannot.
    """
    recorder = Recorder(calls=[]) if eager else Recorder(merged=merged)
    program = Lowering(training, recorder, unrolls)
    values = [program.input(row, role="x") for row in rows or own_rows(model)]
    _mark_whole(model, values)
    for value in model.append_all(program, values):
        program.output(value)
    calls = (Calls(program) or None) if eager else None
    found = program.fused(training, penalties, assigns)
    own = program.instructions
    found.penalizes = any(each.op in ("activity", "objective") for each in own)
    return found, calls


def lower_call(
    model: TrainableModel, training: bool, eager: bool, rows: Rows | None
) -> tuple[Program, Calls | None]:
    """Program of a call of a model, as of `lower_with_calls`, with penalties of activities."""
    return lower_with_calls(model, training, eager, rows, penalties=True, assigns=True)


def lower_training(
    model: TrainableModel,
    resolved: Resolved,
    form: Form,
    training: bool = True,
    scale: Variable | None = None,
) -> Plan:
    """Program of a training or evaluation step: x, y and weights in, loss and metrics out.

    Args:
        resolved: its losses and metrics; those in Python are left to `HostFunctions`, which reads
            their targets from the inputs.
        form: of the data.
        training: whether dropout and the like are part of it.
        scale: factor of gradients in float16, or None.

    Raises:
        ValueError: for a loss that training cannot take, or if there is none.
    """
    custom, penalties = overrides(type(model), "compute_loss"), True
    custom = custom or any(entry.names is not None for entry in resolved.losses)
    step = _Step(model, resolved, form, training)
    if custom:
        penalties = step.add_custom_loss()
    else:
        step.add_losses()
        step.check_apart()
        if training and not step.has_loss():
            raise ValueError("the model must be compiled with a loss to be trained, got loss=None")
    step.add_metrics()
    if scale is not None and has_float16(step.program):
        scale_gradients(step.program, scale)
    return step.plan(penalties)


class _Step:
    """Program of a step under construction: the model, then losses and metrics."""

    def __init__(
        self, model: TrainableModel, resolved: Resolved, form: Form, training: bool
    ) -> None:
        self._model = model
        self._losses = resolved.losses
        self._targets = resolved.targets
        self._metrics = resolved.metrics
        self._form = form
        self._recorder = Recorder(observed={}, calls=[] if resolved.eager else None)
        self.program = Lowering(training, self._recorder)
        self._inputs = Inputs(self.program)
        rows = form.inputs or own_rows(model)
        self._xs = [self._inputs.get("x", i, row) for i, row in enumerate(rows)]
        _mark_whole(model, self._xs)
        # A `call` without a `training` argument runs as in inference, as in Keras.
        told = not overrides(type(model), "call") or takes(type(model), "training")
        with nullcontext() if told else self.program.fixed():
            self._outputs = model.append_all(self.program, self._xs)
        for value in self._outputs:
            self.program.output(value)
        # Losses and metrics see float32, and one number a sample along an axis.
        floats = (cast_value(self.program, value, "float32") for value in self._outputs)
        self._scored = [y if y.shape else emit.reshape(self.program, y, (1,)) for y in floats]
        self._keys: dict[int, int | str] = {}  # of reports, by their ids
        self._apart: dict[int, bool] = {}  # whether values of a loss stay apart, by its number
        self._penalized: frozenset[int] = frozenset()
        self._untraced: tuple[Untraced, ...] = ()

    def _weight(self, number: int) -> Value | None:
        """Sample weights of an output, one a sample or one a line."""
        shape = self._form.weights[number]
        if shape is None:
            return None
        line_by_line = () if math.prod(shape) == 1 else (*shape, 1)
        return self._inputs.get("weight", number, line_by_line)

    def _target(self, number: int, wants: str) -> Value:
        """Input for y in the form of the loss: values, one number a line, or labels."""
        prediction, shape = self._scored[number], self._form.targets[number] or ()
        if wants == "labels":
            return self._inputs.get("y", number, shape, "int32")
        if wants == "traced":
            return self._inputs.get("y", number, shape)
        if wants == "classes":
            return self._inputs.get("y", number, prediction.shape[:-1], "int32")
        if wants == "numbers":
            return self._inputs.get("y", number, (*prediction.shape[:-1], 1))
        return self._inputs.get("y", number, prediction.shape)

    def add_losses(self) -> None:
        """Append the losses of `compile`, and those of layers."""
        for number in range(len(self._targets)):
            self._weight(number)
        external_grads = {}
        for number, entry in enumerate(self._losses):
            i = entry.output
            if not losses.is_compiled(entry.loss):
                self._apart[number] = entry.loss.in_programs == "none"
                external_grads[i] = self._outputs[i]
                continue
            scale, target, y = entry.scale, self._target(i, entry.loss.wants), self._scored[i]
            if scale == 0.0:  # it is logged all the same
                scale, y = 1.0, _stopped(self.program, y)
            loss = entry.loss.lower(self.program, target, y, self._weight(i), scale, y.mask)
            self._keys[id(loss)] = number
            self._apart[number] = _is_apart(loss)
        self.program.external_grads = list(external_grads.values())
        model = self._model
        weights = model._trained() if self.program.training else model.trainable_variables
        self._penalized, self._untraced = _lower_penalties(self.program, weights)

    def check_apart(self) -> None:
        """Refuse losses of which one is a number and another has values that stay apart."""
        if self.program.training and len(set(self._apart.values())) > 1:
            names = [self._losses[i].loss.name for i, apart in self._apart.items() if apart]
            raise ValueError(
                "losses: reduction must be None of all losses or of none, since each number counts "
                f"once for all values that stay apart; got None of {names} alone"
            )

    def has_loss(self) -> bool:
        """Whether there is a loss to train by, of `compile` or of layers."""
        ops = [_core.OPS[each.op] for each in self.program.instructions]
        scored = any(op.reports and op.gives_gradient for op in ops)
        return scored or bool(self.program.external_grads)

    def add_custom_loss(self) -> bool:
        """Append the model's `compute_loss`; whether it includes the layers' losses."""
        ys, weights = (
            [
                None if shape is None else self._inputs.get(kind, i, shape)
                for i, shape in enumerate(shapes)
            ]
            for kind, shapes in (("y", self._form.targets), ("weight", self._form.weights))
        )
        model, nest = self._model, self._form.nest
        graph = model._graph_of_model
        batch: list[Any] = [graph.packed_inputs(self._xs), None, None, None]
        batch[2] = graph.packed_outputs(self._scored)
        if nest is not None:
            batch[1] = tree.map_structure(lambda number: ys[number], nest)
            batch[3] = weights[0]
        elif len(ys) == len(self._outputs):
            for i, each in ((1, ys), (3, weights)):
                batch[i] = None if each.count(None) == len(ys) else graph.packed_outputs(each)
        self._penalized = frozenset(map(id, model.trainable_variables))
        if self._recorder.calls is not None:
            given = given_to_loss(model, batch, self.program.training)
            self._recorder.calls.append((model, type(model).compute_loss, given))
        self._check_no_slip()
        loss, asked = lower_custom_loss(model, self.program, batch, self.program.training)
        self._keys[id(loss)] = MODEL_LOSS
        self.program.external_grads = []
        return asked

    def _check_no_slip(self) -> None:
        """Refuse to couple samples where numbers (n,) stand beside predictions (n, 1)."""
        numbers = () in self._form.targets and any(y.shape == (1,) for y in self._outputs)
        if known_samples() is not None and numbers:
            raise ValueError(
                "compute_loss: y must have as many axes as the predictions, got shapes (n,) and "
                "(n, 1), which together are (n, n): y[:, None] goes with them row by row"
            )

    def add_metrics(self) -> None:
        """Append those metrics of `compile` that the core has."""
        for each in self._metrics:
            if metrics.is_compiled(each.runs):
                y = self._scored[each.output]
                target = self._target(each.output, each.runs.wants)
                weight = self._weight(each.output) if each.weighted else None
                if each.runs.heeds_masks:
                    weight = _masked(self.program, weight, y.mask)
                report = each.runs.lower(self.program, target, y, weight)
                self._keys[id(report)] = each.name

    def _python_inputs(self, number: int) -> PythonInputs:
        """Slots of y and weights in the user's shape, for Python code of an output."""
        at, mask = None, self._outputs[number].mask
        if mask is not None:
            at = len(self.program.outputs)
            self.program.output(mask)
        y = self._inputs.place("y", number, self._form.targets[number] or ())
        shape = self._form.weights[number]
        weight = None if shape is None else self._inputs.place("weight", number, shape)
        return PythonInputs(y, weight, at)

    def plan(self, penalties: bool) -> Plan:
        """Finished plan; without `penalties` activity penalties are left out."""
        in_python = [each.in_python for each in self._targets]
        seen = tuple(self._python_inputs(i) if each else None for i, each in enumerate(in_python))
        calls = None
        if self._recorder.calls is not None:
            calls = Calls(self.program, self._model.trainable_variables, self._penalized) or None
        reports, observed = keys_of_reports(self.program, self._keys)
        taken = [*(m.name for m in self._metrics), *(str(e.logged) for e in self._losses)]
        observed = with_others(observed, self._model._held_metrics(), taken)
        program = self.program.fused(self.program.training, penalties)
        slots = self._inputs.slots
        parts = (self._penalized, self._untraced, observed, calls)
        return Plan(program, slots, reports, seen, *parts)


def _mark_whole(model: TrainableModel, values: Iterable[Value]) -> None:
    """Mark integer inputs, which no layer's policy may round."""
    for value, info in zip(values, model._graph_of_model.input_infos(), strict=True):
        value.is_whole = "float" not in info.dtype
        value.label = f"input {info.name!r}" if value.is_whole else None
        value.most = bound_of_dtype(info.dtype)


def _lower_penalties(
    program: Lowering, variables: Iterable[Variable]
) -> tuple[frozenset[int], tuple[Untraced, ...]]:
    """Append custom weight regularizers; the ids of those weights, and the other weights."""
    done, others = set(), []
    for variable in variables:
        penalty = variable.regularizer
        if penalty is None or regularizers.compiled(penalty) is not None:
            continue
        graph, reason = regularizers.traced(penalty, variable.shape)
        if graph is None:
            function = penalty if hasattr(penalty, "__code__") else type(penalty).__call__
            name = getattr(penalty, "__name__", type(penalty).__name__)
            others.append(Untraced(f"regularizer {name!r} of {variable.path!r}", function, reason))
        else:
            value = graph.lower(program, [program.param(variable)])
            program.objective(value, reduction="sum", counts=False)
            done.add(id(variable))
    return frozenset(done), tuple(others)


def _stopped(program: Lowering, value: Value) -> Value:
    """Value without a gradient, for readers that pass none."""
    stopped = program.emit("stop", (value,), value.shape)
    stopped.mask = value.mask
    return stopped


def _is_apart(loss: Instruction) -> bool:
    """Whether a loss is no number but the values of samples, without a reduction."""
    value = loss.inputs[0]
    is_number = value.shared and not value.shape
    return loss.attributes["reduction"] == REDUCTIONS.index("none") and not is_number


def _masked(program: Lowering, weight: Value | None, mask: Value | None) -> Value | None:
    """Weights of a metric's lines: sample weights, 0 where the mask is 0."""
    if weight is None or mask is None:
        return weight if mask is None else mask
    return program.emit("mask_weights", (weight, mask), mask.shape, (), reads=3, ignored=0, mean=0)
