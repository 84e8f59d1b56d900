"""Table of layers for `model.summary()`."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from cdl._common import html
from cdl.trainers.trainer import Trainer

if TYPE_CHECKING:
    from rich.console import JustifyMethod
    from rich.table import Table

    from cdl.layers.layer import Layer
    from cdl.models.model import Model

_LENGTH, _TRAINABLE_LENGTH = 88, 12  # of a line, and what the column `Trainable` adds
_FRAME = 4  # of a column's characters, for lines and spaces
_WIRED_LENGTH = 108  # of a line, with the column `Connected to`
_POSITIONS = (0.45, 0.80, 1.0)  # where columns end, in parts of the line
_WIRED_POSITIONS = (0.3, 0.56, 0.74, 1.0)  # of a model with branches


def print_summary(
    model: Model,
    line_length: int | None = None,
    positions: Sequence[float] | None = None,
    print_fn: Callable[[str], Any] | None = None,
    expand_nested: bool = False,
    show_trainable: bool = False,
    layer_range: Sequence[str] | None = None,
) -> None:
    """Print the layers of a model, their output shapes and numbers of weights; see `summary`."""
    import shutil

    from rich.markup import escape

    wired = model._graph_of_model.branches()
    length = (_WIRED_LENGTH if wired else _LENGTH) + _TRAINABLE_LENGTH * show_trainable
    length = line_length or min(length, shutil.get_terminal_size().columns - 4)
    layers = _range(_shown(model), layer_range)
    heads = ["Layer (type)", "Output Shape", "Param #"] + ["Connected to"] * wired
    heads += ["Trainable"] * show_trainable
    rows = list(_rows(model, layers, 0, expand_nested, show_trainable, wired))
    ends = positions or (_WIRED_POSITIONS if wired else _POSITIONS)
    widths = _widths(ends, length, show_trainable)
    on_terminal = print_fn is None and sys.stdout is not None and sys.stdout.isatty()
    if line_length is None and positions is None and not on_terminal:
        widths = _wide_enough(widths, [heads, *rows])
        length = sum(widths)
    table = _table(length, widths, heads)
    for row in rows:
        table.add_row(*map(_text, row))
    parts = [f'[bold]Model: "{escape(model.name)}"[/bold]', table, *_totals(model)]
    if print_fn is None:
        width = shutil.get_terminal_size().columns
        _console(None, None if length <= width else length).print(*parts, sep="\n")
        return
    text = io.StringIO()
    _console(text, length).print(*parts, sep="\n")
    print_fn(text.getvalue())


def _shown(model: Model) -> list[Any]:
    """Rows of the table: of a functional model its functions of `cdl.ops` too, as in Keras."""
    from cdl.models.sequential import Sequential

    layers: list[Any] = model.layers
    return layers if isinstance(model, Sequential) else model.operations or layers


def html_of(model: Model) -> str:
    """Summary as HTML, for notebooks: a table, and the numbers of weights under it."""
    from html import escape

    wired = model._graph_of_model.branches()
    heads = ["Layer (type)", "Output Shape", "Param #"] + ["Connected to"] * wired
    shapes, calls = _shapes(model), model._graph_of_model.calls_by_layer()
    rows = []
    for layer in _shown(model):
        cells = [f"{layer.name} ({_kind(layer)})", shapes.get(id(layer), "?"), _count(layer)]
        cells += [_sources(calls.get(id(layer), ()))] * wired
        rows.append(cells)
    totals = [line.replace("[bold]", "<b>").replace("[/bold]", "</b>") for line in _totals(model)]
    return (
        f"<p><b>Model: &quot;{escape(model.name)}&quot;</b></p>\n{html.table(heads, rows)}\n"
        f"<p>{'<br>'.join(totals)}</p>"
    )


def _console(file: Any, width: int | None) -> Any:
    from rich.console import Console

    if file is None:
        return Console(width=width, highlight=False)
    return Console(file=file, width=width, highlight=False, color_system=None)


def _widths(positions: Sequence[float], length: int, show_trainable: bool) -> list[int]:
    """Width of each column, from where the columns end."""
    ends = list(positions)
    if ends[-1] <= 1:
        if show_trainable:
            ends = [0.9 * end for end in ends] + [1.0]
        ends = [int(end * length) for end in ends]
    elif show_trainable:
        ends.append(length)
    widths = [int(end - start) for start, end in zip([0, *ends], ends, strict=False)]
    if min(widths) < 4:
        raise ValueError(
            f"summary: line_length must leave 4 characters to each column, got {length} "
            f"and positions {ends}"
        )
    return widths


def _wide_enough(widths: list[int], rows: Sequence[Sequence[str]]) -> list[int]:
    """Widths of columns in which no word is cut: nothing limits a line of a file."""
    longest = [
        max(len(word) for cell in column for word in cell.split() or [""])
        for column in zip(*rows, strict=True)
    ]
    return [max(width, each + _FRAME) for width, each in zip(widths, longest, strict=True)]


def _text(cell: str) -> Any:
    from rich.text import Text

    return Text(cell)


def _table(length: int, widths: list[int], heads: list[str]) -> Table:
    from rich.table import Column, Table

    justify: dict[str, JustifyMethod] = {"Param #": "right", "Trainable": "center"}
    columns = [
        Column(head, justify=justify.get(head, "left"), width=width)
        for head, width in zip(heads, widths, strict=False)
    ]
    return Table(*columns, width=length, show_lines=True)


def _rows(
    model: Model,
    layers: Sequence[Any],
    depth: int,
    expand_nested: bool,
    show_trainable: bool,
    wired: bool,
) -> Iterator[list[str]]:
    """Cells of each layer, and of the layers within it if those are shown."""
    mark = "   " * depth + "└ " if depth else ""
    shapes = _shapes(model)
    calls = model._graph_of_model.calls_by_layer() if wired and depth == 0 else {}
    for layer in layers:
        row = [f"{mark}{layer.name} ({_kind(layer)})", shapes.get(id(layer), "?"), _count(layer)]
        if wired:
            row.append(_sources(calls.get(id(layer), ())))
        if show_trainable:
            weights = bool(getattr(layer, "weights", ()))
            row.append(("Y" if layer.trainable else "N") if weights else "-")
        yield row
        if expand_nested:
            inner = getattr(layer, "layers", ())
            yield from _rows(layer, inner, depth + 1, expand_nested, show_trainable, wired)


def _kind(layer: Layer) -> str:
    """Class name of a layer, or of a function of `cdl.ops` as Keras calls its class."""
    row = getattr(layer, "row", None)
    if row is None:
        return type(layer).__name__
    return "".join(word.capitalize() for word in row.name.split("_"))


def _shapes(model: Layer) -> dict[int, str]:
    """Output shapes of layers, by their identity, where they are known."""
    if not isinstance(model, Trainer):  # a layer that holds others
        return {}
    graph: Any = model._graph_of_model
    found = graph.shapes_after_layers().items()
    return {layer: str(shape).replace(",)", ")") for layer, shape in found}  # as Keras writes them


def _count(layer: Layer) -> str:
    if not hasattr(layer, "count_params"):
        return "0"
    return f"{layer.count_params():,}" if layer.built else "0 (unbuilt)"


def _sources(calls: Iterable[Any]) -> str:
    """Tensors that calls of a layer read, as `layer[call][output]`."""
    found = []
    for node in calls:
        for tensor in node.inputs:
            made = tensor._keras_history
            found.append(f"{made.operation.name}[{made.node_index}][{made.tensor_index}]")
    return ", ".join(found) or "-"


def _range(layers: list[Any], layer_range: Sequence[str] | None) -> list[Any]:
    """Layers from the first name to the last."""
    if layer_range is None:
        return layers
    if not isinstance(layer_range, (list, tuple)) or len(layer_range) != 2:
        raise ValueError(
            f"summary: layer_range must be a list of two layer names, got {layer_range!r}"
        )
    names = [layer.name for layer in layers]
    for name in layer_range:
        if name not in names:
            raise ValueError(f"summary: layer_range must hold names out of {names}, got {name!r}")
    first, last = sorted(names.index(name) for name in layer_range)
    return layers[first : last + 1]


def _totals(model: Model) -> list[str]:
    """Lines below the table: numbers of weights."""
    trainable, frozen = model.trainable_weights, model.non_trainable_weights
    optimizer: list[Any] = []
    if model.compiled and getattr(model.optimizer, "built", False):
        optimizer = list(model.optimizer.variables)
    lines = [
        _line("Total params", [*trainable, *frozen, *optimizer]),
        _line("Trainable params", trainable),
        _line("Non-trainable params", frozen),
    ]
    return lines + ([_line("Optimizer params", optimizer)] if optimizer else [])


_BYTES = {"bfloat16": 2, "float16": 2, "int8": 1, "uint8": 1}  # of a number; 4 of any other


def _line(name: str, variables: Sequence[Any]) -> str:
    count = sum(map(_size, variables))
    memory = sum(_size(each) * _BYTES.get(str(each.dtype), 4) for each in variables)
    return f"[bold] {name}: [/bold]{count:,} ({_memory(memory)})"


def _size(weight: Any) -> int:
    size = 1
    for n in weight.shape:
        size *= n
    return size


def _memory(size: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1024:
            return f"{size:.2f} {unit}"
        size /= 1024
    return f"{size:.2f} TB"
