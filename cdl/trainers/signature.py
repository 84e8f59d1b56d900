"""TrainableModel: the interface of a model for its trainers, with flat inputs and outputs.

Whoever hands in data thinks in structures: one array, a list, a dict by name. Programs have a list
of inputs and a list of outputs. A model knows how the ones become the others; nothing under
`compile`, `fit`, `evaluate` and `predict` asks a model anything else about its shape.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from cdl import tree
from cdl._common.naming import FreeNames
from cdl._tracing.graph import KerasTensor
from cdl.data import brief
from cdl.layers.layer import Layer

if TYPE_CHECKING:
    from cdl._ir.lowering import Lowering
    from cdl._ir.program import Program, Value
    from cdl._tracing.variable import Variable
    from cdl.callbacks import History
    from cdl.layers.kept import KeptPrograms
    from cdl.random import Kept
    from cdl.trainers.compile_utils import Compiled
    from cdl.trainers.custom.losses import Added
    from cdl.trainers.custom.steps import CustomSteps, Nested
    from cdl.trainers.data_adapter import Arrays
    from cdl.trainers.frame_columns import Columns
    from cdl.trainers.many.ended_run import EndedRun
    from cdl.trainers.predictors import Predictors
    from cdl.trainers.sizes import Rows, Sizes
    from cdl.trainers.train_function import TrainFunction

Shape = tuple[int | None, ...]


class Info(NamedTuple):
    """Input or output of a model.

    Attributes:
        name: by which dicts of data, losses and metrics mean it, and logs show it.
        shape: with the batch axis.
        dtype: of the arrays.
        has_name: whether logs show the name; not if it is only a number, since the user's code
            gave no name.
        of_metrics: what is in front of the names of its metrics instead of the name; None for that.
    """

    name: str
    shape: Shape
    dtype: str = "float32"
    has_name: bool = True
    of_metrics: str | None = None

    @property
    def row(self) -> tuple[int, ...]:
        """Shape of one sample, where it is known."""
        return cast("tuple[int, ...]", self.shape[1:])


class GraphOfModel(Protocol):
    """Interface of a model's inputs and outputs as flat lists.

    A model that is not built yet when it gets data builds itself in `flat_inputs`, or implements
    `outputs_for` and `build_for`.
    """

    def input_infos(self) -> tuple[Info, ...]:
        """Inputs of the built model, in the order of `append_all`'s values."""

    def output_infos(self) -> tuple[Info, ...]:
        """Outputs of the built model, in the order of `append_all`'s results."""

    def takes_sizes(self) -> bool:
        """Whether inputs of the built model may vary in size, with a program per size.

        So do open axes, None in the shape of an input, and a `call` of the user's.
        """

    def widens(self, shape: Shape) -> bool:
        """Open those sizes of the first data that an array of that shape does not have."""

    def takes_any_size(self) -> bool:
        """Whether only the rank of an input counts, as for a custom `call`."""

    def flat_inputs(self, x: Any, call: str) -> list[Any]:
        """User inputs as one element each; ValueError if they do not fit."""

    def flat_targets(self, y: Any, call: str) -> list[Any]:
        """User targets or sample weights, one element an output or None.

        Args:
            y: one array, a list with one element an output, or a dict by their names.
            call: how errors call it, such as "fit: y".
        """

    def has_host_part(self) -> bool:
        """Whether some of it runs in Python, ahead of the program, on the user's data."""

    def output_rows(self, rows: Rows) -> Sequence[tuple[int, ...]]:
        """Sample shapes of the outputs for inputs with samples of those shapes."""

    def input_names(self) -> list[str]:
        """Names of the inputs; known before the model is built, if `flat_inputs` is."""

    def output_names(self) -> list[str] | None:
        """Names of the outputs; None if their number depends on data."""

    def output_nest(self) -> Any:
        """Names of the outputs, nested as `packed_outputs` nests these."""

    def merges_rows(self) -> bool:
        """Whether an output has several rows for each sample."""

    def packed_outputs(self, outputs: list[Any]) -> Any:
        """Outputs in the user's structure: one array, a list, or a dict."""

    def packed_inputs(self, inputs: list[Any]) -> Any:
        """Inputs in the user's structure: one array, a list, or a dict."""

    def outputs_for(self, shapes: Sequence[Shape]) -> tuple[Info, ...]:
        """Outputs for inputs of those shapes, before the model is built."""

    def build_for(self, shapes: Sequence[Shape]) -> None:
        """Build the model for inputs of those shapes, which `outputs_for` has accepted."""

    def check_has_layers(self) -> None:
        """ValueError for an empty model, which cannot be built."""


