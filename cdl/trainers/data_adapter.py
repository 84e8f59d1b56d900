"""Checks of the user's data: checked Arrays and a built model.

All that can be wrong with data is found here, before a layer is built, a weight is changed or the
core is called; so a call that fails leaves the model as it was.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cdl import _core, data, losses, tree
from cdl._common.errors import warn
from cdl._common.overriding import overrides
from cdl.trainers.compile_arguments import up_to
from cdl.trainers.compile_utils import Compiled, Resolved, Target
from cdl.trainers.custom.steps import arrays_in
from cdl.trainers.frame_columns import notice
from cdl.trainers.signature import GraphOfModel, Info, Shape, TrainableModel, labels, output_names
from cdl.trainers.sizes import Form, form_of, outputs_of

Array = NDArray[Any]


def by_output(graph: GraphOfModel, compiled: Compiled, given: Any, name: str) -> list[Any]:
    """Targets or weights as one element per output.

    As in Keras, a list may have only the elements of those outputs that have a loss or metric.
    """
    names = output_names(graph)
    if len(names) > 1 and given is not None and not isinstance(given, Mapping):
        specs = compiled.specs(names, graph.output_nest())
        read = [i for i, each in enumerate(specs) if each.reads_target]
        parts = list(given) if isinstance(given, (list, tuple)) else [given]
        alike = up_to(graph.output_nest(), given) is not None
        if len(parts) == len(read) < len(names) and not alike:
            placed = dict(zip(read, parts, strict=True))
            return [placed.get(i) for i in range(len(names))]
    return graph.flat_targets(given, name)


def sample_weights(
    graph: GraphOfModel, compiled: Compiled, given: Any, rows: int, call: str
) -> list[Array | None]:
    """Sample weights by output, checked to have as many rows; one array is for all."""
    names = output_names(graph)
    name = f"{call}: sample_weight"
    if len(names) == 1 and not isinstance(given, Mapping):
        while isinstance(given, (list, tuple)) and len(given) == 1 and hasattr(given[0], "__len__"):
            given = given[0]
        return [data.of_samples(given, rows, name)]
    if not isinstance(given, (list, tuple, Mapping)):
        weight = data.of_samples(given, rows, name)
        if weight.size != rows:
            raise ValueError(
                f"{name} must have shape ({rows},), one weight for each row of x, as one array for "
                f"{len(names)} outputs, got {weight.shape}: give a list or dict of arrays"
            )
        return [weight] * len(names)
    flat = by_output(graph, compiled, given, name)
    of_each = labels(name, "output", names)
    return [
        None if each is None else data.of_samples(each, rows, which)
        for each, which in zip(flat, of_each, strict=True)
    ]


def class_weights(
    class_weight: Mapping[int, float], ys: Sequence[Array | None], call: str
) -> Array:
    """Weights of samples by their classes, for a model of one output."""
    if len(ys) > 1:
        raise ValueError(
            f"{call}: class_weight must be None for a model of {len(ys)} outputs: give "
            "sample_weight, an array for each output"
        )
    if ys[0] is None:
        raise ValueError(f"{call}: y must be given for class_weight")
    return data.of_classes(class_weight, ys[0], f"{call}: class_weight")


def fit_weights(
    weights: Sequence[Array | None], resolved: Resolved, outputs: Sequence[Info], call: str
) -> list[Array | None]:
    """Sample weights in the shape that the core's loss and weighted metrics take; ValueError."""
    names = labels(f"{call}: sample_weight", "output", [info.name for info in outputs])
    fitted: list[Array | None] = []
    for i, (weight, info) in enumerate(zip(weights, outputs, strict=True)):
        lines = [info.row[:-1] for each in resolved.metrics if each.weighted and each.output == i]
        compiled = filter(losses.is_compiled, resolved.targets[i].losses)
        lines += [loss.lines(info.row) for loss in compiled]
        for shape in lines if weight is not None else ():
            assert weight is not None
            weight = data.of_lines(weight, shape, names[i])
        fitted.append(weight)
    return fitted


