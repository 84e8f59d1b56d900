"""`tf.GradientTape`: `cdl.GradientTape` on the tensors of scripts."""

from __future__ import annotations

from typing import Any

from cdl import Variable, taping, tree
from cdl._tracing import derivatives
from cdl._tracing.keras_tensor import KerasTensor
from cdl._variables.stepping import plain
from cdl.scripts.tensor import Tensor, tensors
from cdl.taping.recorded import CLASS, Taped


class TapedTensor(Taped, Tensor):
    """A tensor that a tape watches or that a recorded call gave."""

    @staticmethod
    def unrecorded(result: Any) -> Any:
        """A result that has no record, as a tensor."""
        return tensors(result)


CLASS.append(TapedTensor)


class GradientTape(taping.GradientTape):
    """A tape that watches tensors as they are, and gives tensors.

    Args:
        persistent: whether `gradient` can be called more than once.
        watch_accessed_variables: whether variables that the calls read are sources.
    """

    def _watch(self, each: Any) -> Any:
        if isinstance(each, Variable):
            return super()._watch(each)
        array = self._recording(plain(each))
        self._watched[id(array)] = array
        return each

    @staticmethod
    def _recording(each: Any) -> Any:
        if isinstance(each, Tensor) and not isinstance(each, Taped):  # slices of variables too
            each.__class__ = TapedTensor
        elif not isinstance(each, Taped):
            raise ValueError(
                f"tf.GradientTape: tensor must be one of tf's, got {type(each).__name__}: "
                "tf.convert_to_tensor makes one of an array"
            )
        return each

    def _check_source(self, each: Any) -> None:
        if not isinstance(each, (Tensor, Variable)):
            super()._check_source(each)

    @staticmethod
    def _zeros(shape: tuple[int, ...]) -> Any:
        return tensors(taping.GradientTape._zeros(shape))

    def _begin(self, targets: list[Any], sources: Any) -> list[Any]:
        rest = [each for each in targets if not isinstance(each, Tensor) or isinstance(each, Taped)]
        if targets and not rest and not self._is_used:
            return tree.flatten(sources)
        return super()._begin(rest or targets, sources)

    def _of(self, targets: list[Any], sources: list[Any]) -> list[Any]:
        targets = [each for each in targets if isinstance(each, Taped)]
        if not targets:  # of what the tape has not seen, as TensorFlow
            return [None] * len(sources)
        return list(map(tensors, super()._of(targets, sources)))


def minimize(
    self: Any, loss: Any, var_list: Any, grad_loss: Any = None, name: Any = None, tape: Any = None
) -> Any:
    """`minimize` of optimizers of Keras 2: one step down the gradient of a loss.

    Args:
        self: the optimizer.
        loss: a function without arguments, or a tensor that `tape` has recorded.
        var_list: the weights, or a function that gives them.
        grad_loss: a factor of each element of the loss.
        name: without effect.
        tape: the tape of the loss.

    Raises:
        ValueError: a tensor without its tape.
    """
    if not callable(loss) and tape is None:
        raise ValueError("minimize: tape must be that of the loss, which is a tensor, got None")
    if callable(loss):
        tape = GradientTape()
        with tape:
            loss = loss()
    weights = var_list() if callable(var_list) else var_list
    found = tape.gradient(loss, weights, grad_loss)
    return self.apply_gradients(zip(found, weights, strict=True))


def gradients(ys: Any, xs: Any, *, name: str | None = None) -> list[Any]:
    """`tf.gradients`, of symbolic tensors: the gradient of the sum of `ys` by each of `xs`.

    Args:
        ys: a tensor within the call of a layer, or a list of them.
        xs: tensors that they were computed from.
        name: without effect.

    Raises:
        RuntimeError: they are arrays.
    """
    flat = tree.flatten(ys), tree.flatten(xs)
    if not all(isinstance(each, KerasTensor) for part in flat for each in part):
        raise RuntimeError(
            "tf.gradients: ys and xs must be symbolic tensors, as in the call of a layer: "
            "tf.GradientTape differentiates what is computed on numbers"
        )
    return derivatives.gradients(*flat)
