"""Causes of a NaN or infinite loss: weights, data, a layer, or the steps.

As long as losses are finite only new weights are looked at, when a `fit` begins with some that it
has not left itself. Once a loss is not finite, what was lost before the run is named; else the data
are searched; then they are run through the layers, the weights that are lost replaced by fresh
ones; if all that stays finite, it was training itself that overflowed.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl import _core
from cdl._common.dtypes import FLOATS
from cdl._common.errors import leave_to_other, warn
from cdl._core import Executor, Sparse
from cdl._ir.lowering import Lowering, Recorder
from cdl._ir.program import Value
from cdl._tracing.keras_tensor import knowing_samples
from cdl._tracing.variable import Variable
from cdl.layers import Layer
from cdl.trainers.compile_utils import Compiled, Resolved
from cdl.trainers.data_adapter import Arrays
from cdl.trainers.signature import TrainableModel, labels, output_names
from cdl.utils.job import job

Array = NDArray[Any]
_AT_A_TIME = 4096  # rows
_MOST = 1 << 16  # rows that are run through the layers
_SHOWN = 5  # columns that are named
_DRAWS = 4  # of fresh weights: one may have no negative output, say, of which a loss is NaN
_LOST = 1e10  # what no weight of a sound net is
_ONES = ("gamma", "variance", "scale")  # what weights are called that begin with 1


def tell(
    model: TrainableModel,
    compiled: Compiled,
    arrays: Any,
    loss: float,
    call: str,
    in_batches: bool = False,
) -> None:
    """Warn of a loss that is not finite, with its cause.

    Args:
        arrays: the data, or those of the last batch.
        call: the place, such as "fit".
        in_batches: whether there were other batches, of which nothing is left.

    Raises:
        StandsInError: a run that stands in for the one that is to warn.
    """
    leave_to_other(call)  # without a search
    resolved = compiled.resolved
    lost = (
        _lost(_looked_at(model, False)) if call in ("evaluate", "test_on_batch") else compiled.lost
    )
    reason = None
    if isinstance(arrays, Arrays) and resolved is not None:  # else a step of the model's own
        reason = _in_data(model, arrays, "the last batch" if in_batches else "")
        reason = reason or (None if lost else _in_layers(model, arrays, resolved))
    elif not lost:
        return
    compiled.told_not_finite = True
    if lost:
        reason = _of_weights(lost, call) + ("" if reason is None else f"; and {reason}")
    if reason is None and model.optimizer is None:
        reason = "data and layers are finite"
    elif reason is None:
        rate = float(model.optimizer.learning_rate)
        reason = (
            f"steps were too large, since data and layers are finite: lower the learning_rate of "
            f"{rate:g}, or give the optimizer clipnorm=1.0"
        )
        if in_batches:
            reason = f"an earlier batch was not finite, or {reason}"
        elif compiled.unlooked:
            reason = f"an earlier batch or weights set since the first were not finite, or {reason}"
    warn(f"{job.front}{call}: the loss has become {loss}: {reason}")


# --- weights before a run ---


def look_before(model: TrainableModel, again: bool = True) -> None:
    """Record which weights are not finite before a run of training.

    Args:
        again: whether to look at weights that have changed since a run left them.
    """
    compiled = model._compiled
    assert compiled is not None
    if compiled.stamps is not None:
        parameters, versions = compiled.stamps
        compiled.unlooked = not again
        if not again or _core.versions(parameters) == versions:
            return
    variables = _looked_at(model, True)
    kept = [each.storage for _, each in variables if isinstance(each, Variable)]
    _note(compiled, _lost(variables), kept)


def note_sound(model: TrainableModel, parameters: list[_core.Parameter]) -> None:
    """Record that weights and slots in the core's memory were finite, as a run has found them."""
    assert model._compiled is not None
    _note(model._compiled, [], parameters)


def _note(
    compiled: Compiled, lost: list[tuple[str, str, str]], parameters: list[_core.Parameter]
) -> None:
    compiled.unlooked, compiled.lost = False, lost
    compiled.stamps = parameters, _core.versions(parameters)


def look_after(model: TrainableModel, logs: dict[str, Any]) -> None:
    """Record the weights after a run of training, so that the next need not check them."""
    compiled, loss = model._compiled, logs.get("loss", 0.0)
    if compiled is None or compiled.stamps is None:
        return
    if isinstance(loss, float) and math.isfinite(loss):
        parameters, _ = compiled.stamps
        compiled.stamps = parameters, _core.versions(parameters)
    else:
        compiled.stamps = None


