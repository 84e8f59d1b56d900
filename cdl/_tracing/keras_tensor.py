"""KerasTensor: a symbolic tensor.

Python's operators on it are functions of `cdl.ops`. Uses that need values raise an error that shows
the user's line.
"""

from __future__ import annotations

import itertools
import operator
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from cdl._common.errors import Listed
from cdl._tracing.numpy_dispatch import ArrayMethods
from cdl._tracing.symbolic import give_operators, operator_of, symbolic_error

if TYPE_CHECKING:
    from cdl._tracing.graph import Node


Shape = tuple[int | None, ...]
_serials = itertools.count()
_NO_NUMBER = "the number in a symbolic tensor is not known while tracing"


class History(NamedTuple):
    """Origin of a tensor, under Keras's names."""

    operation: Any
    node_index: int
    tensor_index: int


class KerasTensor(Listed, ArrayMethods):
    """Symbolic tensor: a shape, a dtype and an origin, without values.

    Args:
        shape: of all samples, None for sizes that are not known.
        dtype: name of the dtype; whatever it is, programs compute in float32.
        sparse: whether it stands for a sparse tensor: it has a shape, and no program computes it.
        ragged: only False.
        record_history: accepted, as Keras has it.
        name: None makes one.
        rows_per_sample: how many steps along the batch axis make one sample: 1, or m if the batch
            axis and an axis of size m have been merged; 0 if the tensor has no batch axis.
        batch_axis: which axis is the batch axis, if there is one; after `transpose` and `stack`
            that may be another one than the first.

    Raises:
        ValueError: `ragged` is true.
    """

    _inner: tuple[str, ...] = (
        "batch_axis", "is_open", "like", "mask", "node", "of_samples", "rows_per_sample",
        "sample_shape", "sized", "sizes", "tensor_index", "tried", "twin",
    )  # fmt: skip

    is_true: bool | None = None  # of a comparison of two tensors: see `_comparison`

    def __init__(
        self,
        shape: Iterable[int | None],
        dtype: str = "float32",
        sparse: bool = False,
        ragged: bool = False,
        record_history: bool = True,
        name: str | None = None,
        *,
        rows_per_sample: int = 1,
        batch_axis: int = 0,
    ) -> None:
        del record_history
        if ragged:
            raise ValueError("KerasTensor: ragged=True is not supported, only False is")
        if not isinstance(shape, Iterable):
            raise ValueError(f"KerasTensor: shape must be a sequence of sizes, got {shape!r}")
        self.shape: Shape = tuple(None if n is None else int(n) for n in shape)
        self.dtype = str(dtype)
        self.name = name if name is not None else f"keras_tensor_{next(_serials)}"
        self.sparse, self.ragged = bool(sparse), False
        self.rows_per_sample = rows_per_sample if self.shape else 0
        self.batch_axis = batch_axis
        self.node: Node | None = None
        self.tensor_index = 0
        self.mask: KerasTensor | None = None  # which of its lines count, as layers tell
        self.sizes: Any = None  # sizes that it holds as values: see `known_sizes`
        # Tensors in its place for some batch sizes, if its shape alone does not tell.
        self.tried: tuple[tuple[int, Any], ...] = ()

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int | None:
        """Number of elements, None if it is unknown."""
        total = 1
        for n in self.shape:
            if n is None:
                return None
            total *= n
        return total

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of its value in a program: of one sample, or of a shared value."""
        if not self.rows_per_sample:
            sizes = self.shape
        elif self.rows_per_sample > 1:
            sizes = (self.rows_per_sample, *self.shape[1:])
        else:
            sizes = self.shape[: self.batch_axis] + self.shape[self.batch_axis + 1 :]
        if None in sizes:
            raise ValueError(
                f"{self.name}: all axes but that of the samples must have a size that is known, "
                f"got shape {self.shape}"
            )
        return tuple(n for n in sizes if n is not None)

    @property
    def is_open(self) -> bool:
        """Whether an axis besides the batch has an unknown size."""
        at = self.batch_axis if self.rows_per_sample else -1
        return any(n is None and axis != at for axis, n in enumerate(self.shape))

    def sized(self, shape: tuple[int, ...], shared: bool) -> KerasTensor:
        """New tensor with the sizes of a value of a program.

        Args:
            shape: of the value.
            shared: whether the value has no batch axis.
        """
        if shared:
            return KerasTensor(shape, self.dtype, rows_per_sample=0)
        if len(shape) == len(self.shape):  # the batch axis and another one are one
            merged = (None, *shape[1:])
            return KerasTensor(merged, self.dtype, rows_per_sample=shape[0])
        at = self.batch_axis
        return KerasTensor((*shape[:at], None, *shape[at:]), self.dtype, batch_axis=at)

    def like(
        self, shape: Iterable[int | None] | None = None, dtype: str | None = None
    ) -> KerasTensor:
        """New tensor with this one's batch axis.

        Args:
            shape: with that axis in the same place; None for this one's.
            dtype: None for this one's.
        """
        shape = self.shape if shape is None else shape
        dtype = self.dtype if dtype is None else dtype
        return KerasTensor(
            shape, dtype, rows_per_sample=self.rows_per_sample, batch_axis=self.batch_axis
        )

    def twin(self, dtype: str | None = None) -> KerasTensor:
        """New tensor of this one's shape, for any batch size, with its mask.

        Args:
            dtype: None for this one's.
        """
        made = self.like(dtype=dtype)
        made.tried, made.mask = self.tried, self.mask
        return made

    def of_samples(self, samples: int | None) -> KerasTensor:
        """New tensor for a batch size, if it has a batch axis.

        Args:
            samples: None for any number.
        """
        sizes, at = list(self.shape), self.batch_axis
        if self.rows_per_sample:
            sizes[at] = None if samples is None else samples * self.rows_per_sample
        made = self.like(sizes)
        made.mask = None if self.mask is None else self.mask.of_samples(samples)
        return made

    @property
    def _keras_history(self) -> History:
        """Operation that makes it, with the numbers of the call and of the result."""
        node = self.node
        if node is None:
            raise AttributeError(f"{self.name} is not the result of any operation")
        return History(node.operation, node.index, self.tensor_index)

    def __repr__(self) -> str:
        return f"<KerasTensor shape={self.shape}, dtype={self.dtype}, name={self.name}>"

    # Methods that need values

    def __bool__(self) -> bool:
        if self.is_true is not None:
            return self.is_true
        raise symbolic_error(
            "the truth value of a symbolic tensor is not known while tracing",
            "choose by cdl.ops.where(condition, a, b)",
        )

    def __float__(self) -> float:
        raise symbolic_error(_NO_NUMBER, "go on with cdl.ops")

    def __int__(self) -> int:
        raise symbolic_error(_NO_NUMBER, "go on with cdl.ops")

    def __index__(self) -> int:
        raise symbolic_error(_NO_NUMBER, "an index of that kind is for cdl.ops.take")

    def __len__(self) -> int:
        if self.rows_per_sample or not self.shape or self.shape[0] is None:
            raise symbolic_error("a symbolic tensor has no len()", "take a mean, or np.shape(x)[0]")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        if self.rows_per_sample or not self.shape or self.shape[0] is None:
            raise symbolic_error("a symbolic tensor cannot be iterated over", "use cdl.ops.unstack")
        return (self[i] for i in range(self.shape[0]))

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise symbolic_error(
            "a symbolic tensor is no NumPy array", "use functions of NumPy or cdl.ops on it"
        )

    def __setitem__(self, key: Any, value: Any) -> None:
        raise symbolic_error(
            "a symbolic tensor cannot be assigned to", "use cdl.ops.where or cdl.ops.concatenate"
        )

    if TYPE_CHECKING:  # `give_operators` makes them

        def __add__(self, other: Any, /) -> KerasTensor: ...
        def __sub__(self, other: Any, /) -> KerasTensor: ...
        def __mul__(self, other: Any, /) -> KerasTensor: ...
        def __truediv__(self, other: Any, /) -> KerasTensor: ...
        def __floordiv__(self, other: Any, /) -> KerasTensor: ...
        def __mod__(self, other: Any, /) -> KerasTensor: ...
        def __pow__(self, other: Any, /) -> KerasTensor: ...
        def __matmul__(self, other: Any, /) -> KerasTensor: ...
        def __and__(self, other: Any, /) -> KerasTensor: ...
        def __or__(self, other: Any, /) -> KerasTensor: ...
        def __xor__(self, other: Any, /) -> KerasTensor: ...
        def __radd__(self, other: Any, /) -> KerasTensor: ...
        def __rsub__(self, other: Any, /) -> KerasTensor: ...
        def __rmul__(self, other: Any, /) -> KerasTensor: ...
        def __rtruediv__(self, other: Any, /) -> KerasTensor: ...
        def __rfloordiv__(self, other: Any, /) -> KerasTensor: ...
        def __rmod__(self, other: Any, /) -> KerasTensor: ...
        def __rpow__(self, other: Any, /) -> KerasTensor: ...
        def __rmatmul__(self, other: Any, /) -> KerasTensor: ...
        def __rand__(self, other: Any, /) -> KerasTensor: ...
        def __ror__(self, other: Any, /) -> KerasTensor: ...
        def __rxor__(self, other: Any, /) -> KerasTensor: ...
        def __lt__(self, other: Any, /) -> KerasTensor: ...
        def __le__(self, other: Any, /) -> KerasTensor: ...
        def __gt__(self, other: Any, /) -> KerasTensor: ...
        def __ge__(self, other: Any, /) -> KerasTensor: ...
        def __eq__(self, other: object, /) -> KerasTensor: ...  # type: ignore[override]
        def __ne__(self, other: object, /) -> KerasTensor: ...  # type: ignore[override]
        def __neg__(self) -> KerasTensor: ...
        def __abs__(self) -> KerasTensor: ...
        def __pos__(self) -> KerasTensor: ...
        def __invert__(self) -> KerasTensor: ...
        def __getitem__(self, key: Any, /) -> KerasTensor: ...
        def __hash__(self) -> int: ...


give_operators(KerasTensor)


def _comparison(name: str) -> Any:
    """`==` or `!=` of tensors, whose truth value is by identity between Inputs and outputs.

    So lists and dicts of tensors can be searched, as in Keras. Tensors of other shapes differ.
    """
    elementwise = getattr(KerasTensor, f"__{name}__")

    def compare(self: KerasTensor, other: Any) -> Any:
        from cdl._tracing.graph import current_scope

        if not isinstance(other, KerasTensor) or current_scope() is not None:
            return elementwise(self, other)
        try:
            found = elementwise(self, other)
        except ValueError:
            return NotImplemented
        found.is_true = (self is other) == (name == "eq")
        return found

    return compare


for _name in ("eq", "ne"):
    setattr(KerasTensor, f"__{_name}__", _comparison(_name))


def is_keras_tensor(x: Any) -> bool:
    """Whether x is a symbolic tensor.

    Args:
        x: anything.
    """
    return isinstance(x, KerasTensor)


_local = threading.local()


def known_samples() -> int | None:
    """Batch size for which this thread traces coupled code; None for any."""
    return getattr(_local, "samples", None)


@contextmanager
def knowing_samples(samples: int | None) -> Iterator[None]:
    """Context in which code is traced for one batch size, and may couple samples."""
    before = known_samples()
    _local.samples = samples
    try:
        yield
    finally:
        _local.samples = before


class SymbolicBatch:
    """Symbolic batch size, times a number.

    Args:
        times: size of the axis that was merged with the batch axis.
    """

    __slots__ = ("times",)
    shape = ()

    def __init__(self, times: int = 1) -> None:
        self.times = times

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, int) and other > 0:
            return SymbolicBatch(self.times * other)
        return _computed("mul", self, other)

    __rmul__ = __mul__

    def __neg__(self) -> Any:
        return self * -1

    def __floordiv__(self, other: Any) -> Any:
        if isinstance(other, int) and other > 0 and self.times % other == 0:
            return SymbolicBatch(self.times // other)
        return _computed("floordiv", self, other)

    def __rfloordiv__(self, other: Any) -> Any:
        return _computed("floordiv", other, self)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, SymbolicBatch):
            return self.times == other.times
        if isinstance(other, int) and other > 0:
            return int(self) == other
        return False

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        return int(self) > 0

    def __int__(self) -> int:
        samples = known_samples()
        if samples is None:
            raise self._unknown()
        return self.times * samples

    def __index__(self) -> int:
        return int(self)

    def __float__(self) -> float:
        return float(int(self))

    def __repr__(self) -> str:
        return "<number of samples>" if self.times == 1 else f"<{self.times} x number of samples>"

    def _unknown(self) -> TypeError:
        return symbolic_error(
            "the number of samples is not known yet",
            "use it as a size, as in cdl.ops.reshape, or as a number with cdl.ops.cast",
        )


def _computed(name: str, *pair: Any) -> Any:
    """Result of an operator: a number where that of samples is known, or a symbolic one."""
    if known_samples() is None or not all(isinstance(x, (int, float, SymbolicBatch)) for x in pair):
        return operator_of(name)(*pair)
    numbers = [int(x) if isinstance(x, SymbolicBatch) else x for x in pair]
    return getattr(operator, name)(*numbers)


def _give_arithmetic() -> None:
    """Add operators of arithmetic and comparison to `SymbolicBatch`."""

    def method(name: str, swapped: bool) -> Any:
        def compute(self: Any, other: Any) -> Any:
            return _computed(name, *((other, self) if swapped else (self, other)))

        return compute

    for name in ("add", "sub", "truediv", "mod", "pow"):
        setattr(SymbolicBatch, f"__{name}__", method(name, False))
        setattr(SymbolicBatch, f"__r{name}__", method(name, True))
    for name in ("lt", "le", "gt", "ge"):
        setattr(SymbolicBatch, f"__{name}__", method(name, False))


_give_arithmetic()


# --- what Keras declares of symbolic results beside their shapes ---


def _is_sparse(x: Any) -> bool:
    return isinstance(x, KerasTensor) and x.sparse


# From the arguments of a call to whether its result is sparse.
_SPARSE: dict[str, Callable[..., bool]] = {
    "concatenate": lambda xs, *_: all(map(_is_sparse, xs)),
    "convert_to_tensor": lambda x, *more: _is_sparse(x) and more[1:] != (False,),
    "matmul": lambda x1, x2: _is_sparse(x1) and _is_sparse(x2),
    "multi_hot": lambda *args: len(args) > 4 and bool(args[4]),
    "one_hot": lambda *args: len(args) > 4 and bool(args[4]),
}


# From the arguments of a call to the sizes of the axes of the matrix whose diagonal it is.
_DIAGONALS: dict[str, Callable[..., tuple[int | None, ...]]] = {
    "diag": lambda x, k=0: x.shape if len(x.shape) == 2 else (),
    "diagonal": lambda x, offset=0, axis1=0, axis2=1: (x.shape[axis1], x.shape[axis2]),
}


def declared(name: str, args: tuple[Any, ...], result: Any) -> Any:
    """Symbolic result of an operation with what Keras declares of it.

    Args:
        name: of the operation.
        args: the arguments of the call.
        result: symbolic.
    """
    if isinstance(result, KerasTensor):
        if name in _SPARSE:
            result.sparse = _SPARSE[name](*args)
        elif name in _DIAGONALS and None in _DIAGONALS[name](*args):
            result.shape = (*result.shape[:-1], None)  # it ends where the shorter axis does
        elif name == "searchsorted" and None in getattr(args[0], "shape", ()):
            result.dtype = "int64"  # places in a vector that may be of any length
    return result


def no_sparse(name: str) -> ValueError:
    """Error of an operation that is asked for a sparse array."""
    return ValueError(f"{name}: sparse must be False for arrays and in programs, got True")


def refuse_sparse(name: str, spec: Any) -> None:
    """Error for a sparse result of an operation within a program.

    Args:
        name: of the operation.
        spec: the symbolic result.

    Raises:
        ValueError: it is sparse.
    """
    if _is_sparse(spec):
        raise no_sparse(name)
