"""Serialization of a model's graph in Keras's format, and deserialization."""

from __future__ import annotations

import importlib
import inspect
import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cdl import saving, tree
from cdl._common.errors import warn
from cdl._configs import serialization
from cdl._configs.custom_objects import all_custom_objects
from cdl._configs.serialization import deserialize, serialize
from cdl._tracing.graph import KerasTensor, Node
from cdl._tracing.keras_tensor import SymbolicBatch
from cdl._tracing.operation import OP_DEFS, OpDef, Operation
from cdl._tracing.shape_inference import signature_of
from cdl.models.graph import ModelGraph
from cdl.saving import configs, keras2_configs
from cdl.saving.file_objects import FilePath
from cdl.trainers.trainer import Trainer

if TYPE_CHECKING:
    from cdl.layers.layer import Layer
    from cdl.models.model import Model


# Arguments of functions of `cdl.ops` that Keras keeps with the call; the others belong to the
# operation's own config.
_OF_CALLS = {
    *("x", "x1", "x2", "xs", "condition", "key", "indices", "values", "inputs", "operands", "a"),
    *("b", "v", "y", "y_true", "y_pred", "target", "output", "logits", "other", "updates"),
    *("array", "variable", "weights", "bins", "targets", "predictions", "data", "segment_ids"),
    *("query", "value", "bias", "mask", "fill_value", "q", "mean", "variance", "offset", "scale"),
    *("gamma", "beta", "start", "stop", "rtol", "atol", "start_indices", "constant_values"),
    *("condlist", "choicelist", "default", "kernel", "depthwise_kernel", "pointwise_kernel"),
    *("images", "image1", "image2", "transform", "start_points", "end_points", "coordinates"),
    *("output_shape", "translation"),
}


# --- writing ---


def config_of(model_graph: ModelGraph) -> dict[str, Any]:
    """Keys "layers", "input_layers" and "output_layers" of a model's config."""
    known = {id(node) for node in model_graph.nodes}
    numbers: dict[int, int] = {}
    for operation in model_graph.operations:
        count = 1 if _counts_from_one(operation) else 0
        for node in operation._inbound_nodes:
            if id(node) in known:
                numbers[id(node)] = count
                count += 1
    layers = []
    for operation in model_graph.operations:
        nodes = [node for node in operation._inbound_nodes if id(node) in known]
        written = _operation_config(operation)
        written["name"] = operation.name
        written["inbound_nodes"] = [_node_config(n, numbers) for n in nodes if not n.is_input]
        layers.append(written)

    def place(tensor: KerasTensor) -> list[Any]:
        assert tensor.node is not None
        return [tensor.node.operation.name, numbers[id(tensor.node)], tensor.tensor_index]

    return {
        "layers": layers,
        "input_layers": tree.map_structure(place, model_graph.inputs),
        "output_layers": tree.map_structure(place, model_graph.outputs),
    }


def _counts_from_one(operation: Any) -> bool:
    """Whether Keras gives the model a first node of its own: one of inputs and outputs."""
    return getattr(operation, "_model_graph", None) is not None and not hasattr(operation, "_stack")


def _operation_config(operation: Any) -> dict[str, Any]:
    if not isinstance(operation, Operation):
        config: dict[str, Any] = serialization.serialize(operation)
        return config
    row = operation.row
    node = operation._inbound_nodes[0]
    given = _by_name(row, node)
    statics = {k: v for k, v in given.items() if not _is_of_call(row, k)}
    return {
        "module": f"keras.src.ops.{row.submodule}",
        "class_name": row.known_as,
        "config": {**serialization.serialize(statics), "name": operation.name},
        "registered_name": row.known_as,
    }


def _is_of_call(row: OpDef, argument: str) -> bool:
    """Whether Keras keeps an argument with the call, not in the operation's config."""
    return argument in _OF_CALLS and argument not in row.saved.statics


def _by_name(row: OpDef, node: Node) -> dict[str, Any]:
    """Arguments of a call by parameter name; operands only if they were given."""
    bound = signature_of(row.eager).bind(*node.args, **node.kwargs)
    handed = set(bound.arguments) | set(row.saved.by_name)
    bound.apply_defaults()
    found = bound.arguments.items()
    return {
        name: tree.map_structure(_as_size(node), value)
        for name, value in found
        if name in handed or not _is_of_call(row, name)
    }