def _looked_at(model: TrainableModel, training: bool) -> list[tuple[str, Any]]:
    """Kind and variable of weights and, in training, of optimizer slots."""
    trained = set(map(id, model._trained()))
    kinds = [("weight" if id(each) in trained else "state", each) for each in model.weights]
    if training and getattr(model.optimizer, "built", False):
        kinds += [("slot", each) for each in model.optimizer.variables]
    return kinds


def _lost(variables: Iterable[tuple[str, Any]]) -> list[tuple[str, str, str]]:
    """Kind, path and value of those that are not finite."""
    found = []
    for kind, variable in variables:
        of_core = isinstance(variable, Variable)
        if of_core and (variable.storage.finite or variable.kept_dtype not in FLOATS):
            continue
        values = variable.storage.get() if of_core else variable.numpy()
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            found.append((kind, variable.path, "NaN" if np.isnan(values).any() else "inf"))
    return found


def _of_weights(lost: list[tuple[str, str, str]], call: str) -> str:
    """Text about weights that were not finite before a run."""
    kind, path, value = lost[0]
    run = "this fit" if call.startswith("fit") else f"this call of {call}"
    more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
    called = {
        "weight": f"weights were {value} before {run}",
        "state": f"a state of a layer was {value} before {run}",
        "slot": f"what the optimizer keeps was {value} before {run}, though weights are finite",
    }[kind]
    remedy = {
        "weight": "set or load others, or build the model anew; an optimizer that has made steps "
        "with them keeps them too, so compile again",
        "state": "set or load others, or build the model anew",
        "slot": "compile again, which makes a new optimizer if it is given by name",
    }[kind]
    return f"{called} ({path!r}{more}): {remedy}"


# --- the data ---


def refuse(x: Any, owner: str) -> None:
    """Raise ValueError for an array, or one in a list or dict, with NaN or infinity.

    Raises:
        ValueError: which columns and rows have them.
    """
    parts: dict[Any, Any] = {"": x}
    if isinstance(x, Mapping):
        parts = {f"[{key!r}]": each for key, each in x.items()}
    elif isinstance(x, (list, tuple)) and all(isinstance(each, np.ndarray) for each in x):
        parts = {f"[{i}]": each for i, each in enumerate(x)}
    for place, part in parts.items():
        array = np.asarray(part)
        found = _described(array, None) if array.ndim else None
        if found is not None:
            raise ValueError(f"{owner}{place} must be finite, it holds {found}")


def _in_data(model: TrainableModel, arrays: Arrays, place: str) -> str | None:
    """Text about data that are not finite; None if all are."""
    columns = {} if model._columns is None else model._columns.names
    x = ["x"] if len(arrays.x) == 1 else labels("x", "input", model._graph_of_model.input_names())
    y = ["y"] if len(arrays.y) == 1 else labels("y", "output", output_names(model._graph_of_model))
    weights = arrays.weight or ()
    parts: list[tuple[Any, str, Any]] = [
        (array, x[i], columns.get(i)) for i, array in enumerate(arrays.x)
    ]
    parts += [(array, y[i], None) for i, array in enumerate(arrays.y) if len(y) == len(arrays.y)]
    parts += [(array, "sample_weight", None) for array in weights]
    for array, name, names in parts:
        found = None if array is None else _described(array, names)
        if found is not None:
            owner = f"{name} of {place}" if place else name
            return (
                f"{owner} holds {found}: give other numbers in their place, or leave those rows out"
            )
    return None


def _described(array: Any, names: tuple[str, ...] | None) -> str | None:
    """Columns of an array with NaN or infinity, and in how many rows; None without any."""
    nan = inf = False
    columns: set[int] = set()
    rows, first = 0, 0
    for values, at, column in _lost_values(array):
        nan, inf = nan or bool(np.isnan(values).any()), inf or bool(np.isinf(values).any())
        first = first if rows else int(at[0])
        rows += len(np.unique(at))
        columns.update(np.unique(column).tolist())
    if not rows:
        return None
    where = ""
    if len(array.shape) == 2 and array.shape[1] > 1:
        if names is not None and len(names) == array.shape[1]:
            shown = [repr(names[j]) for j in sorted(columns)]
        else:
            shown = [str(j) for j in sorted(columns)]
        more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
        where = f" in column{'s'[: len(shown) - 1]} {', '.join(shown[:_SHOWN])}{more}"
    kind = "NaN and inf" if nan and inf else "NaN" if nan else "inf"
    return f"{kind}{where}, in {rows} of {array.shape[0]} rows, the first of them row {first}"


