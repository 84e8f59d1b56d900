"""Contents of a picture of a model: layers as blocks, and arrows between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

from cdl import tree
from cdl._tracing.graph import Assignment
from cdl._tracing.keras_tensor import KerasTensor

if TYPE_CHECKING:
    from cdl.layers.layer import Layer
    from cdl.models.model import Model
    from cdl.models.sequential import Sequential

Arrow = tuple[str, str]  # the keys of two blocks that have nothing within


class Block(NamedTuple):
    """Layer in a picture.

    Attributes:
        key: its name, after those of the models that it is drawn within.
        lines: what is written in it; of a model that is drawn as a frame, over it.
        within: the layers of such a model.
    """

    key: str
    lines: tuple[str, ...]
    within: tuple[Block, ...] = ()


class _Call(NamedTuple):
    """Call of a layer; a symbolic tensor stands for an input that no layer makes.

    Attributes:
        sources: for each input the layer that made it, and which of its outputs it is.
        inputs: the shapes of the inputs.
        outputs: those of the outputs.
        dtype: of the first output.
    """

    layer: Any
    sources: list[tuple[Any, int]]
    inputs: list[Any]
    outputs: list[Any]
    dtype: str


def contents(
    model: Model, shown: Mapping[str, bool], expand: bool
) -> tuple[list[Block], list[Arrow]]:
    """Blocks of a model, and the arrows between them, each once.

    Args:
        model: a built one.
        shown: which of "names", "activations", "shapes", "dtype", "trainable" are written.
        expand: whether the layers of models within it are shown.
    """
    found = _Contents(model, "", shown, expand)
    return list(found.blocks.values()), list(dict.fromkeys(found.arrows))


def layers_with_parents(model: Model) -> list[tuple[Any, list[Any]]]:
    """Each layer of a model with the layers it reads, in order."""
    return [
        (calls[0].layer, [source for call in calls for source, _ in call.sources])
        for calls in _calls_of_layers(model)
    ]


def printable(text: str) -> str:
    """Text without line breaks and other characters that cannot be printed."""
    if text.isprintable():
        return text
    return "".join(mark if mark.isprintable() else " " for mark in text)


class _Contents:
    """Collector of a model's blocks, by the identity of their layers, and of its arrows."""

    def __init__(self, model: Model, prefix: str, shown: Mapping[str, bool], expand: bool) -> None:
        self.blocks: dict[int, Block] = {}
        self.arrows: list[Arrow] = []
        self._model = model
        self._within: dict[int, _Contents] = {}  # the models that are drawn as frames
        taken: set[str] = set()
        grouped = _calls_of_layers(model)
        for calls in grouped:
            layer = calls[0].layer
            key = f"{prefix}{layer.name}"
            while key in taken:  # a class with a `call` may have two layers of one name
                key += "'"
            taken.add(key)
            block = Block(key, tuple(map(printable, _lines(calls, shown))))
            if expand and _is_drawn_as_frame(layer):
                inner = self._within[id(layer)] = _Contents(layer, f"{key}/", shown, expand)
                block = block._replace(within=tuple(inner.blocks.values()))
                self.arrows += inner.arrows
            self.blocks[id(layer)] = block
        self.arrows += [
            (self._from(source, output), self._to(call.layer, number))
            for calls in grouped
            for call in calls
            for number, (source, output) in enumerate(call.sources)
        ]

    def _from(self, layer: Layer, output: int) -> str:
        """Key of the block that makes an output of a layer."""
        inner = self._within.get(id(layer))
        if inner is None:
            return self.blocks[id(layer)].key
        sources = _ends(inner._model)[1]
        return inner._from(*sources[min(output, len(sources) - 1)])

    def _to(self, layer: Layer, number: int) -> str:
        """Key of the block that reads an input of a layer."""
        inner = self._within.get(id(layer))
        if inner is None:
            return self.blocks[id(layer)].key
        readers = _ends(inner._model)[0]
        return inner._to(readers[min(number, len(readers) - 1)], 0)


