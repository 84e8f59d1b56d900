"""`tf.GradientTape`: what runs on arrays is noted, and traced again for a gradient.

While a tape is open, calls of layers, losses and functions of `cdl.ops` give tensors that know
which call made them. `gradient` runs these calls once more on symbolic tensors, which
`value_and_grad` compiles; the program is kept for the next step that does the same.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from cdl import Variable, ops, tree, value_and_grad
from cdl.scripts.tensor import Tensor, tensors

_KEPT = 16  # programs
_METHODS = (
    "sum", "mean", "max", "min", "prod", "std", "var", "reshape", "astype", "transpose", "flatten",
    "ravel", "squeeze", "clip", "cumsum", "dot", "round", "swapaxes", "repeat", "argmax", "argmin",
)  # fmt: skip
_serials = itertools.count()


class _State(threading.local):
    """Tapes that are open in a thread, and whether a call that is noted runs just now."""

    def __init__(self) -> None:
        self.tapes: list[GradientTape] = []
        self.busy = False


_state = _State()


class Node(NamedTuple):
    """A call that was noted.

    Attributes:
        call: what was called.
        key: tells it from other calls, together with `owner`.
        owner: the layer or loss that was called, or None.
        args: its arguments: positional ones, and those by name.
        serial: which comes first.
    """

    call: Callable[..., Any]
    key: Any
    owner: Any
    args: tuple[tuple[Any, ...], dict[str, Any]]
    serial: int


class Taped(Tensor):
    """A tensor that knows which call made it."""

    def __array_finalize__(self, before: Any) -> None:
        """A view is no result of that call."""
        self.__dict__.pop("made_by", None)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        kwargs.pop("out", None)  # of `x += y`, which gives a tensor of its own

        def run(*inputs: Any, **kwargs: Any) -> Any:
            return getattr(ufunc, method)(*map(_plain, inputs), **kwargs)

        return tensors(noted(run, ("ufunc", ufunc.__name__, method))(*inputs, **kwargs))

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        def run(*args: Any, **kwargs: Any) -> Any:
            return func(*tree.map_structure(_plain, args), **tree.map_structure(_plain, kwargs))

        return tensors(noted(run, ("numpy", func.__module__, func.__name__))(*args, **kwargs))

    def __getitem__(self, key: Any) -> Any:
        def run(x: Any, *key: Any) -> Any:
            return _plain(x)[key if many else key[0]]

        many = isinstance(key, tuple)
        return tensors(noted(run, ("item", many))(self, *(key if many else (key,))))

    @property
    def T(self) -> Any:  # noqa: N802
        """The axes in the reverse order."""
        return self.transpose()


def _method(name: str) -> Callable[..., Any]:
    def method(self: Taped, *args: Any, **kwargs: Any) -> Any:
        def run(x: Any, *args: Any, **kwargs: Any) -> Any:
            return getattr(_plain(x), name)(*args, **kwargs)

        return tensors(noted(run, ("method", name))(self, *args, **kwargs))

    return method


for _name in _METHODS:
    setattr(Taped, _name, _method(_name))


def _plain(leaf: Any) -> Any:
    return leaf.view(np.ndarray) if isinstance(leaf, Tensor) else leaf


def is_noting() -> bool:
    """Whether what is called now is to be noted."""
    return bool(_state.tapes) and not _state.busy


def noted(function: Callable[..., Any], key: Any, owner: Any = None) -> Callable[..., Any]:
    """A function whose results know that it made them, while a tape is open.

    Args:
        function: of arrays, and of symbolic tensors.
        key: tells what it does, together with `owner`.
        owner: a layer or loss.
    """

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not is_noting():
            return function(*args, **kwargs)
        _state.busy = True
        try:
            result = function(*args, **kwargs)
        finally:
            _state.busy = False
        sources: tuple[type, ...] = (Taped, Variable)
        known = not hasattr(owner, "variables") and key[0] != "penalties"
        if known and not any(isinstance(each, sources) for each in tree.flatten((args, kwargs))):
            return result
        node = Node(function, key, owner, (args, kwargs), next(_serials))
        leaves = [_taped(leaf, node, i) for i, leaf in enumerate(tree.flatten(result))]
        return tree.pack_sequence_as(result, leaves)

    return call


def _taped(leaf: Any, node: Node, place: int) -> Any:
    """A result that is made of numbers with a note of its origin; any other as it is."""
    if (
        not isinstance(leaf, (np.ndarray, np.generic, float))
        or np.asarray(leaf).dtype.kind in "OUS"
    ):
        return leaf
    made = np.asarray(leaf).view(Taped)
    made.__dict__["made_by"] = (node, place)
    return made


def _made_by(leaf: Any) -> tuple[Node, int] | None:
    return leaf.__dict__.get("made_by") if isinstance(leaf, Taped) else None


def penalties(losses: list[Any]) -> list[Any]:
    """The numbers that layers add to a loss: a gradient counts them by itself, so they are 0."""

    def run() -> Any:
        return [0.0] * len(losses) if _is_traced() else losses

    return list(noted(run, ("penalties", len(losses)))())


def _is_traced() -> bool:
    from cdl._tracing.graph import current_scope

    return current_scope() is not None


# --- from notes to a program ---


class _Input(NamedTuple):
    number: int


class _Result(NamedTuple):
    step: int
    place: int


class _Plan:
    """The calls that lead to a result, as one function of arrays.

    Args:
        targets: the results.
        watched: ids of arrays by which it is to be differentiated.
        rows: how many rows its arguments have.
    """

    def __init__(self, targets: list[Taped], watched: list[int], rows: int) -> None:
        self.inputs: list[Any] = []
        self._numbers: dict[int, int] = {}
        self.steps: list[tuple[Node, Any]] = []
        self._rows, self._watched = rows, watched
        nodes = _nodes_before(targets, watched)
        places = {node.serial: i for i, node in enumerate(nodes)}
        self.key: list[Any] = [rows]
        self.variables: set[int] = set()
        for node in nodes:
            leaves = [self._template(leaf, places) for leaf in tree.flatten(node.args)]
            self.steps.append((node, leaves))
            shown = tree.map_structure(lambda leaf: 0, node.args)
            self.key.append((node.key, id(node.owner), repr(shown), *map(_token, leaves)))
            weights = getattr(node.owner, "variables", ())
            self.variables |= {id(each) for each in (*weights, *leaves)}
        made = [_made_by(each) for each in targets]
        self.ends = [_Result(places[m[0].serial], m[1]) for m in made if m is not None]
        self.key += [*self.ends, *(self._numbers.get(each) for each in watched)]

    def _template(self, leaf: Any, places: dict[int, int]) -> Any:
        origin = _made_by(leaf)
        if id(leaf) not in self._watched and origin is not None and origin[0].serial in places:
            return _Result(places[origin[0].serial], origin[1])
        if not isinstance(leaf, np.ndarray):
            return leaf
        if id(leaf) in self._watched or (leaf.ndim and len(leaf) == self._rows):
            if id(leaf) not in self._numbers:
                self._numbers[id(leaf)] = len(self.inputs)
                self.inputs.append(leaf)
            return _Input(self._numbers[id(leaf)])
        return _plain(leaf)

    def draws(self) -> bool:
        """Whether the calls may give something else each time, or add penalties to a loss."""
        keys = {node.key[0] for node, _ in self.steps}
        trains = any(node.args[1].get("training") for node, _ in self.steps)
        return trains or "penalties" in keys or "compute_loss" in keys

    def number(self, watched: int) -> int | None:
        """Which argument an array is; None if it is none."""
        return self._numbers.get(watched)

    def function(self) -> Callable[..., Any]:
        """The calls once more, on what they are given."""
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


def _nodes_before(targets: list[Taped], watched: list[int]) -> list[Node]:
    """All calls that lead to these results, the first first."""
    found: dict[int, Node] = {}
    open_ends: list[Any] = list(targets)
    while open_ends:
        origin = _made_by(open_ends.pop())
        if origin is not None and origin[0].serial not in found:
            found[origin[0].serial] = origin[0]
            open_ends += [e for e in tree.flatten(origin[0].args) if id(e) not in watched]
    return [found[serial] for serial in sorted(found)]


def _token(leaf: Any) -> Any:
    """What tells an argument from another one."""
    if isinstance(leaf, np.ndarray):
        return (leaf.dtype.str, leaf.shape, leaf.tobytes())
    if isinstance(leaf, (_Input, _Result)):
        return leaf
    return id(leaf) if isinstance(leaf, Variable) or callable(leaf) else repr(leaf)


_programs: dict[Any, Any] = {}  # the last that were used


class GradientTape:
    """Notes what is computed while it is open, for the gradient of a result.

    Gradients are those of `value_and_grad`: by weights, variables, and arrays that are watched.
    Layers that draw, such as Dropout, draw anew for the gradient.

    Args:
        persistent: of no use here: any tape gives several gradients.
        watch_accessed_variables: of no use here: gradients are by what is asked for.
    """

    def __init__(self, persistent: bool = False, watch_accessed_variables: bool = True) -> None:
        self._watched: dict[int, Any] = {}

    def __enter__(self) -> GradientTape:
        _state.tapes.append(self)
        return self

    def __exit__(self, *error: Any) -> None:
        _state.tapes.remove(self)

    def watch(self, tensor: Any) -> None:
        """Let `gradient` take this tensor, or these, as a source.

        Raises:
            ValueError: something that is neither a tensor nor a variable.
        """
        for each in tree.flatten(tensor):
            if type(each) is Tensor:
                each.__class__ = Taped  # whose arithmetic is noted
            elif not isinstance(each, (Taped, Variable)):
                raise ValueError(
                    f"tf.GradientTape: tensor must be one of tf's, got {type(each).__name__}: "
                    "tf.convert_to_tensor makes one of an array"
                )
            self._watched[id(each)] = each

    @contextlib.contextmanager
    def stop_recording(self) -> Iterator[None]:
        """Within it nothing is noted."""
        before, _state.busy = _state.busy, True
        try:
            yield
        finally:
            _state.busy = before

    def reset(self) -> None:
        """Forget what is watched."""
        self._watched.clear()

    def gradient(
        self,
        target: Any,
        sources: Any,
        output_gradients: Any = None,
        unconnected_gradients: Any = None,
    ) -> Any:
        """The gradient of the sum of `target` by each source, nested as they are.

        None for a source on which it does not depend.

        Args:
            target: what was computed, one tensor or several.
            sources: weights, variables, and arrays that are watched.
            output_gradients: a factor for each number of `target`, or None.
            unconnected_gradients: "zero" for zeros in place of None.

        Raises:
            NotImplementedError: another tape is open: gradients have no gradients.
            ValueError: nothing that leads to `target` was noted, or it cannot be compiled.
        """
        if any(tape is not self for tape in _state.tapes):
            raise NotImplementedError(
                "tf.GradientTape: cdl has no gradients of gradients, so no tape may be open around "
                "the gradient of another one"
            )
        targets = [each for each in tree.flatten(target) if each is not None]
        if output_gradients is not None:
            alone = isinstance(target, np.ndarray)
            factors = [output_gradients] if alone else tree.flatten(output_gradients)
            with self:
                targets = [a * np.asarray(b) for a, b in zip(targets, factors, strict=True)]
        if not targets or any(_made_by(each) is None for each in targets):
            raise ValueError(
                "tf.GradientTape: target must be computed while the tape is open, by layers, "
                "losses and functions of tf or keras.ops; what np.asarray(x) gives is not noted"
            )
        flat = tree.flatten(sources)
        watched = [id(each) for each in flat if not isinstance(each, Variable)]
        with _statistics_kept(targets):
            found = _gradients(targets, flat, watched)
        if unconnected_gradients == "zero":
            found = [
                tensors(np.zeros(each.shape, np.float32)) if gradient is None else gradient
                for gradient, each in zip(found, flat, strict=True)
            ]
        return tree.pack_sequence_as(sources, found)

    def jacobian(self, *args: Any, **kwargs: Any) -> Any:
        """Not there.

        Raises:
            NotImplementedError: in any case.
        """
        raise NotImplementedError("tf.GradientTape: cdl has gradients of sums, and no Jacobians")

    batch_jacobian = jacobian


@contextlib.contextmanager
def _statistics_kept(targets: list[Any]) -> Iterator[None]:
    """Within it weights that no gradient moves keep what the noted calls made of them."""
    owners = {id(node.owner): node.owner for node in _nodes_before(targets, [])}
    kept: list[tuple[Any, Any]] = [
        (each, each.numpy())
        for owner in owners.values()
        for each in getattr(owner, "non_trainable_variables", ())
    ]
    try:
        yield
    finally:
        for each, value in kept:
            each.assign(value)


def _rows_of(targets: list[Any], watched: list[int]) -> int:
    """How many rows a batch has: those of what the first layer was given, or of any array."""
    nodes = _nodes_before(targets, watched)
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
        agrees: whether it gave the value that the calls had; None before it was asked.
    """

    def __init__(self, plan: _Plan, variables: list[Any], watched: list[int]) -> None:
        run = plan.function()
        self._held = plan  # whose layers' ids are in the key
        self._numbers = [n for n in map(plan.number, watched) if n is not None]
        self._by_weights = value_and_grad(run, variables=variables) if variables else None
        self._by_arrays = value_and_grad(run, self._numbers) if self._numbers else None
        self.agrees: bool | None = None

    def of(self, inputs: list[Any]) -> tuple[Any, list[Any], dict[int, Any]]:
        """The value, the gradients by weights, and those by inputs of a number."""
        arrays = [np.atleast_1d(_plain(each)) for each in inputs] or [np.zeros(1, np.float32)]
        value: Any = None
        weights: list[Any] = []
        others: tuple[Any, ...] = ()
        if self._by_weights is not None:
            value, weights = self._by_weights(*arrays)
        if self._by_arrays is not None:
            value, others = self._by_arrays(*arrays)
        return value, weights, dict(zip(self._numbers, others, strict=True))


def _run(plan: _Plan, variables: list[Any], watched: list[int], value: float) -> Any:
    """What the program of a plan gives, kept or made; made anew if it has another value by now.

    Raises:
        ValueError: it cannot be compiled, or is not what was computed.
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
    _programs[key] = made  # the last that was used
    while len(_programs) > _KEPT:
        del _programs[next(iter(_programs))]
    return found


def _gradients(targets: list[Any], sources: list[Any], watched: list[int]) -> list[Any]:
    variables = [each for each in sources if isinstance(each, Variable)]
    value = float(sum(np.sum(_plain(each), dtype=np.float64) for each in targets))
    plan = _Plan(targets, watched, _rows_of(targets, watched))
    try:
        _, weights, of_arrays = _run(plan, variables, watched, value)
    except ValueError:
        if not plan.inputs:
            raise
        plan = _Plan(targets, watched, 0)  # all arrays as constants, with a program for these
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
