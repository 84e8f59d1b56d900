"""LoRA: low-rank adaptation of frozen weights by the product of two narrow matrices."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl import initializers
from cdl._common.validation import expected, is_real, positive_int
from cdl._ir import emit
from cdl._ir.elementwise import argument
from cdl._tracing.symbolic import operator_of
from cdl._tracing.variable import Variable
from cdl._variables.program_caches import invalidate_programs
from cdl.layers.layer import Layer

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

    from cdl._configs.identifiers import Identifier
    from cdl._ir.program import Program, Value


_HERE = threading.local()  # its merges: those of the predictions that are being lowered


class Adaptable(Layer):
    """Base of layers with `enable_lora`: W becomes W + lora_alpha / rank A B, and W is frozen.

    A step of training computes x W + lora_alpha / rank (x A) B, which takes far fewer operations
    than the sum of the matrices where A and B are narrow. Predictions compute the sum once, see
    `Merges`. Files have it too, so that they fit the layer with and without LoRA.
    """

    lora_enabled: bool
    lora_rank: int | None
    lora_alpha: float | None
    _adapted = "kernel"  # what Keras calls the weight

    def _keep_lora(self, lora_rank: Any, lora_alpha: Any) -> None:
        """Store the constructor's arguments."""
        owner = type(self).__name__
        self.lora_rank = positive_int(owner, "lora_rank", lora_rank) if lora_rank else None
        self.lora_alpha = _checked_alpha(owner, lora_alpha, self.lora_rank)
        self.lora_enabled = False

    def enable_lora(
        self,
        rank: int,
        lora_alpha: float | None = None,
        a_initializer: Identifier = "he_uniform",
        b_initializer: Identifier = "zeros",
    ) -> None:
        """Enable low-rank adaptation: freeze the kernel or table, and train two narrow matrices.

        Compiled models must be compiled again. Files have the sum of all three: who reads one has
        A and B of zeros, which no longer learn, as in Keras.

        Args:
            rank: columns of A and rows of B.
            lora_alpha: the product of A and B counts lora_alpha / rank; None is the rank.
            a_initializer: of A, which has the kernel's shape with `rank` as its last size.
            b_initializer: of B, of shape (rank, the kernel's last size).

        Raises:
            ValueError: the layer is not built, has LoRA already, or has a constraint on the kernel.
        """
        what, owner = self._adapted, f"{type(self).__name__} {self.name!r}"
        if getattr(self, f"{what}_constraint") is not None:
            raise ValueError(
                f"{owner}: Lora is incompatible with {what} constraints: {what}_constraint must be "
                f"None, got {getattr(self, f'{what}_constraint')!r}"
            )
        if not self.built:
            raise ValueError(
                f"{owner}: Cannot enable lora on a layer that isn't yet built: call "
                "build(input_shape), or call it on data, first"
            )
        if self.lora_enabled:
            raise ValueError(
                f"{owner}: lora is already enabled. This can only be done once per layer."
            )
        rank = positive_int(owner, "rank", rank)
        lora_alpha = _checked_alpha(owner, lora_alpha, rank)
        frozen: Variable = getattr(self, f"_{what}")
        *outer, last = getattr(self, what).shape
        shapes = (*outer, rank), (rank, last)
        initial = [initializers.get(each) for each in (a_initializer, b_initializer)]
        before, self._building = self._building, True
        try:
            for side, shape, initializer in zip("ab", shapes, initial, strict=True):
                name = f"lora_{what}_{side}"
                weight = self.add_weight(
                    shape,
                    initializer,
                    dtype="float32",
                    regularizer=getattr(self, f"{what}_regularizer"),
                    name=name,
                    matrix=frozen.storage.matrix or side == "b",
                )
                weight.path = f"{self.path}/{name}"
                setattr(self, name, weight)
        finally:
            self._building = before
        frozen.trainable = False
        self.lora_enabled, self.lora_rank, self.lora_alpha = True, rank, lora_alpha
        invalidate_programs()

    def _lora(self) -> tuple[Variable, Variable, float]:
        """A, B, and the factor of their product."""
        assert self.lora_rank is not None
        assert self.lora_alpha is not None
        a, b = (getattr(self, f"lora_{self._adapted}_{side}") for side in "ab")
        return a, b, self.lora_alpha / self.lora_rank

    def _read(self) -> tuple[Variable, bool]:
        """Weight that a program reads, and whether it is the whole sum."""
        frozen: Variable = getattr(self, f"_{self._adapted}")
        merges: Merges | None = getattr(_HERE, "merges", None)
        if self.lora_enabled and merges is not None:
            return merges.of(self), True
        return frozen, not self.lora_enabled

    def _effective(self) -> Any:
        """Effective weight; with LoRA the sum: an array, or symbolic in traced code."""
        weight = vars(self).get(f"_{self._adapted}")
        if weight is None:
            raise AttributeError(
                f"{type(self).__name__} {self.name!r}: You must build the layer before accessing "
                f"`{self._adapted}`."
            )
        if not self.lora_enabled:
            return weight
        whole, is_all = self._read()
        if is_all:
            return whole
        a, b, scale = self._lora()
        return weight + operator_of("matmul")(a, b) * np.float32(scale)

    def _with_product(self, program: Program, y: Value, by_a: Value) -> Value:
        """Append `y` plus `by_a`, the input times A, times B."""
        _, b, scale = self._lora()
        return self._added_to(program, y, emit.linear(program, by_a, b), scale)

    @staticmethod
    def _added_to(program: Program, y: Value, product: Value, scale: float) -> Value:
        return program.map(argument(0) + argument(1) * scale, [y, product])

    def _filed_variables(self) -> list[Any]:
        variables = super()._filed_variables()
        if not self.lora_enabled:
            return variables
        a, b, _ = self._lora()
        frozen = getattr(self, f"_{self._adapted}")
        kept = [each for each in variables if each is not a and each is not b]
        return [_Sum(self, each, a, b) if each is frozen else each for each in kept]

    def _lora_config(self) -> dict[str, Any]:
        """Constructor arguments of LoRA, if they are set."""
        if not self.lora_rank:
            return {}
        return {"lora_rank": self.lora_rank, "lora_alpha": self.lora_alpha}


