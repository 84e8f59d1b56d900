"""Sizes: a model's predictors and output shapes by input size.

An input may have open axes, None in its shape. A program is made for the sizes of a batch when it
comes, and kept for the next batch of these sizes; weights, optimizer and metrics are those of the
model. What was used least recently goes first, so that lengths which came once do not pile up.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from cdl._common.locks import new_lock
from cdl._variables.program_caches import register_cache

if TYPE_CHECKING:
    from cdl.trainers.compile_utils import Resolved
    from cdl.trainers.data_adapter import Arrays
    from cdl.trainers.predictors import Predictors
    from cdl.trainers.signature import GraphOfModel, Info, TrainableModel

Rows = tuple[tuple[int, ...], ...]  # the shape of a sample of each input
_Shapes = tuple[tuple[int, ...] | None, ...]

MOST = 128  # programs of one kind: predictions, or steps; some 30 KB each beside their memory
MOST_BYTES = 2**25  # which they take in all; the last one is kept whatever it takes
_MOST_SHAPES = 1024

T = TypeVar("T")


def trim(kept: dict[Any, T], bytes_of: Callable[[T], int], at_least: int = 1) -> None:
    """Drop the least recently used items beyond the limits of count and memory.

    Args:
        kept: in the order in which they were used last.
        bytes_of: what one of them takes.
        at_least: so many stay, whatever they take.
    """
    if len(kept) <= at_least:
        return
    total = sum(map(bytes_of, kept.values()))
    while len(kept) > at_least and (len(kept) > MOST or total > MOST_BYTES):
        total -= bytes_of(kept.pop(next(iter(kept))))


class Form(NamedTuple):
    """Properties of the data on which a program depends.

    Attributes:
        weights: shape of one row's sample weights, output by output: one number, or one a line;
            None without.
        targets: shape of one row of y, output by output, where somebody sees it.
        nest: as in Arrays.
        inputs: shape of one row of each input, for a model that takes several sizes.
    """

    weights: _Shapes
    targets: _Shapes
    nest: Any = None
    inputs: Rows | None = None

    @property
    def key(self) -> Form:
        """Hashable key of the form, for the executor cache."""
        return self if self.nest is None else self._replace(nest=repr(self.nest))


def form_of(
    arrays: Arrays, resolved: Resolved, custom_loss: bool, takes_sizes: bool = False
) -> Form:
    """Form of given data.

    Args:
        resolved: what reads them: the core only counts the elements of a row of y, unless somebody
            sees its shape.
        custom_loss: whether a `compute_loss` of the model's own sees all of them.
        takes_sizes: whether the model takes inputs of several sizes.
    """
    targets = weights = _NONE * len(arrays.y)
    inputs = tuple(x.shape[1:] for x in arrays.x) if takes_sizes else None
    if not (custom_loss or resolved.needs_raw_y or arrays.weight):
        return _plain(len(targets), inputs)
    if custom_loss:
        targets = tuple(None if y is None else y.shape[1:] for y in arrays.y)
    elif resolved.needs_raw_y:
        pairs = zip(arrays.y, [each.needs_raw_y for each in resolved.targets], strict=True)
        targets = tuple(y.shape[1:] if y is not None and seen else None for y, seen in pairs)
    if arrays.weight is not None:
        weights = tuple(None if w is None else w.shape[1:] for w in arrays.weight)
    return Form(weights, targets, arrays.nest, inputs)


_NONE: _Shapes = (None,)


@functools.lru_cache(64)
def _plain(outputs: int, inputs: Rows | None) -> Form:
    """The usual form: data without weights, of which no Python code sees the shape."""
    return Form(_NONE * outputs, _NONE * outputs, None, inputs)


class Sizes:
    """Predictors and output shapes of a model, by sizes of its inputs.

    Several threads may ask at once.
    """

    def __init__(self) -> None:
        self._lock = new_lock()
        self._predictors: dict[Rows, Predictors] = {}
        self._outputs: dict[Rows, tuple[Info, ...]] = {}
        register_cache(self)

    def forget(self) -> None:
        """Forget the predictors of all sizes."""
        with self._lock:
            self._predictors.clear()

    def predictors(self, rows: Rows, make: Callable[[], Predictors]) -> Predictors:
        """Predictors for inputs of those sizes.

        Args:
            rows: the shape of a sample of each input.
            make: makes them.
        """
        found = self._predictors.get(rows) or make()
        with self._lock:
            self._predictors.pop(rows, None)
            self._predictors[rows] = found
            used = list(self._predictors.values())[-2:]  # it, and the one that ran before
            if any(each.grew for each in used):
                for each in used:
                    each.grew = False
                trim(self._predictors, lambda each: each.bytes)
        return found

    def outputs(self, model: TrainableModel, rows: Rows) -> tuple[Info, ...]:
        """Outputs of a model for inputs of those sizes.

        Args:
            model: whose sizes these are.
            rows: the shape of a sample of each input.
        """
        found = self._outputs.get(rows)
        if found is None:
            infos = zip(
                model._graph_of_model.output_infos(),
                model._graph_of_model.output_rows(rows),
                strict=True,
            )
            found = tuple(info._replace(shape=(info.shape[0], *row)) for info, row in infos)
            with self._lock:
                if len(self._outputs) >= _MOST_SHAPES:
                    self._outputs.clear()
                self._outputs[rows] = found
        return found


def rows_of(graph: GraphOfModel, arrays: Any) -> Rows | None:
    """Sample shape of each input, for a model that takes several sizes; else None.

    Args:
        graph: of a built model.
        arrays: one for each input.
    """
    return tuple(each.shape[1:] for each in arrays) if graph.takes_sizes() else None


def outputs_of(model: TrainableModel, graph: GraphOfModel, arrays: Any) -> tuple[Info, ...]:
    """Outputs of a built model, whose graph that is, for inputs like those arrays."""
    rows = rows_of(graph, arrays)
    if rows is None:
        return graph.output_infos()
    if model._sizes_made is None:
        model._sizes_made = Sizes()
    return model._sizes_made.outputs(model, rows)


def own_rows(model: TrainableModel) -> Rows:
    """Sample shape of each input.

    Raises:
        ValueError: the model has open axes.
    """
    infos = model._graph_of_model.input_infos()
    for info in infos:
        if None in info.row:
            raise ValueError(
                f"{model.name}: the sizes of input {info.name!r} must be known for its program, "
                f"got shape {info.shape}: call the model on data first"
            )
    return tuple(info.row for info in infos)