class TrainableModel(Protocol):
    """Interface of a model for fitting, evaluating, lowering, saving and explaining it."""

    name: str
    built: bool
    _calls: int  # on arrays in training mode
    _states_of: tuple[int, int | None]  # attributes set when they were looked at; batch size
    _place: int | None  # which draw comes next, as a stateless call says

    def _flatten_layers(self) -> list[Any]:
        """Model and all layers in it, each once."""

    @property
    def _graph_of_model(self) -> GraphOfModel:
        """Inputs and outputs of the model as flat lists."""

    def append_all(self, program: Lowering, values: Sequence[Value]) -> list[Value]:
        """Append the model to a program, from the values of its inputs to its outputs."""

    # --- what it holds ---

    @property
    def layers(self) -> list[Layer]:
        """Layers of the model, in order."""

    @property
    def weights(self) -> list[Variable]:
        """All weights of the model."""

    @property
    def trainable_variables(self) -> list[Variable]:
        """Weights that training changes."""

    @property
    def losses(self) -> list[Any]:
        """Losses added by layers and regularizers."""

    @property
    def metrics(self) -> list[Any]:
        """Metrics of the model, in the order of Keras."""

    # --- what `compile` and the last run left ---

    stop_training: bool
    stop_evaluating: bool
    stop_predicting: bool
    steps_per_execution: int
    run_eagerly: bool
    history: History
    _compiled: Compiled | None
    _columns: Columns | None
    _initial_epoch: int | None
    _last_train_function: TrainFunction | CustomSteps | EndedRun | None
    _added_to_loss: Added | None
    _predictors_made: Predictors | None
    _kept_programs: KeptPrograms
    _sizes_made: Sizes | None

    def _penalize(self, penalty: float) -> None:
        """Show the penalties of a call as a whole in `losses`."""

    def _watch_layers(self) -> None:
        """Start watching the layers for changes, after a program was made."""

    def _is_unchanged(self) -> bool:
        """Whether there are programs, and the attributes of layers are as they were for these."""

    def _drop_stale_programs(self) -> bool:
        """Drop all programs if attributes of layers have changed; whether they had."""

    def _of_users(self) -> TrainableModel:
        """The user's model: this one, if it does not stand for another."""

    def _held_metrics(self) -> list[Any]:
        """Metrics in attributes of it and its layers; not those of models in it."""

    @property
    def compiled(self) -> bool:
        """Whether `compile` has been called."""

    @property
    def optimizer(self) -> Any:
        """The Optimizer; AttributeError before `compile`."""

    def get_compile_config(self) -> dict[str, Any]:
        """Arguments of `compile` as configs."""

    def program(self, training: bool = False) -> Program:
        """Program that the core runs."""

    def _compiled_for(self, call: str, trains: bool = False) -> Compiled:
        """Arguments of `compile`; ValueError without them, or without a loss to train by."""

    def _trained(self) -> list[Variable]:
        """Weights that training changes: those of its first step, if it has begun."""

    def _training_by_default(self) -> bool | None:
        """Whether a call without `training` is one of training."""

    def _draw_counts(self, anew: bool = False) -> list[Iterator[int]]:
        """Counts of forward passes of training and of predictions."""

    def _predictors(self, rows: Rows | None = None) -> Predictors:
        """Executors of predictions for samples of shapes `rows`, if a model takes several."""

    def _switched(
        self,
        train_function: TrainFunction | CustomSteps,
        compiled: Compiled,
        kind: str,
        arrays: Arrays | Nested,
    ) -> TrainFunction | CustomSteps:
        """Train function for a batch of other sizes, with the sums of the current one."""

    def _train_function(
        self, compiled: Compiled, kind: str, arrays: Arrays | Nested, rows: int
    ) -> TrainFunction | CustomSteps:
        """Train function for such batches, to be returned by `_release`."""

    def _give_back(self, train_function: TrainFunction | CustomSteps) -> None:
        """Return a train function that holds no data."""

    def _release(self, train_function: TrainFunction | CustomSteps) -> None:
        """Return a train function of `_train_function`."""

    def _keep_random_state(self, state: Kept) -> None:
        """Store generator states from a file, for a `fit` that resumes there."""

    def _restore_random_state(self, epochs: range) -> bool:
        """Restore generator states from the file, if these epochs resume there; whether."""

    # --- what its user may override ---

    def train_step(self, data: Any) -> dict[str, Any]:
        """Train with one batch; loss and metrics so far, by name."""

    def test_step(self, data: Any) -> dict[str, Any]:
        """Evaluate one batch; loss and metrics so far, by name."""

    def predict_step(self, data: Any) -> Any:
        """Outputs for one batch; may be overridden."""

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The whole loss of a batch."""

    def reset_metrics(self) -> None:
        """Reset loss and metrics."""


def output_names(graph: GraphOfModel) -> list[str]:
    """Names of the outputs of a model, once their number is known."""
    names = graph.output_names()
    assert names is not None
    return names


if TYPE_CHECKING:

    class PartOfModel(Layer, TrainableModel):
        """Base of the mixins of a model; each may use the others' methods."""

