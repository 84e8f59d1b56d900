"""StackedRNNCells: several cells as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cdl import ops, tree
from cdl._common.validation import expected
from cdl._configs.serialization import deserialize, serialize
from cdl.layers.arguments import LayerArguments, Self, Unpack
from cdl.layers.layer import Layer, registry
from cdl.layers.recurrent.cells import run_cell
from cdl.layers.running import name_scope


def sizes_of_cell(owner: str, name: str, cell: Any) -> Any:
    """State sizes (`state_size`) of a cell: an int, or a list with one a state.

    Raises:
        ValueError: what is given is no cell.
    """
    if not callable(getattr(cell, "call", None)):
        raise expected(owner, name, "a cell, which has a method call(inputs, states)", cell)
    sizes = getattr(cell, "state_size", None)
    if isinstance(sizes, bool) or not isinstance(sizes, (int, list, tuple)):
        what = "a cell with an attribute state_size, an int or a list of them"
        got = cell if sizes is None else f"{cell!r} with state_size={sizes!r}"
        raise expected(owner, name, what, got)
    return sizes


def output_size_of(cell: Any) -> Any:
    """Output size of a cell: its attribute, or that of its first state."""
    size = getattr(cell, "output_size", None)
    if size is not None:
        return size
    sizes = cell.state_size
    return sizes[0] if isinstance(sizes, (list, tuple)) else sizes


@registry.add()
class StackedRNNCells(Layer):
    """Stack of cells as one cell: each reads the output of the one before.

    Its states are a list with those of each cell, ``[[h, c], [h, c]]`` for two of `LSTMCell`.

    Args:
        cells: a list of at least one cell; see `RNN`.

    Raises:
        ValueError: one of them is no cell, or there is none.
    """

    def __init__(self, cells: Sequence[Any], **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        if not isinstance(cells, (list, tuple)) or not cells:
            raise expected("StackedRNNCells", "cells", "a list of at least one cell", cells)
        for cell in cells:
            sizes_of_cell("StackedRNNCells", "cells", cell)
        self.cells = list(cells)

    def _sublayers(self) -> list[Any]:
        found = super()._sublayers()
        return [
            each for each in self.cells if isinstance(each, Layer) and each not in found
        ] + found

    @property
    def state_size(self) -> list[Any]:
        """State sizes of the cells."""
        return [cell.state_size for cell in self.cells]

    @property
    def output_size(self) -> Any:
        """Output size of the last cell."""
        return output_size_of(self.cells[-1])

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        """Initial states of each cell: its own, or zeros.

        Args:
            batch_size: how many samples.
        """
        states: list[Any] = []
        for cell in self.cells:
            made = getattr(cell, "get_initial_state", None)
            if made is not None:
                states.append(made(batch_size=batch_size))
            else:
                states.append(
                    tree.map_structure(lambda n: ops.zeros((batch_size, n)), cell.state_size)
                )
        return states

    def build(self, input_shape: Any) -> None:
        """Build each cell for the output of the one before."""
        shape = tuple(input_shape)
        for cell in self.cells:
            if isinstance(cell, Layer) and not cell.built:
                with name_scope(cell):
                    cell.build(shape)
                cell.built = True
            shape = (shape[0], output_size_of(cell))
        super().build(input_shape)

    def call(self, inputs: Any, states: Any, training: Any = False, **kwargs: Any) -> Any:
        """Output of the last cell, and the next states of all.

        Args:
            inputs: of one step.
            states: those of each cell.
            training: whether dropout drops.
            kwargs: handed to each cell.
        """
        following: list[Any] = []
        for cell, kept in zip(self.cells, states, strict=True):
            several = tree.is_nested(kept)
            inputs, new = run_cell(
                cell, inputs, list(kept) if several else [kept], training, kwargs
            )
            if not several and tree.is_nested(new) and len(new) == 1:
                new = new[0]
            following.append(new)
        return inputs, following

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "cells": [serialize(cell) for cell in self.cells]}

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> Self:
        config = dict(config)
        cells = [deserialize(each, custom_objects) for each in config.pop("cells")]
        return cls(cells, **config)
