"""_core.pyi - the types of the compiled binding; stubtest holds it to the module."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from cdl._ir.program import Program
from cdl._tracing.variable import Variable

_Array = NDArray[Any]
_Floats = NDArray[np.float32]
# A row of OPTIMIZERS, its hyper-parameters, and the slots of each variable that learns by it.
_Group = tuple[str, Mapping[str, float], Mapping[Variable, Sequence[Parameter]]]

class LossRow:
    params: tuple[str, ...]
    target: str
    def __init__(self, params: tuple[str, ...], target: str) -> None: ...

class MetricRow(LossRow): ...
class TallyRow(LossRow): ...

class OptimizerRow:
    hypers: tuple[str, ...]
    slots: tuple[str, ...]
    def __init__(self, hypers: tuple[str, ...], slots: tuple[str, ...]) -> None: ...

class OpRow:
    signature: str
    meaning: str
    numbers: tuple[str, ...]
    tail: str
    attributes: tuple[str, ...]
    data: str
    params: tuple[str, ...]
    table: str | None
    gives_gradient: bool
    all_inputs: bool
    effects: bool
    reports: bool
    loops: bool
    folds: bool
    def __init__(
        self,
        signature: str,
        meaning: str,
        table: str | None,
        gives_gradient: bool,
        all_inputs: bool,
        effects: bool,
        reports: bool,
        loops: bool,
    ) -> None: ...

OPS: dict[str, OpRow]
ACTIVATIONS: dict[str, tuple[str, ...]]
ACTIVATIONS_FROM_Y: dict[str, bool]
LOSSES: dict[str, LossRow]
METRICS: dict[str, MetricRow]
TALLIES: dict[str, TallyRow]
OPTIMIZERS: dict[str, OptimizerRow]
ELEMENTWISE: dict[str, int]
MAP_REGISTERS: int
MAP_CONSTANTS: int
MAP_STEPS: int
ISAS: tuple[str, ...]

def available_isas() -> tuple[str, ...]: ...
def info() -> dict[str, Any]: ...
def limit_threads(most: int) -> int: ...
def answer_signals(by: Callable[[], object] | None = ..., every: float = ...) -> None: ...
def check_classes(array: _Array, n_classes: int) -> int: ...
def permutation(n: int, bits: np.random.BitGenerator) -> NDArray[np.int64]: ...

@final
class Sparse:
    def __new__(
        cls, starts: _Array, columns: _Array, values: _Array, shape: Sequence[int]
    ) -> Sparse: ...
    @property
    def starts(self) -> _Array: ...
    @property
    def columns(self) -> _Array: ...
    @property
    def values(self) -> _Array: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def ndim(self) -> int: ...
    @property
    def size(self) -> int: ...
    def __len__(self) -> int: ...
    def __getitem__(self, rows: slice, /) -> Sparse: ...

@final
class Parameter:
    def __new__(cls, shape: Sequence[int], matrix: bool = ...) -> Parameter: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def matrix(self) -> bool: ...
    @property
    def version(self) -> int: ...
    def get(self) -> _Floats: ...
    def set(self, array: _Array) -> None: ...

@final
class Executor:
    def __new__(
        cls,
        program: Program,
        rows: int,
        *,
        training: bool = ...,
        predicts: bool = ...,
        splits: bool = ...,
        optimizer: _Group | list[_Group] | None = ...,
        rules: Mapping[str, Any] | None = ...,
        isa: str | None = ...,
        threads: int = ...,
        lockstep: bool | None = ...,
        after: Executor | None = ...,
        ranks: Any = ...,
    ) -> Executor: ...
    @property
    def rows(self) -> int: ...
    @property
    def threads(self) -> int: ...
    @property
    def isa(self) -> str: ...
    @property
    def skipped(self) -> int: ...
    @property
    def done(self) -> int: ...
    def predict(self, arrays: Sequence[_Array], seed: int = 0, call: int = 0) -> Any: ...
    def begin(self, arrays: Sequence[_Array], batch: int, order: _Array | None = ...) -> None: ...
    def count_in(self, counter: NDArray[np.int64]) -> None: ...
    def train(
        self,
        steps: int,
        seconds: float,
        rates: _Array,
        iteration: int,
        seed: int,
        shares: _Array | None = ...,
    ) -> int: ...
    def train_epochs(
        self,
        orders: _Array,
        rate: float,
        iteration: int,
        seed: int,
        finished: list[tuple[list[tuple[float, ...]], tuple[float, float]]],
    ) -> None: ...
    def test(self, steps: int, seconds: float) -> int: ...
    def forward(self, training: bool, iteration: int = ..., seed: int = ...) -> int: ...
    def skip(self) -> None: ...
    def apply(self, gradients: Sequence[Parameter], rate: float, iteration: int) -> None: ...
    def backward(
        self, gradient: _Array | Sequence[_Array], rate: float, iteration: int
    ) -> None: ...
    def output(self, i: int = ..., rows: int | None = ...) -> _Floats: ...
    def gradient(self, i: int = ...) -> _Floats: ...
    def batch(self, i: int, rows: int | None = ...) -> _Array: ...
    def memory(self) -> tuple[int, int]: ...
    def reset(self) -> None: ...
    def states(self) -> list[tuple[float, ...]]: ...
    def totals(self) -> list[tuple[float, float]]: ...
    def penalty(self) -> tuple[float, float]: ...
    def results(self) -> list[float]: ...
