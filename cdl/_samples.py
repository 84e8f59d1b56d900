"""_samples.py - SampleCount: how many samples there are, in Python code that is traced.

`cdl.ops.shape(x)[0]` of a symbolic tensor is one. As a size in a shape it stands for the batch
axis; in arithmetic it is a symbolic number, which a program counts anew for each batch.
"""

from __future__ import annotations

from typing import Any

from cdl._symbols import operator_of, symbolic_error


class SampleCount:
    """The number of samples of a batch, times a number.

    Args:
        times: the size of the axis that has been made one with the batch axis.
    """

    __slots__ = ("times",)

    def __init__(self, times: int = 1) -> None:
        self.times = times

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, int) and other > 0:
            return SampleCount(self.times * other)
        return operator_of("mul")(self, other)

    __rmul__ = __mul__

    def __floordiv__(self, other: Any) -> Any:
        if isinstance(other, int) and other > 0 and self.times % other == 0:
            return SampleCount(self.times // other)
        return operator_of("floordiv")(self, other)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, SampleCount):
            return self.times == other.times
        if isinstance(other, int) and other > 0:
            raise self._unknown()
        return False

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        raise self._unknown()

    def __int__(self) -> int:
        raise self._unknown()

    def __index__(self) -> int:
        raise self._unknown()

    def __float__(self) -> float:
        raise self._unknown()

    def __repr__(self) -> str:
        return "<number of samples>" if self.times == 1 else f"<{self.times} x number of samples>"

    def _unknown(self) -> TypeError:
        return symbolic_error(
            "the number of samples is not known yet",
            "use it as a size, as in cdl.ops.reshape, or as a number with cdl.ops.cast",
        )


def _give_arithmetic() -> None:
    """The operators that make a symbolic number of it."""

    def method(name: str, swapped: bool) -> Any:
        def compute(self: Any, other: Any) -> Any:
            return operator_of(name)(*((other, self) if swapped else (self, other)))

        return compute

    for name in ("add", "sub", "truediv", "mod", "pow"):
        setattr(SampleCount, f"__{name}__", method(name, False))
        setattr(SampleCount, f"__r{name}__", method(name, True))
    for name in ("lt", "le", "gt", "ge"):
        setattr(SampleCount, f"__{name}__", method(name, False))


_give_arithmetic()