def _as_size(node: Node) -> Callable[[Any], Any]:
    """Number of samples in a config: kept if the inputs have a fixed one; else None."""
    sizes = [(t.shape[t.batch_axis], t.rows_per_sample) for t in node.inputs if t.rows_per_sample]
    fixed = [n // rows_per_sample for n, rows_per_sample in sizes if n is not None]

    def write(leaf: Any) -> Any:
        if not isinstance(leaf, SymbolicBatch):
            return leaf
        return leaf.times * fixed[0] if fixed else None

    return write


def _node_config(node: Node, numbers: dict[int, int]) -> dict[str, Any]:
    args, kwargs = list(node.args), dict(node.kwargs)
    if isinstance(node.operation, Operation):
        row = node.operation.row
        given = _by_name(row, node)
        kept = {k: v for k, v in given.items() if _is_of_call(row, k)}
        kwargs = {k: kept.pop(k) for k in row.saved.by_name if k in kept}
        kinds = signature_of(row.eager).parameters
        args = []
        for name, value in kept.items():
            several = kinds[name].kind is inspect.Parameter.VAR_POSITIONAL
            args += value if several else [value]

    def write(leaf: Any) -> Any:
        if not isinstance(leaf, KerasTensor):
            return serialization.serialize(leaf)
        assert leaf.node is not None
        history = [leaf.node.operation.name, numbers[id(leaf.node)], leaf.tensor_index]
        config = {"shape": list(leaf.shape), "dtype": leaf.dtype, "keras_history": history}
        return {"class_name": "__keras_tensor__", "config": config}

    return {
        "args": [tree.map_structure(write, arg) for arg in args],
        "kwargs": {name: tree.map_structure(write, arg) for name, arg in kwargs.items()},
    }


# --- reading ---


def tensors_of(
    config: Mapping[str, Any],
    custom_objects: Mapping[str, Any] | None = None,
    make: Callable[[Mapping[str, Any]], Any] | None = None,
) -> tuple[Any, Any]:
    """Symbolic inputs and outputs of a config, on new layers.

    Args:
        config: with the keys that `config_of` gives.
        make: the layer of a layer's config; None for what the config says.

    Raises:
        ValueError: the config does not fit together.
        TypeError: a layer is of a class that is not known.
    """
    parts = ("layers", "input_layers", "output_layers")
    if not isinstance(config, Mapping) or not set(parts) <= set(config):
        raise ValueError(f"the config of a model must have the keys {list(parts)}, got {config!r}")
    layers: dict[str, Any] = {}
    calls: list[tuple[Any, deque[Any]]] = []
    for each in config["layers"]:
        if not isinstance(each, Mapping) or not {"class_name", "config"} <= set(each):
            raise ValueError(f"each of layers must be the config of a layer, got {each!r}")
        name = each.get("name", each["config"].get("name"))
        layers[name] = layer = _made(each, custom_objects, make)
        calls.append((layer, deque(each.get("inbound_nodes", ()))))
    made: dict[int, list[Node]] = {id(layer): [] for layer in layers.values()}
    for layer in layers.values():
        if getattr(layer, "batch_shape", None) is not None:
            made[id(layer)] = list(layer._inbound_nodes)
    _call_all(calls, layers, made)

    def place(entry: Any) -> Any:
        if isinstance(entry, (list, tuple)) and len(entry) == 3 and isinstance(entry[0], str):
            try:
                return _tensor(entry, layers, made)
            except _NotMadeError:
                raise ValueError(f"the config has no tensor {entry!r}") from None
        if isinstance(entry, Mapping):
            return {key: place(part) for key, part in entry.items()}
        if not isinstance(entry, (list, tuple)):
            raise ValueError(f"the config has no tensor {entry!r}")
        return type(entry)(map(place, entry))

    return place(config["input_layers"]), place(config["output_layers"])


def _made(config: Mapping[str, Any], custom_objects: Any, make: Any) -> Any:
    module = str(config.get("module"))
    if module.startswith("keras.src.ops."):
        importlib.import_module("cdl.ops")  # where the rows are made
        known_as = str(config["class_name"])
        row = next((row for row in OP_DEFS.values() if row.known_as == known_as), None)
        if row is None:
            raise TypeError(f"Could not locate operation {known_as!r} in cdl.ops")
        operation = Operation(row, str(config["config"].get("name", row.name)))
        operation.statics = serialization.deserialize(
            _statics(row, config["config"]), custom_objects
        )
        return operation
    return make(config) if make is not None else serialization.deserialize(config, custom_objects)


def _statics(row: OpDef, config: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a function in an operation's config.

    ValueError for one that the function does not have, and that would change something.
    """
    known = signature_of(row.eager).parameters
    for name, value in config.items():
        if name not in known and name not in ("name", "dtype", "trainable") and value:
            raise ValueError(f"{row.name}: config must have arguments of its own, got {name!r}")
    return {name: value for name, value in config.items() if name in known}


class _NotMadeError(Exception):
    """Error for a call, by its layer and number, whose inputs have not been made yet."""

    def __init__(self, layer: Layer, number: int) -> None:
        super().__init__()
        self.call = id(layer), number


def _call_all(
    calls: Sequence[tuple[Any, deque[Any]]], layers: dict[str, Any], made: dict[int, list[Node]]
) -> None:
    """Call each layer by its nodes, as soon as their inputs exist; ValueError for a cycle."""
    ready = deque(calls)
    waiting: dict[tuple[int, int], list[tuple[Any, deque[Any]]]] = {}  # by what they wait for
    while ready:
        layer, nodes = ready.popleft()
        while nodes:
            try:
                args, kwargs = _arguments(nodes[0], layers, made)
            except _NotMadeError as error:
                waiting.setdefault(error.call, []).append((layer, nodes))
                break
            except KeyError as error:
                raise ValueError(f"a call of {layer.name!r} in the config lacks {error}") from error
            nodes.popleft()
            if getattr(layer, "row", None) is not None and layer.row.name == "get_item":
                args[1:] = [tuple(key) if isinstance(key, list) else key for key in args[1:]]
            before, known = len(layer._inbound_nodes), made[id(layer)]
            layer(*args, **kwargs)
            known += layer._inbound_nodes[before:]
            ready += waiting.pop((id(layer), len(known) - 1), ())
    left = [layer.name for layer, nodes in calls if nodes]
    if left:
        raise ValueError(f"the layers {left} of the config are in a circle, or disconnected")


def _arguments(
    node: Any, layers: dict[str, Any], made: dict[int, list[Node]]
) -> tuple[list[Any], dict[str, Any]]:
    """Arguments of a call; _NotMadeError if a tensor is not there yet."""

    def read(part: Any) -> Any:
        if isinstance(part, Mapping) and part.get("class_name") == "__keras_tensor__":
            return _tensor(part["config"]["keras_history"], layers, made)
        if isinstance(part, Mapping) and "class_name" in part:
            return serialization.deserialize(part)
        if isinstance(part, Mapping):
            return {key: read(value) for key, value in part.items()}
        return list(map(read, part)) if isinstance(part, (list, tuple)) else part

    if isinstance(node, Mapping):
        return read(node.get("args", [])), read(node.get("kwargs", {}))
    return _older_arguments(node, layers, made)


def _older_arguments(
    node: Any, layers: dict[str, Any], made: dict[int, list[Node]]
) -> tuple[list[Any], dict[str, Any]]:
    """Arguments of a Keras 2 call: [[layer, node, tensor, kwargs], ...] or one of these."""

    def read(part: Any) -> Any:
        named = isinstance(part, list) and len(part) == 3 and isinstance(part[0], str)
        if named and part[0] in layers:
            return _tensor(part, layers, made)
        return list(map(read, part)) if isinstance(part, list) else part

    entries = [node] if node and isinstance(node[0], str) else node
    constant = "_CONSTANT_VALUE"
    tensors = [e[2] if e[0] == constant else _tensor(e[:3], layers, made) for e in entries]
    more = entries[0][3] if entries and len(entries[0]) > 3 else {}
    given = {name: read(value) for name, value in dict(more).items()}
    return [tensors[0] if len(tensors) == 1 else tensors], given


def _tensor(entry: Any, layers: dict[str, Any], made: dict[int, list[Node]]) -> KerasTensor:
    """Tensor of [layer, node, index]; _NotMadeError if that call has not been made yet."""
    name, number, index = entry
    if name not in layers:
        raise ValueError(f"the config has no layer {name!r}; there are {list(layers)}")
    layer = layers[name]
    nodes = made[id(layer)]
    number -= _counts_from_one(layer)
    if not 0 <= number < len(nodes):
        raise _NotMadeError(layer, number)
    outputs = nodes[number].output_tensors
    if not 0 <= index < len(outputs):
        raise ValueError(f"the config has no tensor {entry!r}")
    found: KerasTensor = outputs[index]
    return found


# --- methods of models ---


def get_compile_config(model: Model) -> dict[str, Any]:
    """Arguments of `compile` as configs; {} before it was called."""
    if model._compiled is None:
        return {}
    given = {**model._compiled.given, "optimizer": model.optimizer}
    jit = given["jit_compile"]
    config: dict[str, Any] = serialize({**given, "jit_compile": jit == "auto" or bool(jit)})
    return config


def compile_from_config(model: Model, config: dict[str, Any]) -> None:
    """Call `compile` with the result of `get_compile_config`; the optimizer is new.

    A class with a `compile` of its own is left alone, with a warning: it has to override this
    method too.
    """
    if getattr(type(model), "compile", None) is not Trainer.compile:
        warn(
            f"{type(model).__name__} has a compile() of its own, which was not called: override "
            "compile_from_config(config) too, or call compile()"
        )
        return
    if not isinstance(config, Mapping):
        raise TypeError(f"compile_from_config: config must be a dict, got {config!r}")
    given = deserialize(config)
    if given.get("jit_compile"):  # what "auto" is in a config, and what files of Keras say
        given["jit_compile"] = "auto"
    model.compile(**given)
    if model.built and model.optimizer is not None:
        model.optimizer.build(model.trainable_variables)


def save(
    model: Model,
    filepath: FilePath,
    overwrite: bool = True,
    zipped: bool | None = None,
    **kwargs: Any,
) -> None:
    """Write the model whole to a `.keras` or `.h5` file; see `cdl.saving.save_model`.

    From a `.keras` file `load_model` and `fit(initial_epoch=k)` go on with the same bits as if
    nothing had come between.
    """
    saving.save_model(model, filepath, overwrite, zipped, **kwargs)


def save_weights(
    model: Model,
    filepath: FilePath,
    overwrite: bool = True,
    max_shard_size: float | None = None,
) -> None:
    """Write all variables to a `.weights.h5` file; see `cdl.saving.save_weights`."""
    saving.save_weights(model, filepath, overwrite, max_shard_size)


def load_weights(
    model: Model,
    filepath: FilePath,
    skip_mismatch: bool = False,
    by_name: bool | None = None,
    objects_to_skip: Iterable[Any] | None = None,
) -> None:
    """Read all variables from a file; see `cdl.saving.load_weights`."""
    saving.load_weights(model, filepath, skip_mismatch, by_name, objects_to_skip)


def export(
    model: Model,
    filepath: FilePath,
    format: str | None = None,
    verbose: bool | None = None,
    input_signature: Any = None,
    **kwargs: Any,
) -> None:
    """Export `predict` as C99 source or as an ONNX model.

    Args:
        filepath: the file; `net.c` comes with its header, `net.h`.
        format: "c" or "onnx"; None tells it by the ending of the file's name.
        verbose: whether to log what was written, as None also does.
        input_signature: the sizes of open axes, such as `[InputSpec(shape=(None, 100))]`; ONNX
            rarely needs them.
        kwargs: "onnx" takes `opset_version`. See `cdl.export.export_model`.

    Raises:
        ValueError: another format, a model that is not built, or one with a part that the
            format cannot express.
        OSError: a file cannot be written.
    """
    from cdl.export import export_model

    export_model(model, filepath, format, verbose, input_signature, **kwargs)


def to_json(model: Model, **kwargs: Any) -> str:
    """Config of the model and its compilation as JSON, without weights.

    Args:
        kwargs: of `json.dumps`, such as `indent`.
    """
    return json.dumps(serialize(model), **kwargs)


def model_from_json(json_string: str, custom_objects: Mapping[str, Any] | None = None) -> Model:
    """Create a model, with new weights, from the JSON of `Model.to_json`, or Keras's.

    Args:
        json_string: the JSON.
        custom_objects: classes and functions of the user's own, by name.

    Raises:
        ValueError: it is no JSON, or not that of a model.
        TypeError: a class in it is not known.
    """
    if not isinstance(json_string, (str, bytes)):
        raise TypeError(f"model_from_json: json_string must be a string, got {json_string!r}")
    try:
        configs.check_length(len(json_string))
        config = configs.read(json_string)
    except ValueError as error:
        raise ValueError(f"model_from_json: json_string must be JSON of a model: {error}") from None
    return model_from_config(config, custom_objects)


def model_from_config(
    config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None
) -> Model:
    """Create a model, with new weights, from its config; that of Keras 2 too."""
    from cdl.models.model import Model

    if not isinstance(config, Mapping) or "class_name" not in config:
        raise ValueError(f"the config of a model must be a dict with a class_name, got {config!r}")
    if config.get("module") is None and config.get("registered_name") is None:
        with saving.custom_object_scope(all_custom_objects(custom_objects)):
            config = keras2_configs.modern_file(config)
    model = serialization.deserialize(config, custom_objects)
    if not isinstance(model, Model):
        raise ValueError(f"the config must be that of a model, got one of {config['class_name']!r}")
    return model
