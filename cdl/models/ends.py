"""ends.py - Ends: the inputs and outputs of a model as flat lists, named, found once."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from cdl import tree
from cdl._graph import KerasTensor
from cdl.models.interface import Info


class Ends(NamedTuple):
    """What the symbolic inputs and outputs of a model come to.

    Attributes:
        of: the structures that these are found of.
        inputs: infos, in the order of the flat structure.
        outputs: likewise.
        input_names: by which dicts of data mean them.
        output_names: likewise.
        output_nest: the names of the outputs, nested as these are.
        one: whether the input is one tensor and no list or dict.
        nested: whether it is a structure within a structure.
    """

    of: tuple[Any, Any]
    inputs: tuple[Info, ...]
    outputs: tuple[Info, ...]
    input_names: list[str]
    output_names: list[str]
    output_nest: Any
    one: bool
    nested: bool


def ends_of(inputs: Any, outputs: Any, by_layers: bool) -> Ends:
    """The ends of a model.

    Args:
        inputs: symbolic tensors, nested as data are handed in; None before a model is built.
        outputs: likewise.
        by_layers: whether outputs are called as the layers that give them, if they are in no dict.
    """
    given = [] if inputs is None else _infos(names_of_inputs(inputs), inputs)
    found = [] if outputs is None else _infos(_names_of_outputs(outputs, by_layers), outputs)
    if not by_layers and not isinstance(outputs, dict):
        found = [info._replace(named=False) for info in found]
    parts = list(inputs.values()) if isinstance(inputs, dict) else inputs
    return Ends(
        of=(inputs, outputs),
        inputs=tuple(given),
        outputs=tuple(found),
        input_names=[info.name for info in given],
        output_names=[info.name for info in found],
        output_nest=tree.pack_sequence_as(outputs, [info.name for info in found] or [None]),
        one=isinstance(inputs, KerasTensor),
        nested=tree.is_nested(inputs) and any(map(tree.is_nested, parts)),
    )


def _infos(names: Sequence[str], structure: Any) -> list[Info]:
    tensors = tree.flatten(structure)
    return [Info(n, t.shape, t.dtype) for n, t in zip(names, tensors, strict=True)]


def names_of_inputs(structure: Any) -> list[str]:
    """The keys of a dict, else the names of the tensors."""
    if isinstance(structure, dict) and not any(map(tree.is_nested, structure.values())):
        return [str(path[-1]) for path, _ in tree.flatten_with_path(structure)]
    return [tensor.name for tensor in tree.flatten(structure)]


def _names_of_outputs(structure: Any, by_layers: bool) -> list[str]:
    """The keys of dicts, else the names of layers or numbers, behind what they are nested in."""
    names: list[str] = []
    for path, tensor in tree.flatten_with_path(structure):
        name = f"output_{len(names) + 1}"
        if by_layers and tensor.node is not None:
            name = tensor.node.operation.name
        if path and (isinstance(path[-1], str) or len(path) > 1):
            last = name if isinstance(path[-1], int) else path[-1]
            name = "/".join(map(str, (*path[:-1], last)))
        names.append(_free(name, names))
    return names


def _free(name: str, taken: Sequence[str]) -> str:
    free, count = name, 0
    while free in taken:
        count += 1
        free = f"{name}_{count}"
    return free