def checked_targets(
    y: Array | None, target: Target, output: tuple[int, ...], name: str
) -> Array | None:
    """Targets of an output, checked against all that reads them."""
    if y is None:
        if target.readers:
            raise ValueError(f"{name} must be given for the {target.readers[0][0]}, got None")
        return None
    checked = False
    classes = [getattr(loss, "ignore_class", None) for loss in target.losses]
    ignored = next((each for each in classes if each is not None), None)
    for why, wants in target.readers:
        if wants == "values":
            y = data.fit_values(y, output, name, why)
        elif wants == "classes":
            y = data.fit_classes(y, output, name, why)
            if not checked:
                check_classes(y, output[-1] or len(y), name, why, ignored)  # or they are samples
                checked = True
        elif wants == "labels":
            if y.ndim != 2:
                raise ValueError(
                    f"{name} must have shape (n, labels), class numbers padded by 0, "
                    f"for the {why}, got {y.shape}"
                )
            check_classes(y, output[-1], name, why)
    return y


def warn_of_no_probabilities(y: Array | None, loss: Any, name: str) -> None:
    """Warn of targets that are no probabilities, for which a crossentropy has no minimum.

    Keras trains on them without a word; so do calls with one batch.
    """
    if y is None or not _of_probabilities(loss) or not y.size or y.dtype.kind == "b":
        return
    low, high = y.min(), y.max()
    if low < 0 or high > 1:
        warn(
            f"{name} should hold numbers from 0 to 1 for loss {loss.name!r}, got numbers "
            f"from {low:g} to {high:g}: the loss can fall without end"
        )


def _of_probabilities(loss: Any) -> bool:
    """Whether a loss is a crossentropy whose targets are probabilities."""
    row = getattr(loss, "row", "")
    return row.endswith(("binary_crossentropy", "categorical_crossentropy")) and "sparse" not in row


def check_classes(y: Array, classes: int, name: str, why: str, ignored: int | None = None) -> None:
    """Raise ValueError for the first label that is no class number, nor the one to ignore."""
    bad = _core.check_classes(y, classes)
    if bad >= 0 and ignored is not None:
        bad = _core.check_classes(np.where(y == ignored, 0, y), classes)
    if bad >= 0:
        row = bad // max(1, y[:1].size)
        label = y.flat[bad]
        raise ValueError(
            f"{name} must hold class numbers from 0 to {classes - 1} for the {why}, "
            f"got {label} in row {row}"
        )


class Arrays(NamedTuple):
    """Checked data, a row a sample: the arrays that programs read.

    Attributes:
        x: one array an input of the model.
        y: one an output, or None if nothing reads it.
        weight: one an output, None where all samples weigh 1; or None.
        nest: how y is nested, with its numbers as leaves, where it is not one array an output: for
            a `compute_loss` of the model's own.
        form: theirs, if it is known already.
    """

    x: tuple[Array, ...]
    y: tuple[Array | None, ...]
    weight: tuple[Array | None, ...] | None
    nest: Any = None
    form: Form | None = None

    @property
    def samples(self) -> int:
        """The number of samples."""
        return len(self.x[0])

    def without_weights(self) -> "Arrays":
        """Data in which all samples weigh 1."""
        return self._replace(weight=None, form=None)

    def all(self) -> list[Array]:
        """List of all arrays."""
        given = (*self.x, *self.y, *(self.weight or ()))
        return [each for each in given if each is not None]

    def rows(self, start: int, stop: int) -> "Arrays":
        """Slice of the rows, as views."""
        return self.each(lambda each: each[start:stop])

    def each(self, function: Callable[[Array], Array]) -> "Arrays":
        """Data with a function applied to each array."""

        def part(arrays: Sequence[Array | None]) -> tuple[Any, ...]:
            return tuple(None if each is None else function(each) for each in arrays)

        weight = None if self.weight is None else part(self.weight)
        return Arrays(part(self.x), part(self.y), weight, self.nest)


def inputs(
    model: TrainableModel, x: Any, call: str, batch: int | None = None
) -> tuple[GraphOfModel, list[Array]]:
    """Graph of the model, and checked x alone, for predict; builds the model if needed."""
    graph, arrays, names = _rows_of_inputs(model, x, call, False)
    rows = _same_rows(arrays, names, call)
    if model.built:
        return graph, _fit_inputs(graph, arrays, names, call)
    graph.check_has_layers()
    graph.build_for([(min(rows, batch or 32), *each.shape[1:]) for each in arrays])
    return graph, arrays


