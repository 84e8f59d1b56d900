"""LoRA: low-rank adaptation of frozen weights by the product of two narrow matrices."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cdl._common.locks import new_lock
from cdl._core import Executor
from cdl._ir import emit
from cdl._ir.elementwise import argument
from cdl._tracing.graph import current_scope
from cdl._tracing.variable import Variable
from cdl.layers.arguments import Lowering, NDArray, Value
from cdl.layers.plain_weight import Linear, PlainWeight


class LoraWeight(PlainWeight):
    """Frozen weight W with narrow matrices beside it: W + alpha / rank A B.

    A step of training computes x W + alpha / rank (x A) B, which takes far fewer operations than
    the sum of the matrices where A and B are narrow. Programs that predict read the sum, see
    `Merged`. Files have it too, so that they fit the layer with and without LoRA.

    Args:
        base: the frozen weight, plain or quantized.
        a: A.
        b: B.
        alpha: the product of A and B counts alpha / rank; None is the rank.
    """

    def __init__(self, base: PlainWeight, a: Variable, b: Variable, alpha: float | None) -> None:
        super().__init__(base.variable)
        self._base, self.a, self.b, self.alpha = base, a, b, alpha

    @property
    def base(self) -> PlainWeight:
        """Weight without A and B."""
        return self._base

    @property
    def shape(self) -> tuple[int, ...]:
        return self._base.shape

    @property
    def scale(self) -> float:
        """Factor of the product of A and B."""
        return 1.0 if self.alpha is None else self.alpha / self.b.shape[0]

    def merged(self, merged: list[Any] | None) -> Merged | None:
        """Sum for programs that predict; None for others, which read its parts.

        Args:
            merged: of the program: gets the sum, which lives with it and is to be kept up to date.
        """
        if merged is None or not self._base.is_float:
            return None
        parts, scale = (self.variable, self.a, self.b), self.scale
        for each in merged:
            if each.is_sum_of(parts, scale):
                found: Merged = each
                return found
        merged.append(Merged(parts, scale))
        return merged[-1]  # type: ignore[no-any-return]

    def merged_in_call(self) -> Merged | None:
        """Sum for traced code that predicts; None for all other code."""
        scope = current_scope()
        return None if scope is None else self.merged(scope.merged)

    def product(
        self,
        program: Lowering,
        x: Value,
        linear: Linear,
        bias: Variable | None = None,
        by_both: Callable[[Variable, Variable], Value] | None = None,
    ) -> Value:
        """Append the layer's product with the sum, and the bias.

        Args:
            linear: the product with a weight.
            bias: added to it, or None.
            by_both: appends the input times A, times B, where that is not by lines.
        """
        whole = self.merged(program.recorder.merged)
        if whole is not None:
            return linear(program, x, whole, bias)
        y = self._base.product(program, x, linear, bias)
        if by_both is None:
            product = emit.linear(program, linear(program, x, self.a, None), self.b)
        else:
            product = by_both(self.a, self.b)
        return program.map(argument(0) + argument(1) * self.scale, [y, product])

    def array(self) -> Any:
        """Sum: an array, or symbolic in traced code."""
        whole = self.merged_in_call()
        if whole is not None:
            return whole
        if self._base.is_float:
            return self._base.parts_of_sum(self.a, self.b, self.scale)[0]
        product = np.matmul(self.a.numpy(), self.b.numpy())
        return np.asarray(self._base.array()) + product * np.float32(self.scale)

    def filed(self, variables: list[Any]) -> list[Any]:
        """Variables of the layer in the order of files, with the sum in place of its parts."""
        kept = [each for each in variables if each is not self.a and each is not self.b]
        parts = {id(each): i for i, each in enumerate(self._base.parts())}
        return [
            _PartOfSum(self, each, parts[id(each)]) if id(each) in parts else each
            for each in self._base.filed(kept)
        ]


class Merged(Variable):
    """Weight plus the product of A and B, as one, for programs that predict.

    Args:
        parts: the frozen weight, A and B.
        scale: factor of the product.
    """

    def __init__(self, parts: Sequence[Variable], scale: float) -> None:
        frozen = parts[0]
        super().__init__(frozen.shape, name=frozen.name, matrix=frozen.storage.matrix)
        self.path = frozen.path
        self._parts, self._scale, self._lock = parts, scale, new_lock()
        self._versions: tuple[int, ...] = ()
        self.refresh()

    def is_sum_of(self, parts: Sequence[Variable], scale: float) -> bool:
        """Whether it is the sum of those very parts."""
        same = all(map(operator.is_, parts, self._parts))
        return same and scale == self._scale

    def refresh(self) -> None:
        """Compute the sum anew if a part of it has changed; other threads wait."""
        with self._lock:
            # Versions from before the values are read: what is written meanwhile makes it stale.
            versions = tuple(each.storage.version for each in self._parts)
            if versions != self._versions:
                frozen, a, b = (each.numpy() for each in self._parts)
                self.assign(frozen + np.matmul(a, b) * np.float32(self._scale))
                self._versions = versions


class MergingExecutor:
    """Executor of a model with LoRA, which updates merged weights when they are stale.

    Args:
        executor: of the model's predictions.
        merged: the weights.
    """

    def __init__(self, executor: Executor, merged: list[Merged]) -> None:
        self._executor = executor
        self._merged = merged
        self.memory = executor.memory

    def predict(self, arrays: Sequence[NDArray[Any]], seed: int = 0, call: int = 0) -> Any:
        """Predict by the executor, with up-to-date merged weights."""
        for each in self._merged:
            each.refresh()
        return self._executor.predict(arrays, seed, call)


class _PartOfSum:
    """Variable of files where LoRA is enabled, with the values of the sum.

    `number` is its place among the parts of the weight without LoRA.
    """

    def __init__(self, lora: LoraWeight, variable: Variable, number: int) -> None:
        self._lora, self._variable, self._number = lora, variable, number
        self.parts = (variable, lora.a, lora.b)  # which `all_assigned` restores
        self.name, self.path, self.shape = variable.name, variable.path, variable.shape

    def numpy(self) -> NDArray[Any]:
        """Values of that part of the sum."""
        lora = self._lora
        found = lora.base.parts_of_sum(lora.a, lora.b, lora.scale)[self._number]
        part = np.reshape(np.asarray(found), self.shape)
        return part if part.dtype == np.int8 else part.astype(np.float32)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self.numpy().astype(dtype, copy=False) if dtype else self.numpy()

    def assign(self, value: Any) -> None:
        """Assign the value to the weight, and zeros to A and B."""
        self._variable.assign(value)
        for side in (self._lora.a, self._lora.b):
            side.assign(np.zeros(side.shape, np.float32))