def _is_drawn_as_frame(layer: Any) -> bool:
    """Whether a layer is a model whose calls are known."""
    if not (getattr(layer, "layers", None) and layer.built):
        return False
    return _is_stack(layer) or bool(layer.operations or layer._call_nodes)


def _calls_of_layers(model: Model) -> list[list[_Call]]:
    """Calls within a model, grouped by layer."""
    grouped: dict[int, list[_Call]] = {}
    for call in _calls(model):
        grouped.setdefault(id(call.layer), []).append(call)
    return list(grouped.values())


def _calls(model: Model) -> Iterator[_Call]:
    """Calls within a model; if they are unknown, one of the model itself."""
    if _is_stack(model):
        yield from _calls_of_stack(model)
        return
    calls = model._graph_of_model.calls_by_layer()
    nodes = [node for layer in model.operations for node in calls[id(layer)]]
    if not nodes:  # a class with a `call`: no layers make its inputs
        nodes = [node for node in model._call_nodes if not isinstance(node.operation, Assignment)]
        for tensor in model._call_inputs:
            yield _Call(tensor, [], [], [tensor.shape], tensor.dtype)
    if not nodes:
        yield _Call(model, [], [], [], "?")
    for node in nodes:
        made = node.output_tensors
        yield _Call(
            node.operation,
            [_made_by(tensor) for tensor in node.inputs],
            [tensor.shape for tensor in node.inputs],
            [tensor.shape for tensor in made],
            made[0].dtype if made else "?",
        )


def _calls_of_stack(model: Sequential) -> Iterator[_Call]:
    chain: list[Any] = [model._input, *model.layers]
    shapes = model._shapes
    for i, layer in enumerate(chain):
        sources = [(chain[i - 1], 0)] if i else []
        yield _Call(layer, sources, shapes[max(i - 1, 0) : i], [shapes[i]], layer.dtype)


def _ends(model: Model) -> tuple[list[Any], list[tuple[Any, int]]]:
    """Layers that read the inputs of a model, and layers that make its outputs."""
    if _is_stack(model):
        return [model._input], [(model.layers[-1], 0)]
    inputs = model._call_inputs or tree.flatten(model._inputs_struct)
    outputs = tree.flatten(model._outputs_struct)
    return [_made_by(tensor)[0] for tensor in inputs], [_made_by(tensor) for tensor in outputs]


def _is_stack(model: Model) -> TypeGuard[Sequential]:
    return hasattr(model, "_stack")


def _made_by(tensor: KerasTensor) -> tuple[Any, int]:
    """Layer and output index that made a tensor; the tensor itself if none did."""
    return (tensor, 0) if tensor.node is None else (tensor.node.operation, tensor.tensor_index)


def _lines(calls: list[_Call], shown: Mapping[str, bool]) -> Iterator[str]:
    """Lines of text in the block of a layer."""
    layer = calls[0].layer
    kind = _kind(layer)
    named = shown["names"] or kind == "InputLayer"  # of which the name alone tells one apart
    yield f"{layer.name} ({kind})" if named else kind
    activation = getattr(layer, "activation", None)
    if shown["activations"] and activation is not None:
        name = getattr(activation, "name", getattr(activation, "__name__", str(activation)))
        yield f"Activation: {name}"
    if shown["shapes"]:
        if calls[0].sources:
            yield f"Input shape: {_shapes([call.inputs for call in calls])}"
        yield f"Output shape: {_shapes([call.outputs for call in calls])}"
    if shown["dtype"]:
        yield f"Output dtype: {calls[0].dtype}"
    if shown["trainable"] and getattr(layer, "weights", None):
        yield f"Trainable: {layer.trainable}"


def _kind(layer: Layer) -> str:
    """Class name of a layer; of a function of `cdl.ops` the class that Keras has for it."""
    if isinstance(layer, KerasTensor):
        return "Input"
    return str(getattr(getattr(layer, "row", None), "known_as", type(layer).__name__))


def _shapes(calls: list[list[Any]]) -> str:
    """Shapes of each call; where calls differ, all of them."""
    texts = [str(shapes[0] if len(shapes) == 1 else shapes or "?") for shapes in calls]
    return " or ".join(dict.fromkeys(texts))
