"""Vjp: vector-Jacobian products of a function or a model by its inputs."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl._core import Executor
from cdl._ir.program import Program, Value
from cdl.trainers.signature import TrainableModel

Array = NDArray[np.float32]
_MOST = 1024  # rows of a batch


class Vjp:
    """Derivative of the sum of (output * factor) by the inputs, as in inference.

    Args:
        append: appends the function to a program: from values of the inputs to the output.
        shapes: of one sample of each input.
        layer: one that is called on the way, for `of_layer`.
        program: an empty one to append to; None for one of the usual kind.
        others: tells, once the function is appended, which more values `of_all` gives.

    Attributes:
        shape: of one sample of the output; None if it is one number for all samples.
        variables: the weights that are read.
    """

    def __init__(
        self,
        append: Callable[[Program, list[Value]], Value],
        shapes: Sequence[tuple[int, ...]],
        layer: Any = None,
        program: Program | None = None,
        others: Callable[[], Sequence[Value]] = tuple,
    ) -> None:
        program = Program() if program is None else program
        program.probed = None if layer is None else (layer, [])
        given = [program.input(shape) for shape in shapes]
        probes = [program.emit("probe", (value,), value.shape) for value in given]
        with program.fixed(training=False):
            y = append(program, probes)
        self.shape = None if y.shared else y.shape
        self._mixes = any(each.op == "batch_reduce" for each in program.instructions)
        total = y
        if not y.shared:
            total = program.map("multiply", [y, program.input(y.shape, role="y")])
        program.objective(total, reduction="sum")
        program.output(y)
        for probe in probes + (program.probed[1] if program.probed else []):
            program.output(probe)
        self._others = range(len(program.outputs), len(program.outputs) + len(others()))
        for value in others():
            program.output(value)
        self._inputs = len(probes)
        self._program = program.fused(training=True)
        self.variables = self._program.variables
        self._executor: Executor | None = None

    def of(self, arrays: Sequence[Any], factor: Any = None) -> tuple[Array, list[Array]]:
        """Output, and the derivative by each input, of the input's shape.

        Args:
            arrays: the inputs.
            factor: of each element of the output; None for 1.
        """
        joined = self._run(arrays, factor, [0], range(1, 1 + self._inputs))
        return joined[0], joined[1:]

    def of_all(self, arrays: Sequence[Any]) -> tuple[Array, list[Array], list[Array]]:
        """Output, the others, and the derivative by each input.

        Args:
            arrays: the inputs.
        """
        joined = self._run(arrays, None, [0, *self._others], range(1, 1 + self._inputs))
        end = 1 + len(self._others)
        return joined[0], joined[1:end], joined[end:]

    def of_layer(self, arrays: Sequence[Any], factor: Any = None) -> tuple[Array, Array]:
        """Output of the layer, and the derivative by it.

        Args:
            arrays: the inputs.
            factor: as in `of`.

        Raises:
            ValueError: the layer is not called, or more than once.
        """
        last = 1 + self._inputs
        calls = len(self._program.outputs) - len(self._others) - last
        if calls != 1:
            raise ValueError(f"layer must be one that is called once on the way, got {calls} calls")
        values, gradients = self._run(arrays, factor, [last], [last])
        return values, gradients

    def _run(
        self, arrays: Sequence[Any], factor: Any, values: Sequence[int], gradients: Sequence[int]
    ) -> list[Array]:
        """Some outputs of the program, and the gradients of some."""
        rows = len(arrays[0])
        if self.shape is not None:
            ones = np.ones((rows, *self.shape), np.float32)
            arrays = [*arrays, ones if factor is None else factor]
        batch = max(1, rows if self._mixes else min(rows, _MOST))
        if self._executor is None or self._executor.rows != batch:
            self._executor = Executor(self._program, batch, training=True)
        executor = self._executor
        executor.begin(arrays, batch)
        parts: list[list[Array]] = [[] for _ in (*values, *gradients)]
        for _ in range(-(-rows // batch)):
            executor.train(1, 0.0, np.zeros(1, np.float32), 0, 0)
            found = [executor.output(i) for i in values] + [executor.gradient(i) for i in gradients]
            for part, each in zip(parts, found, strict=True):
                part.append(each)
        return [np.concatenate(each) if each[0].ndim else each[0] for each in parts]


def of_model(
    model: TrainableModel,
    rows: Sequence[tuple[int, ...]],
    output: int | str | None = None,
    layer: Any = None,
) -> Vjp:
    """Vjp of one output of a model.

    Args:
        model: a built model.
        rows: the shape of a sample of each input.
        output: its number or name; None if there is one.
        layer: one of the model's, for `of_layer`.

    Raises:
        ValueError: a model that is not built, or has no such output.
    """
    infos = model._output_infos()
    names = [info.name for info in infos]
    if output is None and len(infos) > 1:
        raise ValueError(f"output must be one of {names} or its number, got None")
    number = 0 if output is None else names.index(output) if output in names else output
    if not isinstance(number, int) or not 0 <= number < len(infos):
        raise ValueError(f"output must be one of {names} or its number, got {output!r}")

    def append(program: Program, values: list[Value]) -> Value:
        return model.append_all(program, values)[number]

    return Vjp(append, rows, layer)
