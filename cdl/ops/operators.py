"""Functions of Python's operators on symbolic tensors."""

from __future__ import annotations

from cdl._tracing.symbolic import OPERATORS
from cdl.ops.numpy.arithmetic import (
    absolute,
    add,
    divide,
    floor_divide,
    mod,
    multiply,
    negative,
    power,
    subtract,
)
from cdl.ops.numpy.comparisons import (
    equal,
    greater,
    greater_equal,
    less,
    less_equal,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    not_equal,
)
from cdl.ops.numpy.indexing import get_item
from cdl.ops.numpy.products import matmul
from cdl.ops.numpy.shapes import copy

OPERATORS.update(
    {
        "add": add,
        "sub": subtract,
        "mul": multiply,
        "truediv": divide,
        "floordiv": floor_divide,
        "mod": mod,
        "pow": power,
        "matmul": matmul,
        "and": logical_and,
        "or": logical_or,
        "xor": logical_xor,
        "eq": equal,
        "ne": not_equal,
        "lt": less,
        "le": less_equal,
        "gt": greater,
        "ge": greater_equal,
        "getitem": get_item,
        "neg": negative,
        "abs": absolute,
        "pos": copy,
        "invert": logical_not,
    }
)