def training_data(
    model: TrainableModel,
    compiled: Compiled,
    x: Any,
    y: Any,
    sample_weight: Any,
    class_weight: Any,
    call: str,
    batch: int | None = None,
    trains: bool = False,
) -> Arrays:
    """Checked x, y and weights for training or evaluation; builds the model if needed.

    Args:
        compiled: what it was compiled with; loss and metrics are settled here.
        x: samples.
        sample_weight: a weight for each row or each of its losses, or None.
        class_weight: {class: weight}, or None.
        batch: rows of a batch, for the shape of a model that the data build.
        trains: whether they are for training.
    """
    if sample_weight is not None and class_weight is not None:
        raise ValueError(
            f"{call}: sample_weight and class_weight must not both be given: multiply them yourself"
        )
    if y is None and compiled.reads_targets and isinstance(x, tuple) and len(x) in (2, 3):
        names = ("x", "y", "sample_weight")[: len(x)]
        raise ValueError(
            f"{call}: y must be given, got a tuple of {len(x)} as x: if it is "
            f"({', '.join(names)}), call {call}({', '.join(names[:2])}"
            f"{', sample_weight=sample_weight' * (len(x) > 2)})"
        )
    plain = sample_weight is class_weight is None and type(x) is type(y) is np.ndarray
    found = _as_before(model, compiled, x, y, call) if plain else None
    if found is not None:
        return found
    graph, xs, of_x = _rows_of_inputs(model, x, call, trains)
    if not compiled.reads_targets and overrides(type(model), "compute_loss"):
        others = y, sample_weight, class_weight
        return _for_custom_loss(model, graph, compiled, xs, of_x, others, call)
    ys = by_output(graph, compiled, y, f"{call}: y")
    if len(ys) == 1 and isinstance(ys[0], (list, tuple)):
        ys = [_only_target(ys[0], len(xs[0]), f"{call}: y")]
    of_y = _Y if len(ys) == 1 else labels("y", "output", output_names(graph))
    for i, each in enumerate(ys):
        ys[i] = None if each is None else data.as_numeric(each, f"{call}: {of_y[i]}")
    rows = _same_rows(xs + ys, of_x + of_y, call)
    weights: list[Array | None] = []
    if sample_weight is not None:
        weights = sample_weights(graph, compiled, sample_weight, rows, call)

    built = model.built
    if built:
        xs = _fit_inputs(graph, xs, of_x, call)
        outputs = outputs_of(model, graph, xs)
    else:
        graph.check_has_layers()
        outputs = graph.outputs_for([each.shape for each in xs])
    resolved = compiled.resolved or compiled.resolve(outputs, _shapes(ys), graph.output_nest())
    for i, target in enumerate(resolved.targets):
        name = f"{call}: {of_y[i]}"
        if ys[i] is None and target.ignores_y():
            ys[i] = np.zeros(rows, np.float32)
        ys[i] = _checked(ys[i], target, outputs[i].row, name, call)
    if sample_weight is not None:
        weights = fit_weights(weights, resolved, outputs, call)
    if class_weight is not None:
        weights = [class_weights(class_weight, ys, call)]

    if not built:
        graph.build_for([(min(batch or rows, rows), *each.shape[1:]) for each in xs])
    compiled.resolved = resolved
    arrays = Arrays(tuple(xs), tuple(ys), tuple(weights) or None)
    as_given = plain and built and arrays.x[0] is x and len(xs) == len(ys) == 1 and ys[0] is y
    if as_given and not graph.has_host_part():
        _note(graph, compiled, arrays, outputs[0].row)
    return arrays


class Passed(NamedTuple):
    """An x and a y that training took as they were, as it does any of such shapes and dtypes.

    Attributes:
        resolved: losses and metrics that they were taken for.
        form: of the data.
        row: shape of a row of the output.
        by_value: whether the numbers in y are looked at.
    """

    resolved: Resolved
    form: Form
    row: tuple[int, ...]
    by_value: bool