class AdaptableKernel(Adaptable):
    """Base of adaptable layers whose weight is `kernel`."""

    @property
    def kernel(self) -> Any:
        """Kernel; with LoRA a new array, the kernel and the product of A and B."""
        return self._effective()

    @kernel.setter
    def kernel(self, value: Variable) -> None:
        self._kernel = value


class Merges:
    """Merged weights of LoRA layers, for programs that predict.

    Layers that are lowered within a `with` block of it read these.
    """

    def __init__(self) -> None:
        self._found: dict[int, _Merged] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._before = getattr(_HERE, "merges", None)
        _HERE.merges = self
        return self

    def __exit__(self, *_: object) -> None:
        _HERE.merges = self._before

    def __bool__(self) -> bool:
        return bool(self._found)

    def of(self, layer: Adaptable) -> Variable:
        """Merged weight of a layer."""
        found = self._found.get(id(layer))
        if found is None:
            found = self._found[id(layer)] = _Merged(layer)
        return found.whole

    def refresh(self) -> None:
        """Recompute the sums with changed parts; other threads wait."""
        with self._lock:
            for each in self._found.values():
                if each.versions != each.now():
                    each.refresh()


class _Merged:
    def __init__(self, layer: Adaptable) -> None:
        self._layer = layer  # which is held, so that its id is no other one's
        self._frozen: Variable = getattr(layer, f"_{layer._adapted}")
        self._a, self._b, self._scale = layer._lora()
        kept = self._frozen.storage.matrix
        self.whole = Variable(self._frozen.shape, name=self._frozen.name, matrix=kept)
        self.whole.path = self._frozen.path
        self.refresh()

    def now(self) -> tuple[int, ...]:
        """Versions of the parts of the sum."""
        return tuple(each.storage.version for each in (self._frozen, self._a, self._b))

    def refresh(self) -> None:
        """Compute kernel + scale * A @ B."""
        versions = self.now()  # what is written meanwhile makes the sum stale
        product = np.matmul(self._a.numpy(), self._b.numpy())
        self.whole.assign(self._frozen.numpy() + product * np.float32(self._scale))
        self.versions = versions


class _Sum:
    """Frozen weight with its A and B in files: as one.

    Args:
        layer: whose they are.
        frozen: the weight.
        a: A.
        b: B.
    """

    def __init__(self, layer: Adaptable, frozen: Variable, a: Variable, b: Variable) -> None:
        self._layer, self._frozen, self._sides = layer, frozen, (a, b)
        self.parts = (frozen, a, b)
        self.name, self.path, self.shape = frozen.name, frozen.path, frozen.shape

    def numpy(self) -> NDArray[Any]:
        """Merged weight, kernel + scale * A @ B."""
        found: NDArray[Any] = np.asarray(self._layer._effective(), np.float32)
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self.numpy().astype(dtype or np.float32, copy=False)

    def assign(self, value: Any) -> None:
        """Assign the value to the weight, and zeros to A and B."""
        self._frozen.assign(value)
        for side in self._sides:
            side.assign(np.zeros(side.shape, np.float32))


def _checked_alpha(owner: str, lora_alpha: Any, rank: int | None) -> Any:
    if lora_alpha is None:
        return rank
    if not is_real(lora_alpha) or not np.isfinite(lora_alpha):
        raise expected(owner, "lora_alpha", "a number or None", lora_alpha)
    return lora_alpha
