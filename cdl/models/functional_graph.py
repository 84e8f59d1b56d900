"""FunctionalGraph: the graph of a model, from `Model(inputs, outputs)` or a traced `call`.

A model that was made of symbolic tensors keeps them. One with a `call` of its own is traced when it
is built, for the structure and the shapes of its inputs, and anew for each program, since what it
does may depend on whether it trains.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cdl import tree
from cdl._common.errors import warn
from cdl._ir.lowering import Lowering
from cdl._ir.program import Value
from cdl._tracing import derivatives
from cdl._tracing import graph as graphs
from cdl._tracing.between_inputs import outputs_for, replayed
from cdl._tracing.graph import KerasTensor
from cdl._tracing.joining import SAMPLES, apart_or_joined
from cdl.data import as_numeric, brief, frames
from cdl.data.named_columns import by_name
from cdl.data.texts import holds_texts
from cdl.layers import Layer
from cdl.layers.call_arguments import takes
from cdl.layers.calling import is_scripted, prepare, trace_any, undone_on_failure
from cdl.layers.in_programs import append, cast_value
from cdl.models.graph import are_alike, check_samples_first
from cdl.models.host_part import HostPart, has_host_layers
from cdl.trainers.compile_arguments import up_to
from cdl.trainers.signature import (
    GraphOfModel,
    Info,
    Signature,
    flat,
    names_of_inputs,
    signature_of_graph,
)

Shape = tuple[int | None, ...]


class FunctionalGraph(GraphOfModel):
    """Graph of a model, with its inputs and outputs as flat lists for executors.

    Args:
        model: whose graph it is; it holds what it was made of.
    """

    __slots__ = ("model",)

    def __init__(self, model: Any) -> None:
        self.model = model

    @property
    def _name(self) -> str:
        return str(self.model.name)

    @property
    def _owner(self) -> str:
        return f"{type(self.model).__name__} {self._name!r}"

    def calls_by_layer(self) -> dict[int, list[graphs.Node]]:
        """Calls that belong to the model, by the identity of the layer or function."""
        found: dict[int, list[graphs.Node]] = {}
        for node in (
            self.model._call_nodes
            if self.model._model_graph is None
            else self.model._model_graph.nodes
        ):
            found.setdefault(id(node.operation), []).append(node)
        return found

    def branches(self) -> bool:
        """Whether the graph is more than a straight line."""
        nodes = [] if self.model._model_graph is None else self.model._model_graph.nodes
        pairs = itertools.pairwise(nodes)
        return any([t.node for t in after.inputs] != [node] for node, after in pairs)

    def shapes_after_layers(self) -> dict[int, Any]:
        """Output shape of each layer, batch axis included, by its identity, if known."""
        found: dict[int, Any] = {}
        for layer, nodes in self.calls_by_layer().items():
            shapes = [tensor.shape for tensor in nodes[0].output_tensors]
            found[layer] = shapes[0] if len(shapes) == 1 else shapes
        return found

    def structure_of(self, what: str) -> Any:
        """Symbolic inputs or outputs, nested; AttributeError before they are known."""
        model = self.model
        if (wired := model._model_graph) is not None:
            return wired.inputs if what.startswith("input") else wired.outputs
        structure = model._inputs_struct if what.startswith("input") else model._outputs_struct
        if structure is None:
            raise AttributeError(
                f"{self._owner} has no {what} yet: it is known when the "
                "model has been built, as by its first data"
            )
        return structure

    # --- form for executors ---

    def input_shape(self) -> Any:
        """Shapes of the inputs, batch axis included; one shape if there is one input."""
        return shapes_of(self.structure_of("input"))

    def output_shape(self) -> Any:
        """Shapes of the outputs, batch axis included; one shape if there is one output."""
        return shapes_of(self.structure_of("output"))

    def signature(self) -> Signature:
        """Flat lists of inputs and outputs, cached for use with every batch."""
        model, wired = self.model, self.model._model_graph
        ends: Signature | None = model._signature
        inputs, outputs = model._inputs_struct, model._outputs_struct
        if ends is None or ends.of[0] is not inputs or ends.of[1] is not outputs:
            if wired is not None and is_scripted(type(model)) and not model._building_specs:
                outputs = model._outputs_struct = self._outputs_of_call()
            by_layers = wired is not None and outputs is wired.outputs
            made = signature_of_graph(inputs, outputs, by_layers)
            if model._building_specs:
                return made
            is_open = any(None in info.shape[1:] for info in made.inputs)
            ends = model._signature = made._replace(takes_sizes=is_open or self.takes_any_size())
        return ends

    def input_infos(self) -> tuple[Info, ...]:
        return self.signature().inputs if self.model._host is None else self.model._host.infos

    def output_infos(self) -> tuple[Info, ...]:
        self.structure_of("output")
        return self.signature().outputs

    def has_host_part(self) -> bool:
        return self.model._host is not None

    def output_rows(self, rows: Sequence[tuple[int, ...]]) -> Sequence[tuple[int, ...]]:
        known = [info.row for info in self.output_infos()]
        if not self.takes_any_size() and all(None not in row for row in known):
            return known  # no open axis of an input goes on to an output
        found = apart_or_joined(lambda: self._lowered_rows(rows))
        if not any(SAMPLES in row for row in found):
            return found
        other = apart_or_joined(lambda: self._lowered_rows(rows), SAMPLES + 1)
        pairs = [zip(*each, strict=True) for each in zip(found, other, strict=True)]
        sizes: Any = [tuple(n if n == m else None for n, m in each) for each in pairs]
        return tuple(sizes)

    def _lowered_rows(self, rows: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
        program = Lowering()
        values = self.append_all(program, [program.input(row, role="x") for row in rows])
        return [value.shape for value in values]

    def takes_sizes(self) -> bool:
        if self.model._host is not None:
            return self.takes_any_size() or any(None in info.row for info in self.model._host.infos)
        return self.signature().takes_sizes  # asked for with every batch

    def widens(self, shape: Shape) -> bool:
        """False: an Input has fixed the sizes."""
        del shape
        return False

    def takes_any_size(self) -> bool:
        return self.model._model_graph is None or is_scripted(type(self.model))

    def input_names(self) -> list[str]:
        if self.model._host is not None:
            return [info.name for info in self.model._host.infos]
        return self.signature().input_names

    def output_names(self) -> list[str] | None:
        return None if self.model._outputs_struct is None else self.signature().output_names

    def output_nest(self) -> Any:
        return self.signature().output_nest

    def merges_rows(self) -> bool:
        outputs = tree.flatten(self.model._outputs_struct)
        return any(getattr(each, "rows_per_sample", 0) > 1 for each in outputs)

    def packed_outputs(self, outputs: list[Any]) -> Any:
        for i, tensor in enumerate(tree.flatten(self.model._outputs_struct)):
            rows_per_sample = getattr(tensor, "rows_per_sample", 0)
            merged = rows_per_sample > 1 and isinstance(outputs[i], np.ndarray)
            if merged and outputs[i].ndim > tensor.ndim:
                outputs[i] = outputs[i].reshape(-1, *outputs[i].shape[2:])
        if isinstance(self.model._outputs_struct, KerasTensor):
            return outputs[0]
        return _unpacked(tree.pack_sequence_as(self.model._outputs_struct, outputs))

    def packed_inputs(self, inputs: list[Any]) -> Any:
        return _unpacked(tree.pack_sequence_as(self.model._inputs_struct, inputs))

    def flat_inputs(self, x: Any, call: str) -> list[Any]:
        if self.model._inputs_struct is None:
            self._build_from(x, call)
        given = self.flat_given(x, call)
        return given if self.model._host is None else self.model._host.run(given, call)

    def flat_given(self, x: Any, call: str) -> list[Any]:
        """User inputs as one element each; None only for optional ones."""
        alone = isinstance(x, (list, tuple)) and len(x) == 1 and x[0] is None
        given = self._in_order(None if alone else x, call)
        for part, tensor in zip(given, self.model.inputs, strict=True):
            made_by = getattr(tensor.node, "operation", None)
            if part is None and not getattr(made_by, "optional", False):
                raise ValueError(
                    f"{call}: The input {tensor.name!r} is not optional, but None was passed"
                )
        return given

    def _in_order(self, x: Any, call: str) -> list[Any]:
        ends = self.signature()
        if ends.nested:
            structure = self.model._inputs_struct
            if len(self.model.inputs) == 1 and not isinstance(x, (list, tuple, Mapping)):
                x = tree.pack_sequence_as(structure, [x])
            x, expected = _arrays_as_leaves(x), tree.lists_to_tuples(structure)
            try:
                tree.assert_same_structure(tree.lists_to_tuples(x), expected)
            except ValueError:
                wanted = tree.map_structure(lambda t: t.name, structure)
                raise ValueError(
                    f"{call}: x must be nested as the inputs are, {wanted}, got {brief(x)}"
                ) from None
            return tree.flatten(x)
        if ends.one and type(x) is np.ndarray:
            return [x]
        if isinstance(self.model._inputs_struct, dict):
            self._check_keys(x, ends.input_names, call)
        if not ends.one and frames.names_of(x) is not None:
            x = self._named_columns(x, f"{call}: x")
        return flat(x, ends.input_names, f"{call}: x", "input")

    def _named_columns(self, frame: Any, name: str) -> Any:
        """Columns of a frame by the inputs' names; the frame itself if it is one matrix."""
        structure, names = self.model._inputs_struct, self.signature().input_names
        if len(names) == 1 and not isinstance(structure, Mapping):
            return frame
        tensors = dict(zip(names, tree.flatten(structure), strict=True))
        graph = self.model._model_graph
        nodes = [] if graph is None else graph.graph.nodes
        filled = {
            id(t)
            for node in nodes
            if getattr(node.operation, "takes_missing", False)
            for t in node.inputs
        }
        gaps = frozenset(each for each, tensor in tensors.items() if id(tensor) in filled)
        return by_name(frame, {each: t.dtype for each, t in tensors.items()}, name, gaps)

    def _check_keys(self, x: Any, names: list[str], call: str) -> None:
        """Refuse a list for a dict of inputs, unless its keys are sorted; warn of other keys."""
        if isinstance(x, (list, tuple)) and len(names) > 1:
            text = (
                f"{call}: x must be a dict with the keys {names}, as the inputs are one: the "
                f"structure of `inputs` doesn't match the expected structure, got a "
                f"{type(x).__name__} of {len(x)}"
            )
            keys = list(self.model._inputs_struct)
            if self.model._model_graph is None or len(x) != len(keys) or keys != sorted(keys):
                raise ValueError(text)
            warn(f"{text}, which is taken in that order")
        unknown = [key for key in x if key not in names] if type(x) is dict else []
        if unknown:
            warn(
                f"{call}: x has keys that no input has, and that are not looked at, {unknown}: the "
                f"structure of `inputs` doesn't match the expected structure, {names}"
            )

    def flat_targets(self, y: Any, call: str) -> list[Any]:
        ends = self.signature()
        names = ends.output_names
        if len(names) == 1 and type(y) is np.ndarray:
            return [y]
        alike = up_to(ends.output_nest, y)
        return flat(y if alike is None else alike, names, call, "output", partly=True)

    # --- lowering ---

    def append_all(self, program: Lowering, values: Sequence[Value]) -> list[Value]:
        """Append the model to a program: from its flat inputs to its flat outputs."""
        host: HostPart | None = self.model._host
        if host is not None:
            return host.lower(program, values)
        args = (tree.pack_sequence_as(self.model._inputs_struct, values),)
        pairs = zip(tree.flatten(self.model._inputs_struct), values, strict=True)
        tensors = [tensor.sized(value.shape, value.shared) for tensor, value in pairs]
        specs: Any = ((tree.pack_sequence_as(self.model._inputs_struct, tensors),), {})
        return tree.flatten(append(self.model, program, specs, args, {}))

    def lower(self, program: Lowering, x: Any) -> Any:
        """Append the graph, from values nested as the inputs are."""
        assert self.model._model_graph is not None
        given = tree.flatten(self.nested_inputs(x))
        pairs = zip(given, self.model._model_graph.graph.inputs, strict=True)
        values = [_in_dtype(program, v, t.dtype) for v, t in pairs]
        graph = self.model._model_graph.graph
        if graph.couples:
            graph = replayed(graph, program, values)
        return _unpacked(graph.lower(program, values))

    def of_constants(self, x: Any, training: bool | None) -> Any:
        """Call the layers for arrays or tensors in place of the inputs, as in traced code."""
        try:
            self.structure_of("output")  # which makes the graph of a stack
        except AttributeError:
            raise self.model._no_call() from None
        arrays, wired = tree.flatten(self.nested_inputs(x)), self.model._model_graph

        def call(node: graphs.Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            layer = node.operation
            cls = type(layer)
            if isinstance(layer, Layer) and (not is_scripted(cls) or takes(cls, "training")):
                own = kwargs.get("training")
                kwargs = {**kwargs, "training": training if own is None else own}
            given = tree.map_structure(derivatives.source, args) if is_scripted(cls) else args
            return getattr(layer, "again", layer)(*given, **kwargs)

        return _unpacked(wired.graph.outputs_for(arrays, call))

    def nested_inputs(self, x: Any) -> Any:
        """Arguments of a call in the order of the inputs; ValueError."""
        structure = self.model._inputs_struct
        names = names_of_inputs(structure)
        given = tree.flatten(x)
        if isinstance(x, Mapping) and not isinstance(structure, dict):
            if not set(names) <= set(x):
                raise ValueError(f"{self._name}: inputs must have the keys {names}, got {list(x)}")
            return [x[name] for name in names]
        if isinstance(structure, dict) and isinstance(x, Mapping) and set(x) != set(structure):
            if not set(structure) <= set(x):
                raise ValueError(
                    f"{self._name}: inputs must have the keys {list(structure)}, got {list(x)}"
                )
            return {key: x[key] for key in structure}
        if len(given) != len(names):
            raise ValueError(
                f"{self._name}: inputs must be {len(names)} tensors, for {names}, got {len(given)}"
            )
        return x

    def output_spec(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Symbolic tensors like the outputs, with as many samples as the symbolic inputs have."""
        wired = self.model._model_graph
        given = graphs.tensors_of(args, kwargs)
        rows = given[0].shape[:1] if given and given[0].rows_per_sample == 1 else (None,)

        def like(t: KerasTensor) -> KerasTensor:
            made = t.like((*rows, *t.shape[1:]) if t.rows_per_sample == 1 else None)
            made.mask = t.mask
            return made

        graph, masked = wired.graph, any(tensor.mask is not None for tensor in given)
        if (graph.is_open or graph.couples or masked) and given and args:
            tensors = tree.flatten(self.nested_inputs(args[0]))
            spec = outputs_for(graph, tensors) if graph.couples else graph.outputs_for(tensors)
            inputs = set(map(id, tensors))  # which may be outputs, too
            spec = tree.map_structure(lambda t: like(t) if id(t) in inputs else t, spec)
        else:
            spec = tree.map_structure(like, self.model._outputs_struct)
        return _unpacked(spec)

    def output_shape_for(self, input_shape: Any) -> Any:
        """Shapes of the outputs for inputs of those shapes; ValueError if they do not fit."""
        if is_scripted(type(self.model)) or self.model._model_graph is None:
            return Layer.compute_output_shape(self.model, input_shape)
        self.model.check_input(input_shape)
        tensors = tree.map_shape_structure(KerasTensor, input_shape)
        return shapes_of(self.model.compute_output_spec(tensors))

    def check_input(self, shapes: Any) -> None:
        """Check the shapes of inputs, batch axis included; ValueError if they do not fit."""
        if self.model._model_graph is None:
            return
        given = _flat_shapes(shapes)
        infos = self.signature().inputs
        if isinstance(shapes, Mapping):
            named = self.nested_inputs(tree.map_shape_structure(KerasTensor, shapes))
            given = [tensor.shape for tensor in tree.flatten(named)]
        if len(given) != len(infos):
            raise ValueError(
                f"{self._name}: inputs must be {len(infos)} tensors, for "
                f"{[info.name for info in infos]}, got {len(given)}"
            )
        for info, shape in zip(infos, given, strict=True):
            pairs = zip(shape[1:], info.shape[1:], strict=False)
            if len(shape) != len(info.shape) or any(None not in p and p[0] != p[1] for p in pairs):
                raise ValueError(
                    f"{self._name}: input {info.name!r} must have shape {info.shape}, got {shape}"
                )

    # --- building a model that has a call of its own ---

    def outputs_for(self, shapes: Sequence[Shape]) -> tuple[Info, ...]:
        raise NotImplementedError

    def build_for(self, shapes: Sequence[Shape]) -> None:
        raise NotImplementedError

    def check_has_layers(self) -> None:
        """Do nothing: tracing reports a call without symbolic results."""

    def _build_from(self, x: Any, call: str) -> None:
        """Build for data: their structure, shapes and dtypes."""

        def spec(leaf: Any) -> KerasTensor:
            if holds_texts(leaf):
                return KerasTensor((None, *np.shape(leaf)[1:]), "string")
            array = as_numeric(leaf, f"{call}: x")
            return KerasTensor((None, *array.shape[1:]), array.dtype.name)

        self.build_for_specs(tree.map_structure(spec, _arrays_as_leaves(x)))

    def build_for_specs(self, specs: Any) -> None:
        """Build for symbolic tensors, by calling the model once on them."""
        if self.model._building_specs:  # by a `build` of the user's, which goes on from there
            return
        names = [path[-1] if path else None for path, _ in tree.flatten_with_path(specs)]
        for i, (name, tensor) in enumerate(zip(names, tree.flatten(specs), strict=True)):
            tensor.name = name if isinstance(name, str) else f"input_{i + 1}"
        graph = self._first_trace(specs)
        self.model._inputs_struct, self.model._outputs_struct = specs, graph.outputs
        self.model._call_nodes, self.model._call_inputs = graph.nodes, graph.inputs
        for tensor, spec in zip(graph.inputs, tree.flatten(specs), strict=True):
            tensor.name = spec.name
        self.model._without_inputs = {}
        self.model._host = HostPart(self.model) if has_host_layers(self.model) else None

    def _outputs_of_call(self) -> Any:
        """Symbolic outputs of a `call` around the graph; the graph's if they are alike."""
        outputs = self.model._model_graph.outputs
        if self.model._host is not None:
            return outputs
        found = self._first_trace(self.model._inputs_struct).outputs
        return outputs if are_alike(found, outputs) else found

    def _first_trace(self, specs: Any) -> graphs.Graph:
        self.model._building_specs = True
        try:
            with undone_on_failure(self.model):
                prepare(self.model, (specs,), {})
                graph = trace_any(self.model, (specs,), {}, False)
        finally:
            self.model._building_specs = False
        if not graphs.tensors_in(graph.outputs):
            raise ValueError(
                f"{self._owner}: call() must return symbolic values, got {brief(graph.outputs)}"
            )
        check_samples_first(f"{self._owner}: call()", graph.outputs)
        return graph


def _in_dtype(program: Lowering, value: Value, dtype: str) -> Value:
    """Value of an input in the dtype of its tensor; float64 is computed in float32."""
    if "float" not in dtype:
        return value
    return cast_value(program, value, "float32" if dtype == "float64" else dtype)


def shapes_of(structure: Any) -> Any:
    """Shapes of nested symbolic tensors; one shape of a list of one."""
    shapes = tree.map_structure(lambda tensor: tensor.shape, structure)
    return shapes[0] if isinstance(structure, list) and len(structure) == 1 else shapes


def _parts(structure: Any) -> list[Any]:
    return list(structure.values()) if isinstance(structure, dict) else list(structure)


def _flat_shapes(shapes: Any) -> list[Shape]:
    if tree.is_shape(shapes):
        return [tuple(shapes)]
    parts = _parts(shapes)
    return [shape for part in parts for shape in _flat_shapes(part)]


def _arrays_as_leaves(x: Any) -> Any:
    """Data with lists of numbers as arrays, so that the nesting is that of the inputs."""
    if (
        isinstance(x, (list, tuple))
        and x
        and not any(hasattr(p, "shape") or tree.is_nested(p) for p in x)
    ):
        return np.array(x, object) if holds_texts(x) else as_numeric(x, "x")
    if isinstance(x, (list, tuple)):
        return type(x)(map(_arrays_as_leaves, x))
    if isinstance(x, Mapping):
        return {key: _arrays_as_leaves(value) for key, value in x.items()}
    return x


def _unpacked(y: Any) -> Any:
    """The output of a model that has one; else all."""
    return y[0] if isinstance(y, (list, tuple)) and len(y) == 1 else y
