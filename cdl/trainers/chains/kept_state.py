"""Snapshots of the state that a step may change, and comparisons of chains with their steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from cdl import tree
from cdl._tracing.variable import Variable
from cdl._variables.array_like import Operators
from cdl.layers import Layer
from cdl.layers.moved import moved_variables
from cdl.metrics import Metric
from cdl.optimizers import Optimizer
from cdl.random import SeedGenerator
from cdl.random.sources import numpys


class KeptState:
    """Snapshot of variables and call counts of layers."""

    def __init__(self) -> None:
        self._kept: dict[int, tuple[Any, Any]] = {}
        self._calls: dict[int, tuple[Layer, int]] = {}
        self._sums: dict[int, tuple[Any, Any]] = {}  # of the steps of cdl.Model
        self._optimizers: dict[int, Optimizer] = {}  # slots may be created later

    def keep(self, things: Iterable[Any]) -> None:
        """Add variables and owners of variables to the snapshot, unless they are in it.

        Args:
            things: variables, layers, optimizers, metrics and seed generators.
        """
        for each in things:
            if isinstance(each, Layer):
                cache = getattr(each, "_executors", None)
                if cache is not None:
                    self._sums.setdefault(id(cache), (cache, cache.sums()))
                layers = each._flatten_layers()
                self._calls.update(
                    (id(e), (e, e._calls)) for e in layers if id(e) not in self._calls
                )
            if isinstance(each, Optimizer):
                self._optimizers[id(each)] = each
            for variable in _variables_of(each):
                if id(variable) not in self._kept:
                    self._kept[id(variable)] = variable, _numbers(variable)

    def leave_out_variables(self) -> None:
        """Drop the values of variables, for a step that changes none."""
        self._kept.clear()
        self._sums.clear()

    def again(self) -> KeptState:
        """New snapshot of the same objects, with slots created since."""
        now = KeptState()
        things = [thing for thing, _ in (*self._kept.values(), *self._calls.values())]
        now.keep([*things, *self._optimizers.values()])
        if not self._kept:
            now.leave_out_variables()
        return now

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Context in which steps of `cdl.Model` add to the snapshot's sums, not to the model's."""
        with ExitStack() as stack:
            for cache, sums in self._sums.values():
                stack.enter_context(cache.apart(sums))
            yield

    def _changed(self) -> list[tuple[Any, Any]]:
        pairs = self._kept.values()
        return [(v, value) for v, value in pairs if _numbers(v).tobytes() != value.tobytes()]

    def is_now(self, nearly: Iterable[Any] = ()) -> bool:
        """Whether the present state equals the snapshot.

        Args:
            nearly: variables whose last digits may differ.
        """
        if any(layer._calls != count for layer, count in self._calls.values()):
            return False
        if any(_differ(cache.sums(), sums) for cache, sums in self._sums.values()):
            return False
        known = set(map(id, nearly))
        changed = [
            variable
            for variable, value in self._changed()
            if id(variable) not in known or not _are_close(_numbers(variable), value)
        ]
        return not changed

    def restore(self) -> None:
        """Restore variables and call counts from the snapshot."""
        for layer, count in self._calls.values():
            layer._calls = count
        for variable, value in self._changed():
            if isinstance(variable, Variable):
                variable.storage.set(value)
            else:
                variable.assign(value)


def _differ(now: dict[str, Any], before: dict[str, Any]) -> bool:
    """Whether sums of steps differ in value or number."""
    of_now, of_before = ({k: repr(v.sums()) for k, v in each.items()} for each in (now, before))
    return of_now != of_before


def _variables_of(thing: Any) -> Sequence[Any]:
    if isinstance(thing, Operators):
        return (thing,) if getattr(thing, "is_state", True) else ()
    if isinstance(thing, SeedGenerator):
        return (thing.state,)
    weights = thing.slots if isinstance(thing, Optimizer) else ()  # that it changes
    own = thing.variables if isinstance(thing, (Layer, Metric, Optimizer)) else ()
    moved = moved_variables([thing])  # states of recurrent layers are none of `variables`
    return [*own, *moved, *(thing._foreign.given.get(each, each) for each in weights)]


def _numbers(variable: Any) -> Any:
    """Copy of the numbers of a variable as they are kept, those of bfloat16 in float32."""
    return variable.storage.get() if isinstance(variable, Variable) else variable.numpy()


def numpys_state() -> Any:
    """State of NumPy's generator."""
    name, numbers, *rest = numpys().get_state(legacy=True)
    return name, np.asarray(numbers).tobytes(), rest


class Trial:
    """Comparison of a chain with the step that has just run.

    Args:
        before: the state before that step.
        noted: counts of the step's draws.
    """

    def __init__(self, before: KeptState, noted: Sequence[int]) -> None:
        self._before, self._noted = before, noted

    def differs(self, chain: Any, arrays: Sequence[Any], logs: Any) -> str:
        """Difference between chain and step on the same batch, or ""; state is restored.

        Args:
            chain: the chain to verify.
            arrays: arrays of the batch.
            logs: result of the step on it.
        """
        after = self._before.again()
        try:
            self._before.restore()
            with self._before.apart():
                again = chain.again(arrays, self._noted)
                is_right = after.is_now() and _bits(logs) == _bits(again)
            if (
                is_right
                and not chain.is_as_replayed
                and not self._agrees(chain, arrays, logs, after)
            ):
                chain.keep_calls()
        except Exception as error:  # of calls that need more than the record has
            return f"done again, its calls raise {type(error).__name__}: {error}"
        finally:
            after.restore()
        return "" if is_right else "done again, its calls give other numbers"

    def _agrees(self, chain: Any, arrays: Sequence[Any], logs: Any, after: KeptState) -> bool:
        """Whether a pass of the core gives the same weights, and metrics to the last digits."""
        self._before.restore()
        try:
            again = chain.again_in_pass(arrays, self._noted)
        except (TypeError, ValueError):  # of arrays that the metrics' programs do not take
            return False
        pairs = zip(tree.flatten(logs), tree.flatten(again), strict=True)
        own = () if chain.metrics is None else chain.metrics.variables()
        return after.is_now(own) and all(_are_close(*each) for each in pairs)


def _are_close(one: Any, other: Any) -> bool:
    return bool(np.allclose(one, other, rtol=1e-4, atol=1e-6, equal_nan=True))


def _bits(structure: Any) -> list[Any]:
    return [np.asarray(leaf).tobytes() for leaf in tree.flatten(structure)]
