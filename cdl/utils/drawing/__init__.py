"""Pictures of models: model_to_dot, and plot_model by Graphviz or else by matplotlib."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdl._common.shared_arguments import described_by
from cdl.utils.drawing.contents import Arrow, Block, contents, layers_with_parents
from cdl.utils.drawing.graphviz import source_of

if TYPE_CHECKING:
    from cdl.models.model import Model

__all__ = ["Drawing", "layers_with_parents", "model_to_dot", "plot_model"]

_DIRECTIONS = ("TB", "LR", "BT", "RL")
_SPLINES = ("spline", "polyline", "ortho", "curved", "line")
_WITHOUT_GRAPHVIZ = ("spline", "polyline")
_PLAIN = ("dot", "gv")  # suffixes of the text itself
_MOST_DOTS = 65535  # of a side of a picture that matplotlib makes
_VECTORS = ("svg", "svgz", "pdf", "ps", "eps")  # those of pictures that are not made of dots


class Drawing:
    """Picture of a model; as text, it is in Graphviz's language.

    Attributes:
        blocks: the layers of the model.
        arrows: pairs of their keys.
        source: the text.
    """

    def __init__(
        self,
        name: str,
        blocks: list[Block],
        arrows: list[Arrow],
        rankdir: str,
        splines: str,
        dpi: int,
    ) -> None:
        self.name = name
        self.blocks = blocks
        self.arrows = arrows
        self.rankdir = rankdir
        self.splines = splines
        self.dpi = dpi
        self.source = self._source(f"dpi={dpi}")

    def _source(self, *settings: str) -> str:
        settings = (f"rankdir={self.rankdir}", f"splines={self.splines}", *settings)
        return source_of(self.name, self.blocks, self.arrows, settings)

    def to_string(self) -> str:
        """Text in Graphviz's language."""
        return self.source

    def __str__(self) -> str:
        return self.source

    def write(self, path: str | os.PathLike[str], format: str | None = None) -> None:
        """Write the picture to a file in `format`, or else that of the suffix.

        Raises:
            ValueError: no format, or a form of arrows that only Graphviz can draw.
            ImportError: neither Graphviz nor matplotlib is there.
        """
        import shutil
        import subprocess

        form = format or Path(path).suffix[1:].lower()
        if not form:
            raise ValueError(f"plot_model: to_file must have a suffix, got {os.fspath(path)!r}")
        if form in _PLAIN:
            Path(path).write_text(self.source, encoding="utf-8")
            return
        if dot := shutil.which("dot"):
            command = [dot, f"-T{form}", "-o", os.fspath(path)]
            # Graphviz cuts off an SVG that has a dpi; what is not made of dots needs none.
            text = self._source() if form in _VECTORS else self.source
            done = subprocess.run(
                command, input=text, capture_output=True, encoding="utf-8", check=False
            )
            if done.returncode:
                raise ValueError(f"plot_model: Graphviz cannot write {path}: {done.stderr.strip()}")
            return
        if self.splines not in _WITHOUT_GRAPHVIZ:
            raise ValueError(
                f"plot_model: splines must be one of {_WITHOUT_GRAPHVIZ} where Graphviz is not "
                f"installed (there is no program dot), got {self.splines!r}"
            )
        from cdl.utils.drawing.figure import figure_of, save

        figure = figure_of(self.blocks, self.arrows, self.rankdir, self.splines == "spline")
        fits = int(_MOST_DOTS / max(figure.get_size_inches()))
        if form not in _VECTORS and self.dpi > fits:
            width, height = figure.get_size_inches()
            raise ValueError(
                f"plot_model: dpi must be at most {fits} for a picture of {width:.0f} x "
                f"{height:.0f} inches, got {self.dpi}; svg has no such limit"
            )
        save(figure, path, form, self.dpi)


def model_to_dot(
    model: Model,
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = True,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: int = 200,
    subgraph: bool = False,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    splines: str = "spline",
    **kwargs: Any,
) -> Drawing:
    """Graph of a model's layers in Graphviz's DOT language.

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
        splines: how arrows are drawn: "spline" as curves around boxes, "polyline" with corners;
            "ortho", "curved" and "line" by Graphviz alone.
        kwargs: none.

    Raises:
        ValueError: a model that is not built, or a wrong argument.
    """
    if kwargs or subgraph:
        given = {**kwargs, **({"subgraph": subgraph} if subgraph else {})}
        raise ValueError(f"model_to_dot: arguments not recognized: {given}")
    if rankdir not in _DIRECTIONS:
        raise ValueError(f"model_to_dot: rankdir must be one of {_DIRECTIONS}, got {rankdir!r}")
    if splines not in _SPLINES:
        raise ValueError(f"model_to_dot: splines must be one of {_SPLINES}, got {splines!r}")
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
    blocks, arrows = contents(model, shown, expand_nested)
    return Drawing(model.name, blocks, arrows, rankdir, splines, dpi)


@described_by(model_to_dot)
def plot_model(
    model: Model,
    to_file: str | os.PathLike[str] = "model.png",
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = False,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: int = 200,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    splines: str = "spline",
    **kwargs: Any,
) -> Any:
    """Plot the graph of a model's layers to a file, by Graphviz or else by matplotlib.

    Args:
        to_file: the file; its suffix says in which format: png, svg, pdf; dot for the text.

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
        splines=splines,
        **kwargs,
    )
    drawing.write(to_file)
    notebook = sys.modules.get("IPython.display")
    if notebook is not None and Path(to_file).suffix == ".png":
        return notebook.Image(filename=os.fspath(to_file))
    return None
