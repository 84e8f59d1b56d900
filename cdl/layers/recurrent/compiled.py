"""Compiled calls of recurrent layers on arrays, where no user code is in the loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl import tree
from cdl._common.overriding import is_users, overrides
from cdl._ir.lowering import Lowering
from cdl._ir.program import Program
from cdl._tracing import eager
from cdl._tracing import graph as graphs
from cdl._tracing.graph import KerasTensor
from cdl._tracing.variable import autocast, autocast_to
from cdl.activations import ActivationFunction
from cdl.random import core_seed

if TYPE_CHECKING:
    from cdl.layers.recurrent.rnn import RNN


def arrays_of(layer: RNN, given: Any) -> list[Any] | None:
    """Arrays of a call that may be compiled, since all of it is cdl's own; None if it may not.

    Args:
        given: sequences, states and mask of the call.
    """
    if graphs.current_scope() is not None or not layer.built:
        return None
    arrays = [leaf for leaf in tree.flatten(given) if leaf is not None]
    if not all(isinstance(each, np.ndarray) and each.size and each.ndim for each in arrays):
        return None
    cells = [layer.cell, *getattr(layer.cell, "cells", ())]
    is_own = not overrides(type(layer), "inner_loop", "get_initial_state")
    alike = all(len(each) == len(arrays[0]) for each in arrays)
    return arrays if alike and is_own and all(map(_is_own, cells)) else None


def _is_own(cell: Any) -> bool:
    functions = [getattr(cell, name, None) for name in ("activation", "recurrent_activation")]
    known = all(f is None or isinstance(f, ActivationFunction) for f in functions)
    return known and not is_users(type(cell))


def run(layer: RNN, call: Callable[..., Any], given: Any, arrays: list[Any], training: bool) -> Any:
    """Outputs of a call on arrays.

    Args:
        layer: the layer, built.
        call: what is traced: of the layer, sequences, states, mask and training.
        given: sequences, states and mask.
        arrays: those of them that are given.
    """
    key = (training, str(tree.map_structure(_shape, given)))
    runner: Any = layer._kept_programs.get(
        layer, key, lambda: _runner(layer, call, given, training)
    )
    arrays = [np.asarray(each, np.float32) for each in arrays]
    if training or layer.stateful:
        outputs = runner.batch(arrays, layer._calls, core_seed()).outputs
        layer._calls += training
    else:
        outputs = runner.rows(arrays)
        outputs = outputs if isinstance(outputs, list) else [outputs]
    return tree.pack_sequence_as(runner.nested, outputs)


def _shape(leaf: Any) -> Any:
    return None if leaf is None else str(leaf.shape[1:])


class _Runner(eager.Runner):
    """Fused program with a structure like that of its outputs."""

    def __init__(self, program: Program, training: bool, nested: Any) -> None:
        super().__init__(program, training)
        self.nested = nested


def _runner(layer: RNN, call: Callable[..., Any], given: Any, training: bool) -> _Runner:
    """Program of a call on such arrays."""
    program = Lowering(training)
    values: list[Any] = []

    def tensor(leaf: Any) -> Any:
        if leaf is None:
            return None
        dtype = "bool" if leaf.dtype == bool else layer._input_dtype() or "float32"
        value = program.input(leaf.shape[1:])
        values.append(value if dtype == "bool" else program.cast(value, dtype))
        return KerasTensor((None, *leaf.shape[1:]), dtype)

    arguments = tuple(tree.map_structure(tensor, part) for part in given)

    def traced(*args: Any) -> Any:
        return call(layer, *args, training=training)

    program.param_dtype = layer._autocast_dtype(autocast())
    with autocast_to(program.param_dtype):
        graph = graphs.trace(traced, arguments, {}, training)
    outputs = graph.lower(program, values)
    for value in tree.flatten(outputs):
        program.output(value)
    nested = tree.map_structure(lambda _: None, outputs)
    return _Runner(program.fused(training), training, nested)
