"""Lowering: a program under construction, with its mode and its recorder."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from cdl._common.errors import warn
from cdl._ir import emit
from cdl._ir.program import Instruction, Program, Value

if TYPE_CHECKING:
    from cdl._tracing.variable import Variable


class Mode(NamedTuple):
    """Behaviour of layers in a program: that of training or that of inference.

    Attributes:
        trains: whether the program is one of training.
        asked: what a call around the current one asks for by its `training`; None: nothing.
        unrolls: whether steps of loops are appended one by one.
    """

    trains: bool = False
    asked: bool | None = None
    unrolls: bool = False

    @property
    def training(self) -> bool:
        """Whether batch statistics are those of training."""
        return self.trains and self.asked is not False

    @property
    def is_noisy(self) -> bool:
        """Whether dropout and noise act, if need be in a program of inference."""
        return self.trains if self.asked is None else self.asked


@dataclass
class Recorder:
    """Lists of what a caller wants to know of a lowering besides its program; None: not recorded.

    Attributes:
        observed: metrics to which traced code reports values, by the id of the report.
        watched: each layer and an output of it, to find the one that fails.
        calls: calls of the user's code: object, function of it, arguments.
        probed: a layer, and its outputs, whose gradients are read.
        merged: sums of weights, which are read in place of their parts.
        learning: ids of the weights that get gradients; None: of all trainable ones.
    """

    observed: dict[int, Any] | None = None
    watched: list[tuple[Any, Value]] | None = None
    calls: list[tuple[Any, Callable[..., Any], dict[str, Any]]] | None = None
    probed: tuple[Any, list[Value]] | None = None
    merged: list[Any] | None = None
    learning: Container[int] | None = None


class Lowering(Program):
    """Program into which layers, losses and metrics emit.

    Args:
        recorder: what else is recorded; None: nothing.
        unrolls: whether steps of loops are appended one by one.
    """

    def __init__(
        self, training: bool = False, recorder: Recorder | None = None, unrolls: bool = False
    ) -> None:
        super().__init__()
        self.mode = Mode(training, unrolls=unrolls)
        self.recorder = Recorder() if recorder is None else recorder
        # Dtype that weights are rounded to where they are read: "bfloat16", "float16" or None.
        self.param_dtype: str | None = None
        self.line: tuple[str, int] | None = None  # of the user's call that is appended, if known
        self._read: dict[tuple[int, str | None], Value] = {}  # values of weights, by id and dtype
        self._casts: dict[tuple[int, str], Value] = {}
        self._draws: dict[Any, int] = {}  # of generators: how many there are so far
        self._assigned: dict[int, Instruction] = {}
        self._masked: set[int] = set()  # ids of weights of `mask`

    @property
    def training(self) -> bool:
        """Whether layers behave as in training; see `Mode`."""
        return self.mode.training

    @property
    def is_noisy(self) -> bool:
        """Whether instructions emitted now are those of training, with noise."""
        return self.mode.is_noisy

    @contextmanager
    def fixed(self, training: bool = False) -> Iterator[None]:
        """Context in which instructions are those of inference: no noise, no batch statistics.

        With `training` they are those of training, or noisy where the program is one of inference.
        """
        before = self.mode
        self.mode = before._replace(asked=training)
        try:
            yield
        finally:
            self.mode = before

    def emit(
        self,
        op: str,
        inputs: Sequence[Value],
        shape: Iterable[int],
        params: Sequence[Variable | None] = (),
        *,
        param_dtypes: Any = None,  # of str and None
        **attributes: Any,
    ) -> Value:
        """Append an instruction as `Program.emit` does, under the current mode."""
        asked = self.mode.asked
        if asked is not None and op in emit.NOISES:
            if not asked:
                return inputs[0]
            if not self.mode.trains:
                return emit.drawn(self, op, inputs[0], attributes)
        if op == "batch_norm":
            if asked is False:
                attributes["frozen"] = 1
            if param_dtypes is None and self.training and not attributes["frozen"]:
                param_dtypes = [None if p is None else self.dtype_read(p) for p in params]
                param_dtypes[emit.MOVING :] = [None] * len(params[emit.MOVING :])
        for each in params if self._masked else ():
            if each is not None and id(each) in self._masked:
                raise TypeError(
                    f"{each.path}: call() assigns this weight, which is then read by {op}, that "
                    "cannot: multiply it by the mask where it is read"
                )
        return super().emit(op, inputs, shape, params, param_dtypes=param_dtypes, **attributes)

    def cast(self, value: Value, dtype: str) -> Value:
        """Value of floats cast to another dtype, with one instruction per value and dtype.

        Args:
            value: of floats.
            dtype: "float32", or "bfloat16" or "float16", to which numbers and, backwards,
                gradients are rounded.
        """
        if value.dtype == dtype:
            return value
        if (key := (id(value), dtype)) not in self._casts:
            parts = [value], value.shape
            self._casts[key] = self.emit("cast", *parts, dtype=dtype, shared=value.shared)
        return self._casts[key]

    def param(self, variable: Variable, dtype: str | None = None) -> Value:
        """Weight as a shared value, with one instruction per weight.

        Behind an ``assign`` it is what was assigned.

        Args:
            dtype: "bfloat16" or "float16" to round it to; None: as `dtype_read` says.
        """
        dtype = dtype or self.dtype_read(variable)
        if id(variable) in self._assigned:
            assigned = self._assigned[id(variable)].inputs[0]
            if self.training and variable.trainable and id(variable) not in self._masked:
                warn(
                    f"{variable.path}: call() assigns this trainable weight and reads it, so that "
                    "it does not learn: give it a constraint, or trainable=False"
                )
            return self.cast(assigned, dtype) if dtype else assigned
        if (id(variable), dtype) not in self._read and hasattr(variable, "append_to"):
            self._read[id(variable), dtype] = variable.append_to(self)
        if (id(variable), dtype) not in self._read:
            self._read[id(variable), dtype] = self.emit(
                "param", (), variable.shape, (variable,), shared=True, param_dtypes=(dtype,)
            )
        return self._read[id(variable), dtype]

    def dtype_read(self, variable: Variable) -> str | None:
        """Dtype that a weight is rounded to where it is read: its layer's or its own, or None."""
        if self.param_dtype and variable.autocast:
            return self.param_dtype
        return super().dtype_read(variable)

    def is_assigned(self, variable: Variable | None) -> bool:
        """Whether a weight has been assigned, so that its value has changed."""
        return id(variable) in self._assigned

    def mask(self, variable: Variable, value: Value) -> None:
        """Let later instructions read a weight with zeros in some places, and learn as it is.

        The weight itself keeps its numbers there, which nothing reads.

        Args:
            value: the weight times a mask of zeros and ones.
        """
        weight = self.param(variable)
        learned = self.map("subtract", [weight, emit.stop(self, weight)])  # 0, with the gradient
        value = self.map("add", [emit.stop(self, value), learned])
        self._assigned[id(variable)] = Instruction("assign", (value,), (), (variable,), {})
        self._masked.add(id(variable))

    def assign(self, variable: Variable, value: Value) -> None:
        """Assign a shared value to a weight at the end of the batch, in training and evaluation.

        Raises:
            ValueError: if the value is a sample's, or has another shape.
        """
        if not value.shared or value.shape != variable.shape:
            what = "shared" if value.shared else "for each sample"
            raise ValueError(
                f"{variable.path}: the value to assign must have shape {variable.shape} and be "
                f"shared by all samples, got shape {value.shape} {what}"
            )
        instruction = Instruction("assign", (value,), (), (variable,), {})
        before = self._assigned.get(id(variable))
        if any(each is before for each in self.instructions):
            at = len(self.instructions) - 1  # mostly not far from the end, as in a loop's step
            while self.instructions[at] is not before:
                at -= 1
            del self.instructions[at]
        self.instructions.append(instruction)
        self._assigned[id(variable)] = instruction

    def draw_of(self, generator: Any) -> int:
        """Attribute `user_draw` of an instruction that draws from a generator.

        A seed that was given is all that counts, whatever else is in the program: the number of
        this draw of its generator, from 1. One that was drawn is mixed with that of the run and
        the place in the program: 0.

        Args:
            generator: a `SeedGenerator`, or None for none.
        """
        if not getattr(generator, "was_given", False):
            return 0
        self._draws[generator] = self._draws.get(generator, 0) + 1
        return self._draws[generator]

    def draws_of(self, part: Lowering, times: int) -> int:
        """Count the draws of generators in a part that is appended several times.

        Returns:
            By how much the numbers of its draws grow from one time to the next.
        """
        fresh = {g: n - self._draws.get(g, 0) for g, n in part._draws.items()}
        stride = max(fresh.values(), default=0)
        for generator, n in fresh.items():
            if n:
                self._draws[generator] = part._draws[generator] + (times - 1) * stride
        return stride

    def within(self) -> Lowering:
        """Lowering of a part of this program, empty, under the current settings."""
        part = Lowering(recorder=Recorder(merged=self.recorder.merged))
        part.mode = self.mode
        part.param_dtype = self.param_dtype
        part._draws = dict(self._draws)
        return part