def _as_before(
    model: TrainableModel, compiled: Compiled, x: Array, y: Array, call: str
) -> Arrays | None:
    """Checked data, if such data have passed since losses and layers were last changed."""
    passed: Passed | None = compiled.passed.get((x.shape, x.dtype, y.shape, y.dtype))
    if passed is None or passed.resolved is not compiled.resolved or not model._is_unchanged():
        return None
    if passed.by_value:
        _checked(y, passed.resolved.targets[0], passed.row, f"{call}: {_Y[0]}", call)
    return Arrays((x,), (y,), None, None, passed.form)


def _note(graph: GraphOfModel, compiled: Compiled, arrays: Arrays, row: tuple[int, ...]) -> None:
    """Keep for `_as_before` that data have passed as they were."""
    (x,), (y,), resolved = arrays.x, arrays.y, compiled.resolved
    assert y is not None and resolved is not None
    form = form_of(arrays, resolved, compiled.custom_loss, graph.takes_sizes())
    target = resolved.targets[0]
    by_value = any(wants in ("classes", "labels") for _, wants in target.readers)
    by_value = by_value or any(map(_of_probabilities, target.losses))
    if len(compiled.passed) >= _MOST_PASSED:
        compiled.passed.clear()
    compiled.passed[x.shape, x.dtype, y.shape, y.dtype] = Passed(resolved, form, row, by_value)


def _checked(
    y: Array | None, target: Target, row: tuple[int, ...], name: str, call: str
) -> Array | None:
    """Targets of an output, checked; with a warning where a call has all of them."""
    y = checked_targets(y, target, row, name)
    for loss in target.losses if call in ("fit", "evaluate") else ():
        warn_of_no_probabilities(y, loss, name)
    return y


def _for_custom_loss(
    model: TrainableModel,
    graph: GraphOfModel,
    compiled: Compiled,
    xs: list[Array],
    of_x: list[str],
    others: tuple[Any, Any, Any],
    call: str,
) -> Arrays:
    """Checked data where only the model's own `compute_loss` reads targets, of any form."""
    y, sample_weight, class_weight = others
    nested = arrays_in(y, f"{call}: y")
    paths = [(path, leaf) for path, leaf in tree.flatten_with_path(nested) if leaf is not None]
    ys = [leaf for _, leaf in paths]
    of_y = ["".join(["y", *(f"[{key!r}]" for key in path)]) for path, _ in paths]
    rows = _same_rows(xs + ys, of_x + of_y, call)
    nest = tree.pack_sequence_as(nested, list(range(len(ys)))) if ys else None
    weights: tuple[Array, ...] | None = None
    if class_weight is not None:
        weights = (class_weights(class_weight, ys or [None], call),)
    elif sample_weight is not None:
        weight = data.of_samples(sample_weight, rows, f"{call}: sample_weight")
        weights = (weight,) * max(1, len(ys))
    if not model.built:
        graph.check_has_layers()
        graph.build_for([each.shape for each in xs])
    xs = _fit_inputs(graph, xs, of_x, call)
    outputs = outputs_of(model, graph, xs)
    compiled.resolved = compiled.resolve(outputs, [(None,)] * len(outputs), graph.output_nest())
    return Arrays(tuple(xs), tuple(ys), weights, nest)


# Names of the parts in errors where there is one of each. Calls with one batch come this way, where
# a comprehension more shows in how long they take: so there is a path for one array here and there.
_X, _Y = ["x"], ["y"]
_MOST_PASSED = 16  # shapes and dtypes that are known to pass


def _rows_of_inputs(
    model: TrainableModel, x: Any, call: str, trains: bool
) -> tuple[GraphOfModel, list[Array], list[str]]:
    """Graph of the model, and inputs as one array each, with their names in errors."""
    graph, flat = _flat_inputs(model, x, call)
    if len(flat) == 1:
        names, arrays = _X, [data.as_rows(flat[0], f"{call}: {_X[0]}")]
    else:
        names = labels("x", "input", graph.input_names())
        pairs = zip(flat, names, strict=True)
        arrays = [data.as_rows(each, f"{call}: {name}") for each, name in pairs]
    if len(flat) > 1 or type(flat[0]) is not np.ndarray:
        notice(model, flat, names, call, trains)
    return graph, arrays, names