else:
    PartOfModel = Layer


def flat(given: Any, names: Sequence[str], call: str, kind: str, partly: bool = False) -> list[Any]:
    """Elements of a list, or of a dict by name, in the order of the names.

    Args:
        given: one thing if there is one name, a list or tuple, or a dict.
        names: what the elements are called.
        call: how errors call what was given, such as "fit: x".
        kind: what the names are names of: "input" or "output".
        partly: whether a dict may lack names, and None stands for all of them. Otherwise it may
            have more: a table has columns that a model does not look at.

    Raises:
        ValueError: another number, or other names.
    """
    if isinstance(given, Mapping):
        return _by_name(given, names, call, kind, partly)
    if len(names) == 1:
        return [single(given)]
    if given is None and partly:
        return [None] * len(names)
    if isinstance(given, (list, tuple)) and len(given) == len(names):
        return list(given)
    got = f"a {type(given).__name__} of {len(given)}" if isinstance(given, (list, tuple)) else None
    if got is None and hasattr(given, "shape"):
        got = f"one array of shape {tuple(given.shape)}"
    raise ValueError(
        f"{call} must be a list of {len(names)}, one for each {kind}, or a dict with the keys "
        f"{list(names)}, got {got or brief(given)}"
    )


_UNNAMED = r"input_layer(_\d+)?"  # the name of an input that the user has given none


def _by_name(
    given: Mapping[Any, Any], names: Sequence[str], call: str, kind: str, partly: bool
) -> list[Any]:
    known = set(names)
    wrong = [key for key in given if key not in known] if partly else []
    missing = [] if partly else [name for name in names if name not in given]
    if len(missing) == len(given) == 1 and kind == "input" and re.fullmatch(_UNNAMED, names[0]):
        return list(given.values())
    if wrong or missing:
        lacks = f", without {missing}" if len(missing) < len(names) else ""
        what = f"{list(given)}{lacks}" if missing else f"{wrong}"
        raise ValueError(
            f"{call} must have as keys the names of the {kind}s, {list(names)}, got {what}"
        )
    return [given.get(name) for name in names]


def single(value: Any) -> Any:
    """The one array out of a list of one array, as Keras takes a list for several inputs."""
    if isinstance(value, (list, tuple)) and len(value) == 1 and hasattr(value[0], "shape"):
        inner = value[0]
        if len(inner.shape) > 1:
            return inner
    return value


