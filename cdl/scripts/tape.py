"""`tf.GradientTape`: record calls on arrays, then trace and differentiate them.

While a tape is open, layers, losses and functions of `cdl.ops` return tensors that store the call
that made them. `gradient` replays these calls on symbolic tensors, which `value_and_grad`
compiles; the program is cached for the next step with the same calls.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from cdl import Variable, tree
from cdl.scripts.tape_programs import gradients_of, nodes_before
from cdl.scripts.taped import Taped, made_by, state
from cdl.scripts.tensor import Tensor, tensors


class GradientTape:
    """Records the calls made while it is open, for gradients of their results.

    Gradients come from `value_and_grad`: by weights, variables and watched tensors. Random layers,
    such as Dropout, draw again when the gradient is computed.

    Args:
        persistent: without effect: every tape computes any number of gradients.
        watch_accessed_variables: without effect: the sources of `gradient` are differentiated by.
    """

    def __init__(self, persistent: bool = False, watch_accessed_variables: bool = True) -> None:
        """Accept TensorFlow's arguments; neither changes a gradient."""

    def __enter__(self) -> GradientTape:
        state.tapes.append(self)
        return self

    def __exit__(self, *error: Any) -> None:
        state.tapes.remove(self)

    def watch(self, tensor: Any) -> None:
        """Make a tensor, or nested tensors, a possible source of `gradient`.

        Raises:
            ValueError: a value that is neither a tensor nor a variable.
        """
        for each in tree.flatten(tensor):
            if type(each) is Tensor:
                each.__class__ = Taped  # a class that records arithmetic
            elif not isinstance(each, (Taped, Variable)):
                raise ValueError(
                    f"tf.GradientTape: tensor must be one of tf's, got {type(each).__name__}: "
                    "tf.convert_to_tensor makes one of an array"
                )

    @contextlib.contextmanager
    def stop_recording(self) -> Iterator[None]:
        """A context in which no call is recorded."""
        before, state.busy = state.busy, True
        try:
            yield
        finally:
            state.busy = before

    def reset(self) -> None:
        """Do nothing: the record is in the tensors, not in the tape."""

    def gradient(
        self,
        target: Any,
        sources: Any,
        output_gradients: Any = None,
        unconnected_gradients: Any = None,
    ) -> Any:
        """The gradient of the sum of `target` by each source, in the structure of `sources`.

        The gradient by a source that `target` does not depend on is None.

        Args:
            target: one tensor or nested tensors, computed while the tape was open.
            sources: nested weights, variables and watched tensors.
            output_gradients: a factor for each element of `target`, or None.
            unconnected_gradients: "zero" for zeros in place of None.

        Raises:
            NotImplementedError: another tape is open; higher derivatives are not supported.
            ValueError: `target` was not recorded, or its computation cannot be compiled.
        """
        if any(tape is not self for tape in state.tapes):
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
        if not targets or any(made_by(each) is None for each in targets):
            raise ValueError(
                "tf.GradientTape: target must be computed while the tape is open, by layers, "
                "losses and functions of tf or keras.ops; what np.asarray(x) gives is not noted"
            )
        flat = tree.flatten(sources)
        watched = {id(each): each for each in flat if not isinstance(each, Variable)}
        with _statistics_kept(targets):
            found = gradients_of(targets, flat, watched)
        if unconnected_gradients == "zero":
            found = [
                tensors(np.zeros(each.shape, np.float32)) if gradient is None else gradient
                for gradient, each in zip(found, flat, strict=True)
            ]
        return tree.pack_sequence_as(sources, found)

    def jacobian(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse: Jacobians are not supported.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("tf.GradientTape: cdl has gradients of sums, and no Jacobians")

    batch_jacobian = jacobian


@contextlib.contextmanager
def _statistics_kept(targets: list[Any]) -> Iterator[None]:
    """Restore non-trainable weights, such as moving averages, after calls are replayed."""
    owners = {id(node.owner): node.owner for node in nodes_before(targets)}
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