def _flat_inputs(model: TrainableModel, x: Any, call: str) -> tuple[GraphOfModel, list[Any]]:
    """Graph, and inputs as one element each; ValueError for several arrays for one input."""
    model._drop_stale_programs()
    built, graph = model.built, model._graph_of_model
    flat = graph.flat_inputs(x, call)
    if not built:  # x may have told that there are several inputs
        graph = model._graph_of_model
    if len(flat) > 1 or not isinstance(flat[0], (list, tuple)):
        return graph, flat
    ranks = _ranks(flat[0])
    row = graph.input_infos()[0].row if model.built else None
    if ranks == [1] and row is not None and np.prod(row) == 1:  # single numbers in a list of one
        return graph, [flat[0][0]]
    if len(ranks) > 1 and min(ranks) > 1 and (row is None or set(ranks) != {len(row)}):
        raise ValueError(
            f"{call}: x must be one array, since the model has one input, got a list of "
            f"{len(ranks)} arrays: concatenate them, or make a Model of several inputs"
        )
    return graph, flat


def _only_target(given: Any, rows: int, name: str) -> Any:
    """The one array of a list of one; ValueError for several where the model has one output."""
    if not _ranks(given) or any(len(each) != rows for each in given if len(each.shape)):
        return given
    if len(given) == 1 and len(given[0].shape) == 1:
        return given[0]
    if len(given) > 1 and len(given) != rows:
        raise ValueError(
            f"{name} must be one array, since the model has one output, got a list of "
            f"{len(given)} arrays"
        )
    return given


def _ranks(given: Any) -> list[int]:
    """Numbers of axes of a list of arrays; an empty list for anything else."""
    arrays = all(hasattr(each, "shape") and len(each.shape) for each in given)
    return [len(each.shape) for each in given] if arrays else []


def _same_rows(arrays: list[Any], names: list[str], call: str) -> int:
    rows = len(arrays[0])
    for array in arrays:
        if array is not None and (len(array) != rows or not array.size):
            return data.same_rows(dict(zip(names, arrays, strict=True)), call)
    return rows


def _fit_inputs(
    graph: GraphOfModel, arrays: list[Array], names: list[str], call: str
) -> list[Array]:
    for i, info in enumerate(graph.input_infos()):
        row = info.shape[1:]
        if arrays[i].shape[1:] != row:
            if not data.fits(arrays[i].shape[1:], row) and graph.widens(arrays[i].shape):
                row = graph.input_infos()[i].shape[1:]
            if arrays[i].ndim == len(info.shape) and graph.takes_any_size():
                row = (None,) * len(row)
            arrays[i] = data.fit_input(arrays[i], row, f"{call}: {names[i]}")
    return arrays


def _shapes(ys: Sequence[Array | None]) -> list[Shape]:
    return [(None,) if y is None else (None, *y.shape[1:]) for y in ys]


def like_first(
    arrays: Arrays, first: Arrays, name: str, number: int, takes_sizes: bool = False
) -> Arrays:
    """Batch of a stream, checked to have the parts of the first one.

    With `takes_sizes` targets may have another shape than the first ones.
    """
    for part in ("y", "weight"):
        nothing = (None,) * len(arrays.y)
        here_all, there_all = (getattr(each, part) or nothing for each in (arrays, first))
        for here, there in zip(here_all, there_all, strict=True):
            if (here is None) != (there is None):
                raise ValueError(
                    f"{name} must yield batches of the same parts, got batch {number} "
                    f"{'without' if here is None else 'with'} {part}, unlike the first"
                )
    for here, there in zip(arrays.y, first.y, strict=True) if not takes_sizes else ():
        if here is not None and there is not None and here.shape[1:] != there.shape[1:]:
            raise ValueError(
                f"{name} must yield batches of one shape, got y of shape {here.shape} in batch "
                f"{number} and {there.shape} in the first"
            )
    return arrays
