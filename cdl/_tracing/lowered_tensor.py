"""LoweredTensor: a tensor while a graph is lowered to a program.

Functions of `cdl.ops` that are made of others, such as a norm, are run on lowered tensors: each
function that they call appends its instructions at once.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from cdl import tree
from cdl._common import dtypes
from cdl._ir.lowering import Lowering
from cdl._ir.program import Value
from cdl._tracing.keras_tensor import KerasTensor
from cdl._tracing.numpy_dispatch import ArrayMethods
from cdl._tracing.symbolic import give_operators
from cdl._tracing.variable import Variable

_local = threading.local()
_CLIPS = ("clip", "minimum")  # bounds may exceed all values, such as the largest int32


class LoweredTensor(ArrayMethods):
    """Value of a program with the shape and dtype of its tensor.

    Args:
        value: the value of the program.
        spec: shape and dtype, as Python code sees them.
        variable: the weight that the value holds, or None.
    """

    __slots__ = ("spec", "value", "variable")

    def __init__(self, value: Value, spec: KerasTensor, variable: Variable | None = None) -> None:
        self.value = value
        self.spec = spec
        self.variable = variable

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Shape, batch axis first if there is one."""
        return self.spec.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.spec.shape)

    @property
    def dtype(self) -> str:
        """Name of the dtype, such as "float32"."""
        return self.spec.dtype

    @property
    def rows_per_sample(self) -> int:
        """Number of rows per sample: see `KerasTensor`."""
        return self.spec.rows_per_sample

    @property
    def batch_axis(self) -> int:
        """Position of the batch axis: see `KerasTensor`."""
        return self.spec.batch_axis

    def __repr__(self) -> str:
        return f"<Term {self.value!r} shape={self.shape}>"


give_operators(LoweredTensor)


def current_program() -> Lowering | None:
    """Program that this thread is appending to; None for none."""
    return getattr(_local, "program", None)


@contextmanager
def appending_to(program: Lowering) -> Iterator[None]:
    """Context in which functions of `cdl.ops` append to this program."""
    before = current_program()
    _local.program = program
    try:
        yield
    finally:
        _local.program = before


def in_float32(program: Lowering, leaf: Any) -> Any:
    """Term of 16 bits as one of float32; any other leaf as it is."""
    if not isinstance(leaf, LoweredTensor) or leaf.value.dtype not in dtypes.LOW:
        return leaf
    return LoweredTensor(program.cast(leaf.value, "float32"), leaf.spec, leaf.variable)


def refuse_inexact_constants(name: str, spec: Any, arguments: Any) -> None:
    """Check that float32 holds the integers of a call's arguments, if it gives integers.

    Args:
        arguments: of any structure.

    Raises:
        ValueError: an integer that float32 does not hold.
    """
    gives = any("int" in getattr(each, "dtype", "") for each in tree.flatten(spec))
    if gives and name not in _CLIPS and not name.startswith("random"):
        for leaf in tree.flatten(arguments):
            if isinstance(leaf, (int, np.integer, np.ndarray)):
                dtypes.refuse_inexact(name, np.asarray(leaf))