def _lost_values(array: Any) -> Iterator[tuple[Array, Array, Array]]:
    """Values that are not finite as float32, some rows at a time, with their rows and columns."""
    if array.dtype.kind != "f":
        return
    for start in range(0, array.shape[0], _AT_A_TIME):
        part = array[start : start + _AT_A_TIME]
        values = part.values[part.starts[0] : part.starts[-1]] if isinstance(part, Sparse) else part
        with np.errstate(over="ignore"):
            values = np.asarray(values, np.float32).reshape(len(values), -1)
        rows, columns = np.nonzero(~np.isfinite(values))
        if not len(rows):
            continue
        found = values[rows, columns]
        if isinstance(part, Sparse):
            stored = part.starts[0] + rows
            rows = np.searchsorted(part.starts, stored, "right") - 1
            columns = part.columns[stored]
        yield found, start + rows, columns


# --- the layers ---


def _in_layers(model: TrainableModel, arrays: Arrays, resolved: Resolved) -> str | None:
    """Text about the first layer or loss whose output is not finite; else None."""
    at_a_time, rows = _AT_A_TIME, min(arrays.samples, _MOST)
    try:
        program, given, outputs = _watched_program(model, arrays)
    except (TypeError, ValueError):  # it couples samples
        at_a_time = min(at_a_time, rows)
        rows -= rows % at_a_time
        with knowing_samples(at_a_time):
            program, given, outputs = _watched_program(model, arrays)
    pairs = _first_givers(given)
    watched = [
        _called(each, [other for other, _ in pairs[i:]]) for i, (each, _) in enumerate(pairs)
    ]
    outputs += [value for _, value in pairs]
    for value in outputs:
        program.output(value)
    executor = Executor(program.fused(False, penalties=False), at_a_time)
    kept = [(each, np.asarray(each)) for each in model.weights]
    lost = [(each, array) for each, array in kept if not (np.abs(array) < _LOST).all()]
    try:
        for seed in range(_DRAWS if lost else 1):
            for variable, array in lost:
                variable.assign(_fresh(variable.name, array.shape, np.random.default_rng(seed)))
            for start in range(0, rows, at_a_time):
                batch = arrays.rows(start, start + at_a_time)
                reason = _in_batch(executor, batch, resolved, watched)
                if reason is not None:
                    return reason
    finally:
        for variable, array in lost:
            variable.assign(array)
    return None


def _watched_program(
    model: TrainableModel, arrays: Arrays
) -> tuple[Lowering, list[tuple[Any, Value]], list[Value]]:
    """Program of a model, the outputs of its layers, each by its layer, and its own."""
    given: list[tuple[Any, Value]] = []
    program = Lowering(recorder=Recorder(watched=given))
    values = [program.input(each.shape[1:], role="x") for each in arrays.x]
    return program, given, list(model.append_all(program, values))


def _first_givers(watched: list[tuple[Any, Value]]) -> list[tuple[Any, Value]]:
    """Values of samples, each with the first layer or operation that produced it."""
    found: dict[int, tuple[Any, Value]] = {}
    for each, value in watched:
        before, _ = found.get(id(value), (None, value))
        better = before is None or (isinstance(each, Layer) and not isinstance(before, Layer))
        if better and not value.shared:
            found[id(value)] = each, value
    return list(found.values())


def _called(operation: Any, later: list[Any]) -> str:
    """Text for an operation: its layer's name, or the layer that it comes before."""
    if isinstance(operation, Layer):
        return f"layer {operation.name!r}"
    layer = next((each for each in later if isinstance(each, Layer)), None)
    return f"{operation.name!r}" + (f" before layer {layer.name!r}" if layer is not None else "")


def _in_batch(
    executor: Executor, batch: Arrays, resolved: Resolved, watched: list[str]
) -> str | None:
    """Text about the first output that is not finite in a batch, of a layer or loss."""
    found = executor.predict(list(batch.x), 0, 0)
    n_outputs = len(resolved.targets)
    for name, array in zip(watched, found[n_outputs:], strict=True):
        if not np.isfinite(array).all():
            kind = "NaN" if np.isnan(array).any() else "inf"
            return f"{name} is the first to give {kind}, for data that are finite"
    for entry in resolved.losses:
        if entry.names is None and _is_lost(entry.loss, batch.y[entry.output], found[entry.output]):
            return (
                f"the loss {entry.loss.name!r} gives that for outputs and targets that are finite"
            )
    return None


def _is_lost(loss: Any, y: Array | None, p: Array) -> bool:
    """Whether a loss of finite values is not finite."""
    if y is None:
        return False
    try:
        with np.errstate(all="ignore"):
            return not np.isfinite(np.asarray(loss(y, p))).all()
    except ValueError:  # shapes that only the program brings together
        return False


def _fresh(name: str, shape: tuple[int, ...], random: np.random.Generator) -> Array:
    """Plausible initial values of a weight."""
    if len(shape) < 2:
        return np.full(shape, float(name.endswith(_ONES)))
    bound = math.sqrt(6 / sum(shape[-2:]))
    return random.uniform(-bound, bound, shape)
