"""drawing.py - plot_model: the layers of a model as boxes, by Graphviz or else by matplotlib."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from cdl.utils.boxes import Box, draw

_DIRECTIONS = ("TB", "LR", "BT", "RL")
_PLAIN = ("dot", "gv")  # suffixes of the text itself


class Drawing:
    """Boxes and arrows, as text in Graphviz's language.

    Attributes:
        boxes: the layers of the model.
        arrows: pairs of keys.
        source: the text.
    """

    def __init__(
        self, boxes: list[Box], arrows: list[tuple[str, str]], rankdir: str, dpi: int, name: str
    ) -> None:
        self.boxes = boxes
        self.arrows = arrows
        self.rankdir = rankdir
        self.dpi = dpi
        lines = [f"digraph {_quoted(name)} {{", f"  rankdir={rankdir}; dpi={dpi};"]
        lines += ['  node [shape=record, fontname="Helvetica"];']
        for box in boxes:
            lines += _described(box, "  ")
        lines += [f"  {_quoted(a)} -> {_quoted(b)};" for a, b in arrows]
        self.source = "\n".join([*lines, "}", ""])

    def to_string(self) -> str:
        """The text."""
        return self.source

    def __str__(self) -> str:
        return self.source

    def write(self, path: str | os.PathLike[str], format: str | None = None) -> None:
        """Write the drawing to a file; the suffix says in which format.

        Raises:
            ValueError: no format.
            ImportError: neither Graphviz nor matplotlib is there.
        """
        import shutil
        import subprocess

        form = format or Path(path).suffix[1:].lower()
        if not form:
            raise ValueError(f"plot_model: to_file must have a suffix, got {os.fspath(path)!r}")
        if form in _PLAIN:
            Path(path).write_text(self.source)
        elif shutil.which("dot"):
            command = ["dot", f"-T{form}", "-o", os.fspath(path)]
            done = subprocess.run(
                command, input=self.source, capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise ValueError(f"plot_model: Graphviz cannot write {path}: {done.stderr.strip()}")
        else:
            draw(self, path, form)


def model_to_dot(
    model: Any,
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = True,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: int = 200,
    subgraph: bool = False,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    **kwargs: Any,
) -> Drawing:
    """The layers of a model as boxes, with arrows from what gives to what reads.

    Args:
        model: a built model.
        show_shapes: whether boxes have the shapes of inputs and outputs.
        show_dtype: whether they have the dtype.
        show_layer_names: whether they have the name, and not the class alone.
        rankdir: "TB" from top to bottom, "LR" from left to right, "BT", "RL".
        expand_nested: whether models within the model are drawn as boxes of their layers.
        dpi: dots an inch.
        subgraph: not supported.
        show_layer_activations: whether boxes have the activation.
        show_trainable: whether they say if training changes the weights.
        kwargs: none.

    Raises:
        ValueError: a model that is not built, or a wrong argument.
    """
    if kwargs or subgraph:
        given = {**kwargs, **({"subgraph": subgraph} if subgraph else {})}
        raise ValueError(f"model_to_dot: arguments not recognized: {given}")
    if rankdir not in _DIRECTIONS:
        raise ValueError(f"model_to_dot: rankdir must be one of {_DIRECTIONS}, got {rankdir!r}")
    if isinstance(dpi, bool) or not isinstance(dpi, int) or dpi < 1:
        raise ValueError(f"model_to_dot: dpi must be a positive int, got {dpi!r}")
    if not getattr(model, "built", False):
        raise ValueError(
            f"model_to_dot: {getattr(model, 'name', model)!r} must be built first: call "
            "build(input_shape)"
        )
    shown = {
        "shapes": show_shapes,
        "dtype": show_dtype,
        "names": show_layer_names,
        "activations": show_layer_activations,
        "trainable": show_trainable,
    }
    boxes, arrows = _boxes_of(model, "", shown, expand_nested)
    return Drawing(boxes, arrows, rankdir, dpi, model.name)


def plot_model(
    model: Any,
    to_file: str | os.PathLike[str] = "model.png",
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = False,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: int = 200,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    **kwargs: Any,
) -> Any:
    """Draw the layers of a model into a file, by Graphviz if it is there, else by matplotlib.

    Args:
        model: a built model.
        to_file: the file; its suffix says in which format: png, svg, pdf; dot for the text.
        show_shapes: see `model_to_dot`.
        show_dtype: likewise.
        show_layer_names: likewise.
        rankdir: likewise.
        expand_nested: likewise.
        dpi: likewise.
        show_layer_activations: likewise.
        show_trainable: likewise.
        kwargs: none.

    Returns:
        The image, in a notebook; else None.

    Raises:
        ValueError: a model that is not built, or a wrong argument.
        ImportError: neither Graphviz nor matplotlib is there.
    """
    drawing = model_to_dot(
        model,
        show_shapes,
        show_dtype,
        show_layer_names,
        rankdir,
        expand_nested,
        dpi,
        show_layer_activations=show_layer_activations,
        show_trainable=show_trainable,
        **kwargs,
    )
    drawing.write(to_file)
    notebook = sys.modules.get("IPython.display")
    if notebook is not None and Path(to_file).suffix == ".png":
        return notebook.Image(filename=os.fspath(to_file))
    return None


def _boxes_of(
    model: Any, prefix: str, shown: dict[str, bool], expand: bool
) -> tuple[list[Box], list[tuple[str, str]]]:
    """The boxes of a model and the arrows between them, and within those that are expanded."""
    parents = layers_with_parents(model)
    boxes: dict[int, Box] = {}
    arrows: list[tuple[str, str]] = []
    for layer, above in parents:
        key = f"{prefix}{layer.name}"
        shapes = [_shape_after(model, each) for each in above]
        within: list[Box] = []
        if expand and getattr(layer, "layers", None):
            within, inner = _boxes_of(layer, f"{key}/", shown, expand)
            arrows += inner
        if id(layer) not in boxes:
            boxes[id(layer)] = Box(key, _lines(model, layer, shapes, shown), tuple(within))
        for each in above:
            arrow = (boxes[id(each)].last, boxes[id(layer)].first)
            if arrow not in arrows:
                arrows.append(arrow)
    return list(boxes.values()), arrows


def layers_with_parents(model: Any) -> list[tuple[Any, list[Any]]]:
    """Each layer with those that it reads, in order."""
    operations = list(getattr(model, "operations", ()))
    if operations:
        return [
            (
                layer,
                [
                    tensor._keras_history.operation
                    for node in model._nodes_of(layer)
                    for tensor in node.inputs
                ],
            )
            for layer in operations
        ]
    front = [model._input] if getattr(model, "_input", None) is not None else []
    chain = [*front, *model.layers]
    return [(layer, chain[i - 1 : i] if i else []) for i, layer in enumerate(chain)]


def _shape_after(model: Any, layer: Any) -> Any:
    if hasattr(layer, "batch_shape"):
        return layer.batch_shape
    return model._shape_after(layer)


def _lines(model: Any, layer: Any, above: list[Any], shown: dict[str, bool]) -> tuple[str, ...]:
    """What stands in the box of a layer."""
    kind = type(layer).__name__
    lines = [f"{layer.name} ({kind})" if shown["names"] else kind]
    activation = getattr(layer, "activation", None)
    if shown["activations"] and activation is not None:
        name = getattr(activation, "name", getattr(activation, "__name__", str(activation)))
        lines.append(f"Activation: {name}")
    if shown["shapes"]:
        own = _shape_after(model, layer)
        given = above[0] if len(above) == 1 else above
        lines.append(f"Input shape: {given if above else own}")
        lines.append(f"Output shape: {own}")
    if shown["dtype"]:
        lines.append(f"Output dtype: {getattr(layer, 'dtype', 'float32')}")
    if shown["trainable"] and getattr(layer, "weights", None):
        lines.append(f"Trainable: {layer.trainable}")
    return tuple(lines)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
    return f'"{escaped}"'


def _described(box: Box, indent: str) -> list[str]:
    """A box in Graphviz's language; one with others in it is a cluster."""
    if box.within:
        lines = [f"{indent}subgraph {_quoted(f'cluster_{box.key}')} {{"]
        lines.append(f"{indent}  label={_quoted(box.lines[0])};")
        for each in box.within:
            lines += _described(each, f"{indent}  ")
        return [*lines, f"{indent}}}"]
    words = [_in_record(line) for line in box.lines]
    label = "{" + " | ".join(words) + "}"
    return [f'{indent}{_quoted(box.key)} [label="{label}"];']


def _in_record(text: str) -> str:
    """What may stand in a field of a record."""
    for mark in '\\{}|<>"':
        text = text.replace(mark, f"\\{mark}")
    return text.replace("\n", " ")
