"""Compiled gradients of recorded calls: the calls replayed on symbolic tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from cdl import Model, Variable, ops, tree
from cdl.scripts.taped import Node, Taped, made_by, plain
from cdl.scripts.tensor import tensors
from cdl.trainers.derivatives import derivative_of

_KEPT = 16  # size of each cache: of programs, and of parts of models


class _Input(NamedTuple):
    number: int


class _Result(NamedTuple):
    step: int
    place: int


class _Plan:
    """The calls that lead to a result, as one function of arrays.

    Args:
        targets: the results.
        watched: arrays to differentiate by, by id.
        rows: batch size; arrays of as many rows are inputs of the function, others constants.
    """

    def __init__(self, targets: list[Taped], watched: dict[int, Any], rows: int) -> None:
        self._cuts = _cuts(targets, watched)
        self.inputs: list[Any] = []
        self._numbers: dict[int, int] = {}
        self.steps: list[tuple[Node, Any]] = []
        self._rows, self._watched = rows, watched
        nodes = nodes_before(targets, watched, self._cuts)
        places = {node.serial: i for i, node in enumerate(nodes)}
        self.key: list[Any] = [rows]
        self.variables: set[int] = set()
        for node in nodes:
            leaves = [self._template(leaf, places) for leaf in tree.flatten(node.args)]
            shown = tree.map_structure(lambda leaf: 0, node.args)
            self.steps.append((node._replace(args=shown), leaves))  # no arrays: caches keep it
            self.key.append((node.key, id(node.owner), repr(shown), *map(_token, leaves)))
            weights = getattr(node.owner, "variables", ())
            self.variables |= {id(each) for each in (*weights, *leaves)}
        made = [made_by(each, self._cuts) for each in targets]
        self.ends = [_Result(places[m[0].serial], m[1]) for m in made if m is not None]
        self.key += [*self.ends, *(self._numbers.get(each) for each in watched)]

    def _template(self, leaf: Any, places: dict[int, int]) -> Any:
        origin = made_by(leaf, self._cuts)
        if id(leaf) not in self._watched and origin is not None and origin[0].serial in places:
            return _Result(places[origin[0].serial], origin[1])
        if not isinstance(leaf, np.ndarray):
            return leaf
        if id(leaf) in self._watched or (leaf.ndim and len(leaf) == self._rows):
            if id(leaf) not in self._numbers:
                self._numbers[id(leaf)] = len(self.inputs)
                self.inputs.append(leaf)
            return _Input(self._numbers[id(leaf)])
        return plain(leaf)

    def draws(self) -> bool:
        """Whether results may differ between calls, or include regularization losses."""
        keys = {node.key[0] for node, _ in self.steps}
        trains = any(
            tree.pack_sequence_as(node.args, leaves)[1].get("training")
            for node, leaves in self.steps
        )
        return trains or "penalties" in keys or "compute_loss" in keys

    def number(self, watched: int) -> int | None:
        """The position of an array among the inputs; None for other values."""
        return self._numbers.get(watched)

    def function(self) -> Callable[..., Any]:
        """A function that replays the calls on its arguments."""
        steps, ends, depends = self.steps, self.ends, bool(self.inputs)

        def run(*inputs: Any) -> Any:
            results: list[list[Any]] = []

            def given(leaf: Any) -> Any:
                if isinstance(leaf, _Input):
                    return inputs[leaf.number]
                return results[leaf.step][leaf.place] if isinstance(leaf, _Result) else leaf

            for node, leaves in steps:
                args, kwargs = tree.pack_sequence_as(node.args, list(map(given, leaves)))
                results.append(tree.flatten(node.call(*args, **kwargs)))
            found = [results[end.step][end.place] for end in ends]
            total = found[0] if len(found) == 1 else sum(map(ops.sum, found))
            return total if depends else total + 0.0 * ops.sum(inputs[0])

        return run


def nodes_before(targets: list[Taped], watched: Any = (), cuts: Any = None) -> list[Node]:
    """All calls that lead to these results, in the order of execution."""
    found: dict[int, Node] = {}
    open_ends: list[Any] = list(targets)
    while open_ends:
        origin = made_by(open_ends.pop(), cuts)
        if origin is not None and origin[0].serial not in found:
            found[origin[0].serial] = origin[0]
            open_ends += [e for e in tree.flatten(origin[0].args) if id(e) not in watched]
    return [found[serial] for serial in sorted(found)]


_parts: dict[Any, Any] = {}  # models from one output of a model to its others, oldest use first


def _keep(kept: dict[Any, Any], key: Any, value: Any) -> None:
    """Put a value at the end of a cache, and evict the least recently used ones."""
    kept.pop(key, None)
    kept[key] = value
    while len(kept) > _KEPT:
        del kept[next(iter(kept))]


def _cuts(targets: list[Taped], watched: dict[int, Any]) -> dict[int, Any]:
    """Replacements for calls of models where one output is differentiated by another.

    Returns:
        By serial of the call: a call of the part of the model after the source output, and the
        positions of the other outputs among the results of that part.
    """
    calls = {node.serial for node in nodes_before(targets, watched)}
    found: dict[int, Any] = {}
    for source in watched.values():
        origin = made_by(source)
        if origin is None or origin[0].serial not in calls:
            continue
        (node, place), outputs = origin, tree.flatten(getattr(origin[0].owner, "outputs", None))
        if len(outputs) < 2:
            continue
        key = (id(node.owner), place)
        kept = _parts.get(key)
        if kept is None:
            others = [each for i, each in enumerate(outputs) if i != place]
            kept = (Model(outputs[place], others), node.owner)
        _keep(_parts, key, kept)
        part = kept[0]
        places = [i for i in range(len(outputs)) if i != place]
        cut = Node(part, ("part",), part, ((source,), {}), node.serial)
        found[node.serial] = (cut, {i: k for k, i in enumerate(places)})
    return found


def _token(leaf: Any) -> Any:
    """A hashable key of an argument."""
    if isinstance(leaf, np.ndarray):
        return (leaf.dtype.str, leaf.shape, leaf.tobytes())
    if isinstance(leaf, (_Input, _Result)):
        return leaf
    return id(leaf) if isinstance(leaf, Variable) or callable(leaf) else repr(leaf)


_programs: dict[Any, Any] = {}  # compiled gradients, oldest use first


def _rows_of(targets: list[Any], watched: dict[int, Any]) -> int:
    """The batch size: rows of the first layer's input, else of the first array."""
    nodes = nodes_before(targets, watched)
    for node in sorted(nodes, key=lambda node: (node.owner is None, node.serial)):
        for leaf in tree.flatten(node.args):
            if isinstance(leaf, np.ndarray) and leaf.ndim:
                return len(leaf)
    return 0


