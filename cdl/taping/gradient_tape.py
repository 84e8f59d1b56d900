"""`GradientTape`: record calls on arrays, then trace and differentiate them.

While a tape is open, layers, losses and functions of `cdl.ops` return arrays that know the call
that made them. `gradient` replays these calls on symbolic tensors, which `value_and_grad`
compiles; the program is cached for the next step with the same calls.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from math import prod
from typing import Any, NamedTuple

import numpy as np

from cdl import tree
from cdl._common.validation import one_of
from cdl._core import Parameter
from cdl._tracing import derivatives
from cdl._tracing.graph import current_scope, operator_of
from cdl._tracing.keras_tensor import KerasTensor
from cdl._tracing.variable import Variable
from cdl._variables import stepping
from cdl.data import brief
from cdl.taping import hooks
from cdl.taping.recorded import CLASS, Node, Taped, origin_of, plain, state
from cdl.taping.replay import gradients_of, gradients_recorded, variables_of, without_arrays


class _Value(NamedTuple):
    """Value of a weight.

    Attributes:
        serial: of the first call that has read it.
        version: of the weight at that time.
        array: the numbers.
    """

    serial: int
    version: int
    array: Any


class GradientTape:
    """Record of the calls made while it is open, for gradients of their results.

    In the `with` block, layers, models, losses, activations and functions of `cdl.ops` are called
    on arrays; they return NumPy arrays of a class that records arithmetic and NumPy's functions
    too. What `np.asarray` makes of such an array is a constant. `gradient` then compiles the
    recorded calls and differentiates them in the core; the same calls in the next step take the
    same program.

    Random layers, such as Dropout, draw again when the gradient is computed. An array whose first
    axis is not that of the batch is part of the program: one that changes from step to step costs
    a compilation each time. `value_and_grad` runs each step once, where a tape runs it twice.

    Args:
        persistent: whether `gradient` can be called more than once. Otherwise the record is
            released by the first call.
        watch_accessed_variables: whether all trainable variables that the calls read are sources;
            False: those given to `watch`.

    Example:
        >>> w = cdl.Variable([1.0, 2.0])
        >>> with cdl.GradientTape() as tape:
        ...     loss = cdl.ops.sum(w**3)
        >>> tape.gradient(loss, w)
        array([ 3., 12.], dtype=float32)
    """

    def __init__(self, persistent: bool = False, watch_accessed_variables: bool = True) -> None:
        hooks.install()
        self._persistent = persistent
        self._accessed = watch_accessed_variables
        self._is_used = False
        self.reset()

    def reset(self) -> None:
        """Forget all that was recorded and watched."""
        self._nodes: dict[int, Node] = {}
        self._watched: dict[int, Any] = {}  # arrays and variables, by id
        self._read: dict[Parameter, list[_Value]] = {}  # values of weights, as calls read them
        # Variables and their owners of before a gradient, for `watched_variables` behind it.
        self._ended: tuple[list[Node], dict[int, Any]] = ([], {})

    def __enter__(self) -> GradientTape:
        if current_scope() is not None:  # where the graph of symbolic tensors is the record
            return self
        if self in state.tapes:
            raise ValueError("GradientTape: the tape is open, and cannot be opened again")
        self._is_used = False
        state.tapes.append(self)
        return self

    def __exit__(self, *error: Any) -> None:
        if self in state.tapes:
            state.tapes.remove(self)

    def _note(self, node: Node) -> None:
        """Add a call that has been made, and keep the values of the weights that it has read."""
        self._nodes[node.serial] = node
        for each in variables_of([node]):
            weight = each.storage
            if not isinstance(weight, Parameter):
                continue
            values = self._read.setdefault(weight, [])
            if values and values[-1].version == weight.version:
                continue
            if not each.trainable:  # such as a statistic, which calls change: the last value
                values.clear()
            values.append(
                _Value(node.serial if each.trainable else 0, weight.version, weight.get())
            )

    def watch(self, tensor: Any) -> Any:
        """Make an array, or nested arrays, possible sources of `gradient`.

        Args:
            tensor: arrays of floats, variables, or a nested structure of them.

        Returns:
            The structure with arrays that record: go on with these, since no NumPy array of the
            ordinary class can be followed.

        Raises:
            TypeError: an array that is not of floats.
        """
        return tensor if _is_traced(tensor) else tree.map_structure(self._watch, tensor)

    def _watch(self, each: Any) -> Any:
        if isinstance(each, Variable):
            self._watched[id(each)] = each
            return each
        found = stepping.recorded(type(self)._recording, each)
        self._watched[id(stepping.plain(found))] = stepping.plain(found)
        return found

    @staticmethod
    def _recording(each: Any) -> Any:
        """An array that records arithmetic, with the values of another one."""
        array = each if isinstance(each, np.ndarray) else np.asarray(each)
        if isinstance(each, (float, list)):
            array = array.astype(np.float32)
        if array.dtype.kind != "f" and array.dtype.name != "bfloat16":
            raise TypeError(f"GradientTape: tensor must be an array of floats, got {brief(each)}")
        return array if isinstance(array, Taped) else array.view(CLASS[-1])

    def watched_variables(self) -> tuple[Any, ...]:
        """The variables that `gradient` can differentiate by, in the order of their first use."""
        nodes, watched = self._ended if self._is_used else (self._nodes.values(), self._watched)
        found = variables_of(nodes) if self._accessed else []
        found = [each for each in found if each.trainable and id(each) not in watched]
        return (*(each for each in watched.values() if isinstance(each, Variable)), *found)

    @contextlib.contextmanager
    def stop_recording(self) -> Iterator[None]:
        """A context in which no call is recorded; what it computes are constants.

        Raises:
            ValueError: the tape is not open.
        """
        if self not in state.tapes:
            raise ValueError("GradientTape: the tape is not open, so it records nothing to stop")
        state.tapes.remove(self)
        try:
            yield
        finally:
            state.tapes.append(self)

    def gradient(
        self,
        target: Any,
        sources: Any,
        output_gradients: Any = None,
        unconnected_gradients: str | None = "none",
    ) -> Any:
        """The gradient of the sum of `target` by each source, in the structure of `sources`.

        Args:
            target: an array or nested arrays, computed while the tape was open; or variables.
            sources: nested variables, arrays that `watch` has returned, and results in between.
            output_gradients: a factor for each element of `target`, in its structure; None is 1.
            unconnected_gradients: what stands for a source that `target` does not depend on or
                that the tape has not seen: "none" is None, "zero" an array of zeros.

        Returns:
            float32 arrays of the shapes of the sources, and None.

        Raises:
            NotImplementedError: by a variable, while another tape is open.
            RuntimeError: a second call, without `persistent=True`.
            TypeError: a source that is a NumPy array that `watch` has not returned.
            ValueError: `target` was not recorded, or its computation cannot be compiled.
        """
        fill = one_of("GradientTape", "unconnected_gradients", unconnected_gradients, _FILLS)
        if _is_traced(target):
            factors = tree.flatten(target if output_gradients is None else output_gradients)
            pairs = zip(tree.flatten(target), factors, strict=True)
            ys = [y if output_gradients is None else y * factor for y, factor in pairs]
            return tree.pack_sequence_as(sources, _traced(ys, sources))
        given = (target, sources, output_gradients)
        target, sources, output_gradients = tree.map_structure(stepping.plain, given)
        targets = [
            self._weighted([each], [1.0])[0] if isinstance(each, Variable) else each
            for each in tree.flatten(target)
            if each is not None
        ]
        flat = self._begin(targets, sources)
        as_read = self._as_read(targets)
        if output_gradients is not None:
            alone = isinstance(target, (np.ndarray, Variable))
            factors = [output_gradients] if alone else tree.flatten(output_gradients)
            shapes = [list(map(np.shape, each)) for each in (targets, factors)]
            if shapes[0] != shapes[1]:
                raise ValueError(
                    "GradientTape: output_gradients must have the shapes of target, "
                    f"{shapes[0]}, got {shapes[1]}"
                )
            targets = self._weighted(targets, factors)
        try:
            with as_read:
                found = self._of(targets, flat)
        finally:
            self._end()
        if fill == "zero":
            found = [
                self._zeros(np.shape(source)) if each is None else each
                for each, source in zip(found, flat, strict=True)
            ]
        return tree.pack_sequence_as(sources, found)

    def jacobian(
        self, target: Any, sources: Any, unconnected_gradients: str | None = "none"
    ) -> Any:
        """The derivative of each element of `target`, by as many gradients.

        Args:
            target: an array, computed while the tape was open.
            sources: as in `gradient`.
            unconnected_gradients: as in `gradient`.

        Returns:
            float32 arrays of shape ``target.shape + source.shape``, in the structure of `sources`.

        Raises:
            ValueError: as in `gradient`.
        """
        fill = one_of("GradientTape", "unconnected_gradients", unconnected_gradients, _FILLS)
        flat = self._begin([target], sources)
        shape = np.shape(target)
        factors = np.eye(max(1, np.size(target)), dtype=np.float32).reshape(-1, *shape)
        try:
            with self._as_read([target]):
                rows = [self._of(self._weighted([target], [each]), flat) for each in factors]
        finally:
            self._end()
        found = []
        for source, *parts in zip(flat, *rows, strict=True):
            whole = (*shape, *np.shape(source))
            zeros = np.zeros(whole, np.float32) if fill == "zero" else None
            found.append(zeros if parts[0] is None else np.reshape(np.stack(parts), whole))
        return tree.pack_sequence_as(sources, found)

    def batch_jacobian(self, target: Any, source: Any) -> Any:
        """The derivative of each element of a row of `target` by the same row of `source`.

        Args:
            target: an array whose rows depend on the same rows of `source` alone.
            source: an array, as in `gradient`.

        Returns:
            A float32 array of shape ``(rows, *target.shape[1:], *source.shape[1:])``.

        Raises:
            ValueError: other numbers of rows, or as in `gradient`.
        """
        if _is_traced(target):
            sizes = tuple(target.shape[1:])
            lines = operator_of("reshape")(target, (-1, prod(sizes)))
            found = [_traced([lines[:, k]], source)[0] for k in range(prod(sizes))]
            whole = operator_of("stack")(found, axis=1)
            return operator_of("reshape")(whole, (-1, *sizes, *source.shape[1:]))
        if np.ndim(target) < 1 or np.ndim(source) < 1 or len(target) != len(source):
            raise ValueError(
                "GradientTape: target and source must have as many rows, got shapes "
                f"{tuple(np.shape(target))} and {tuple(np.shape(source))}"
            )
        flat = self._begin([target], source)
        rows, shape = len(target), np.shape(target)[1:]
        columns = []
        try:
            with self._as_read([target]):
                for one in np.eye(max(1, int(np.prod(shape))), dtype=np.float32):
                    factor = np.tile(one.reshape(1, *shape), (rows, *(1 for _ in shape)))
                    columns += self._of(self._weighted([target], [factor]), flat)
        finally:
            self._end()
        if columns[0] is None:
            return None
        joined = np.stack(columns, 1)
        return joined.reshape(rows, *shape, *np.shape(source)[1:])

    def _begin(self, targets: list[Any], sources: Any) -> list[Any]:
        """The sources as a flat list; errors for what cannot be differentiated."""
        if self._is_used:
            raise RuntimeError(
                "GradientTape: a tape that is not persistent gives gradients once: "
                "GradientTape(persistent=True), or one call with a list of sources"
            )
        if not targets or not all(isinstance(each, Taped) for each in targets):
            raise ValueError(
                "GradientTape: target must be computed while the tape is open, by layers, losses "
                "and functions of cdl.ops; what np.asarray(x) gives is not recorded"
            )
        flat = tree.flatten(sources)
        for each in flat:
            self._check_source(each)
        if self._others() and any(map(self._is_of_layers, flat)):
            raise NotImplementedError(
                "GradientTape: sources must be arrays, or variables that no layer has, while "
                "another tape is open: gradients of gradients are by these first; close the other "
                "tape if it does not need this one"
            )
        return flat

    @contextlib.contextmanager
    def _as_read(self, targets: list[Any]) -> Iterator[None]:
        """Context with weights as the calls behind targets have read them, as in TensorFlow.

        An optimizer may have updated them since. Of several values that one target depends on, the
        last one counts.
        """
        origins = [origin_of(each, self._nodes) for each in targets]
        end = max((each[0].serial for each in origins if each is not None), default=0)
        found = [
            (weight, next((v for v in reversed(values) if v.serial <= end), None))
            for weight, values in self._read.items()
        ]
        now = [(w, v.array, w.get()) for w, v in found if v is not None and v.version != w.version]
        changed = [each for each in now if each[1].tobytes() != each[2].tobytes()]
        if changed:  # also of what calls no longer read, since its value was kept (hooks)
            read = {each.storage for each in variables_of(self._nodes.values())}
            changed = [each for each in changed if each[0] in read]
        if changed and stepping.state.recording is not None:
            stepping.state.recording.refuse("a tape's gradient follows an update of its weights")
        try:
            for weight, value, _ in changed:
                weight.set(value)
            yield
        finally:
            for weight, _, value in changed:
                weight.set(value)

    def _is_of_layers(self, source: Any) -> bool:
        """Whether a source is a weight that a recorded call reads by its layer."""
        owners = {id(node.owner): node.owner for node in self._nodes.values()}.values()
        return any(source is each for e in owners for each in getattr(e, "variables", ()))

    def _others(self) -> list[GradientTape]:
        return [tape for tape in state.tapes if tape is not self]

    def _check_source(self, each: Any) -> None:
        if not isinstance(each, (Taped, Variable)):
            raise TypeError(
                "GradientTape: sources must be variables, or arrays that `watch` has returned, as "
                f"in x = tape.watch(x), got {brief(each)}"
            )

    def _weighted(self, targets: list[Any], factors: list[Any]) -> list[Any]:
        """Targets times factors, recorded on this tape alone."""
        before, state.tapes = state.tapes, [self]
        try:
            factors = [b if isinstance(b, Taped) else np.asarray(plain(b)) for b in factors]
            return [a * b for a, b in zip(targets, factors, strict=True)]
        finally:
            state.tapes = before

    def _of(self, targets: list[Any], sources: list[Any]) -> list[Any]:
        """The gradient by each source; None for what is not connected or not watched."""
        seen = [each for each in sources if self._has_seen(each)]
        found = gradients_of(self._nodes, targets, seen)
        # A persistent tape that is open records its own gradients too.
        tapes = [each for each in state.tapes if each is not self or self._persistent]
        seen = [each for each in seen if not self._is_of_layers(each)] if tapes else []
        if seen:
            before, state.tapes = state.tapes, tapes
            try:
                found |= gradients_recorded(self._nodes, targets, seen, found)
            finally:
                state.tapes = before
        return [found.get(id(each)) for each in sources]

    @staticmethod
    def _zeros(shape: tuple[int, ...]) -> Any:
        """Value for a source that is not connected."""
        return np.zeros(shape, np.float32)

    def _has_seen(self, source: Any) -> bool:
        if id(source) in self._watched:
            return True
        if isinstance(source, Variable):
            return self._accessed and source.trainable
        return origin_of(source, self._nodes) is not None

    def _end(self) -> None:
        """Release the record after the only gradient of a tape that is not persistent."""
        if not self._persistent:
            nodes = without_arrays([each._replace(before=()) for each in self._nodes.values()])
            watched = {k: e for k, e in self._watched.items() if isinstance(e, Variable)}
            self._is_used = True
            self.__exit__()
            self.reset()
            self._ended = nodes, watched


def _is_traced(target: Any) -> bool:
    return any(isinstance(each, KerasTensor) for each in tree.flatten(target))


def _traced(ys: list[Any], sources: Any) -> list[Any]:
    """Gradients in traced code, by symbolic tensors; 0 by one that ys do not depend on."""
    flat = tree.flatten(sources)
    if not all(isinstance(each, KerasTensor) for each in (*ys, *flat)):
        raise NotImplementedError(
            "GradientTape: in code that is traced, such as the `call` of a layer, target and "
            "sources must be symbolic tensors, and no weights: a train_step has gradients by those"
        )
    return derivatives.gradients(ys, flat)


_FILLS = ("none", "zero", None)
