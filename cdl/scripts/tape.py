"""`tf.GradientTape`: what runs on arrays is noted, and traced again for a gradient.

While a tape is open, calls of layers, losses and functions of `cdl.ops` give tensors that know
which call made them. `gradient` runs these calls once more on symbolic tensors, which
`value_and_grad` compiles; the program is kept for the next step that does the same.
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
    """Notes what is computed while it is open, for the gradient of a result.

    Gradients are those of `value_and_grad`: by weights, variables, and arrays that are watched.
    Layers that draw, such as Dropout, draw anew for the gradient.

    Args:
        persistent: of no use here: any tape gives several gradients.
        watch_accessed_variables: of no use here: gradients are by what is asked for.
    """

    def __init__(self, persistent: bool = False, watch_accessed_variables: bool = True) -> None:
        """Take TensorFlow's arguments; neither changes a gradient."""

    def __enter__(self) -> GradientTape:
        state.tapes.append(self)
        return self

    def __exit__(self, *error: Any) -> None:
        state.tapes.remove(self)

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

    @contextlib.contextmanager
    def stop_recording(self) -> Iterator[None]:
        """Within it nothing is noted."""
        before, state.busy = state.busy, True
        try:
            yield
        finally:
            state.busy = before

    def reset(self) -> None:
        """Do nothing: each tensor holds the call that made it, and the tape holds none."""

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
        """Not there.

        Raises:
            NotImplementedError: in any case.
        """
        raise NotImplementedError("tf.GradientTape: cdl has gradients of sums, and no Jacobians")

    batch_jacobian = jacobian


@contextlib.contextmanager
def _statistics_kept(targets: list[Any]) -> Iterator[None]:
    """Within it weights that no gradient moves keep what the noted calls made of them."""
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