def labels(what: str, kind: str, names: Sequence[str]) -> list[str]:
    """Names of inputs or outputs in errors: `x`, or `x for input 'a'`."""
    if len(names) == 1:
        return [what]
    return [f"{what} for {kind} {name!r}" for name in names]


class Signature(NamedTuple):
    """Inputs and outputs of a model as flat, named lists.

    Attributes:
        of: the nested structures of inputs and outputs from which the lists are made.
        inputs: name, shape and dtype of each input, in the order of the flat structure.
        outputs: name, shape and dtype of each output, in the order of the flat structure.
        input_names: the keys of the inputs in dicts of data.
        output_names: the keys of the outputs in dicts of targets, losses and metrics.
        output_nest: the names of the outputs, nested as these are.
        one: whether the input is one tensor and no list or dict.
        nested: whether it is a structure within a structure.
        takes_sizes: whether the inputs may have several sizes.
    """

    of: tuple[Any, Any]
    inputs: tuple[Info, ...]
    outputs: tuple[Info, ...]
    input_names: list[str]
    output_names: list[str]
    output_nest: Any
    one: bool
    nested: bool
    takes_sizes: bool = False


def signature_of_graph(inputs: Any, outputs: Any, by_layers: bool) -> Signature:
    """Signature of a functional graph.

    Args:
        inputs: symbolic tensors, nested as data are handed in; None before a model is built.
        by_layers: whether outputs are called as the layers that give them, if they are in no dict.
    """
    given = [] if inputs is None else _infos(names_of_inputs(inputs), inputs)
    found = [] if outputs is None else _infos(_names_of_outputs(outputs, by_layers), outputs)
    if not by_layers and not isinstance(outputs, dict):
        found = [info._replace(has_name=False) for info in found]
    if is_deep(outputs):  # as in Keras losses are called by their paths, metrics by the layers
        tensors = tree.flatten(outputs) if by_layers else []
        nodes = [tensor.node for tensor in tensors]
        layers = ["" if node is None else node.operation.name for node in nodes]
        found = [
            info._replace(of_metrics=name)
            for info, name in zip(found, layers or [""] * len(found), strict=True)
        ]
    return Signature(
        of=(inputs, outputs),
        inputs=tuple(given),
        outputs=tuple(found),
        input_names=[info.name for info in given],
        output_names=[info.name for info in found],
        output_nest=tree.pack_sequence_as(outputs, [info.name for info in found] or [None]),
        one=isinstance(inputs, KerasTensor),
        nested=is_deep(inputs),
    )


def is_deep(structure: Any) -> bool:
    """Whether a structure contains another structure."""
    parts = structure.values() if isinstance(structure, dict) else structure
    return tree.is_nested(structure) and any(map(tree.is_nested, parts))


def _infos(names: Sequence[str], structure: Any) -> list[Info]:
    tensors = tree.flatten(structure)
    return [Info(n, t.shape, t.dtype) for n, t in zip(names, tensors, strict=True)]


def names_of_inputs(structure: Any) -> list[str]:
    """Keys of a dict, else the names of the tensors."""
    if isinstance(structure, dict) and not any(map(tree.is_nested, structure.values())):
        return [str(path[-1]) for path, _ in tree.flatten_with_path(structure)]
    return [tensor.name for tensor in tree.flatten(structure)]


def _names_of_outputs(structure: Any, by_layers: bool) -> list[str]:
    """Keys of dicts, else names of layers or numbers, after the structure they are nested in."""
    names: list[str] = []
    free = FreeNames()
    for path, tensor in tree.flatten_with_path(structure):
        name = f"output_{len(names) + 1}"
        if by_layers and tensor.node is not None:
            name = tensor.node.operation.name
        if path and (isinstance(path[-1], str) or len(path) > 1):
            last = name if isinstance(path[-1], int) else path[-1]
            name = "/".join(map(str, (*path[:-1], last)))
        names.append(free.take(name))
    return names