class _Program:
    """The compiled gradient of a plan.

    Args:
        plan: the calls.
        variables: weights to differentiate by.
        watched: ids of arrays to differentiate by.

    Attributes:
        agrees: whether the first run gave the recorded value; None before it.
    """

    def __init__(self, plan: _Plan, variables: list[Any], watched: dict[int, Any]) -> None:
        run = plan.function()
        self._held = run  # alive, since ids of its layers are in the key
        self._numbers = [n for n in map(plan.number, watched) if n is not None]
        # A plan's key has the weights that `run` reads, and not what layers and losses are set to.
        self._by_weights = variables and derivative_of(run, variables=variables, is_fixed=True)
        self._by_arrays = self._numbers and derivative_of(run, self._numbers)
        self.agrees: bool | None = None

    def of(self, inputs: list[Any]) -> tuple[Any, list[Any], dict[int, Any]]:
        """The value, the gradients by weights, and the gradients by inputs, by position."""
        arrays = [np.atleast_1d(plain(each)) for each in inputs] or [np.zeros(1, np.float32)]
        value: Any = None
        weights: list[Any] = []
        others: tuple[Any, ...] = ()
        if self._by_weights:
            value, weights = self._by_weights(*arrays)
        if self._by_arrays:
            value, others = self._by_arrays(*arrays)
        return value, weights, dict(zip(self._numbers, others, strict=True))


def _run(plan: _Plan, variables: list[Any], watched: dict[int, Any], value: float) -> Any:
    """Run the program of a plan, from the cache if its value agrees with the recorded one.

    Raises:
        ValueError: the plan cannot be compiled, or its value differs from the recorded one.
    """
    key = (*plan.key, *map(id, variables))
    kept = _programs.pop(key, None)
    found: Any = None
    for program in (kept, None):
        made = program or _Program(plan, variables, watched)
        try:
            found = made.of(plan.inputs)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(
                "tf.GradientTape: what was computed cannot be differentiated as a program: "
                f"{error}; self.gradients(x, y) and cdl.value_and_grad(function, "
                "variables=weights) take a function instead"
            ) from error
        agrees = found[0] is None or bool(np.isclose(np.sum(found[0]), value, 1e-3, 1e-4))
        if made.agrees is None:
            made.agrees = agrees
        if agrees or program is None or not made.agrees:
            break
    drawn = plan.draws() or (
        not made.agrees and np.sum(made.of(plan.inputs)[0]) != np.sum(found[0])
    )
    if not made.agrees and not drawn:
        raise ValueError(
            "tf.GradientTape: what was computed cannot be done again on a batch: that gives "
            f"{np.sum(found[0])}, where it gave {value}"
        )
    _keep(_programs, key, made)
    return found


def gradients_of(targets: list[Any], sources: list[Any], watched: dict[int, Any]) -> list[Any]:
    """The gradient of the sum of the targets by each source; None for an unconnected one.

    Args:
        targets: recorded results.
        sources: variables and arrays.
        watched: the arrays among the sources, by id.

    Raises:
        ValueError: the calls cannot be compiled.
    """
    variables = [each for each in sources if isinstance(each, Variable)]
    value = float(sum(np.sum(plain(each), dtype=np.float64) for each in targets))
    plan = _Plan(targets, watched, _rows_of(targets, watched))
    try:
        _, weights, of_arrays = _run(plan, variables, watched, value)
    except ValueError:
        if not plan.inputs:
            raise
        plan = _Plan(targets, watched, 0)  # a program for this batch, with its arrays as constants
        _, weights, of_arrays = _run(plan, variables, watched, value)
    of_weights = iter(weights)
    found = []
    for each in sources:
        if isinstance(each, Variable):
            gradient: Any = next(of_weights)
            gradient = gradient if id(each) in plan.variables else None
        else:
            gradient = of_arrays.get(plan.number(id(each)))
            gradient = None if gradient is None else np.reshape(gradient, np.shape(each))
        found.append(None if gradient is None else tensors(np.asarray(gradient)))
    return found
