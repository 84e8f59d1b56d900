"""activations.py - the activations: one line each over the row that the core's table has.

An activation is a function of arrays, `relu(x)`, and an instruction of a program, `relu.lower`.
The core has no defaults: parameters and their defaults stand here, in Keras's order.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl import _eager, _named
from cdl._program import Program
from cdl.data import as_numeric

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from inspect import Signature

    from numpy.typing import NDArray

    from cdl._program import Value

    Array = NDArray[np.float32]

_family = _named.Family(
    "activation", "keras.activations", "a name, one of cdl.activations, a layer, or None for linear"
)


class ActivationFunction:
    """An elementwise activation: a row of the core's table, with names and defaults.

    Args:
        name: its Keras name, and the row's.
        formula: what it computes, for `help`.
        defaults: the parameters in their order, with Keras's defaults; None is infinity.
    """

    def __init__(self, name: str, formula: str, **defaults: Any) -> None:
        self.name = self.__name__ = self.__qualname__ = name
        self.__doc__ = formula
        self.defaults = defaults
        _family.add()(self)

    def __call__(self, x: Any, *args: Any, **kwargs: Any) -> Array:
        """The activation of each element, as a float32 array of the same shape."""
        options = self._bind(args, kwargs)
        array = _array(x, self.name)
        if array.size == 0:
            return np.zeros(array.shape, np.float32)
        rows = array.reshape(-1, array.shape[-1])
        return _run(rows, lambda program, value: self.lower(program, value, **options)).reshape(
            np.shape(x)
        )

    def lower(self, program: Program, x: Value, **options: Any) -> Value:
        """The instruction that computes it, appended to a program."""
        row, parameters = self.row({**self.defaults, **options})
        return program.emit("activation", (x,), x.shape, (), kind=row, **parameters)

    def row(self, options: dict[str, Any]) -> tuple[str, dict[str, float]]:
        """The core's row for these options, and the row's parameters."""
        return self.name, {
            name: math.inf if value is None else float(value) for name, value in options.items()
        }

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Positional and named arguments after x, by name; TypeError for one too many."""
        named = dict(zip(self.defaults, args, strict=False))
        if len(args) > len(self.defaults) or kwargs.keys() - self.defaults or named.keys() & kwargs:
            takes = ", ".join(["x", *(f"{k}={v!r}" for k, v in self.defaults.items())])
            raise TypeError(f"{self.name}({takes}): got further arguments {args} and {kwargs}")
        return named | kwargs

    @property
    def __signature__(self) -> Signature:
        from inspect import Parameter, Signature

        kind = Parameter.POSITIONAL_OR_KEYWORD
        options = [Parameter(name, kind, default=value) for name, value in self.defaults.items()]
        return Signature([Parameter("x", kind), *options])

    def __repr__(self) -> str:
        return f"<activation {self.name}>"

    def __reduce__(self) -> str:
        return self.name  # pickled and copied as the one object that it is


class _Linear(ActivationFunction):
    def lower(self, program: Program, x: Value, **options: Any) -> Value:
        return x


class _Gelu(ActivationFunction):
    def row(self, options: dict[str, Any]) -> tuple[str, dict[str, float]]:
        return ("gelu_tanh" if options["approximate"] else "gelu"), {}


class _Softmax(ActivationFunction):
    def __call__(self, x: Any, *args: Any, **kwargs: Any) -> Array:
        axis = self._bind(args, kwargs).get("axis", -1)
        array = as_numeric(x, "softmax: x")
        if array.size == 0:
            return np.zeros(array.shape, np.float32)
        several = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
        last = np.moveaxis(array, several, range(-len(several), 0))
        rows = last.reshape(-1, math.prod(last.shape[array.ndim - len(several) :]))
        values = _run(rows, self.lower).reshape(last.shape)
        return np.moveaxis(values, range(-len(several), 0), several)

    def lower(self, program: Program, x: Value, **options: Any) -> Value:
        return program.emit("softmax", (x,), x.shape)


# fmt: off
linear = _Linear("linear", "x")
relu = ActivationFunction(
    "relu", "min(x, max_value) where x > threshold, negative_slope * (x - threshold) elsewhere",
    negative_slope=0.0, max_value=None, threshold=0.0)
leaky_relu = ActivationFunction("leaky_relu", "x, negative_slope * x below 0", negative_slope=0.2)
elu = ActivationFunction("elu", "x, alpha * (exp(x) - 1) below 0", alpha=1.0)
selu = ActivationFunction("selu", "1.0507 * elu(x, 1.6733)")
sigmoid = ActivationFunction("sigmoid", "1 / (1 + exp(-x))")
tanh = ActivationFunction("tanh", "(exp(x) - exp(-x)) / (exp(x) + exp(-x))")
softplus = ActivationFunction("softplus", "log(1 + exp(x))")
silu = ActivationFunction("silu", "x * sigmoid(x)")
gelu = _Gelu("gelu", "x * Phi(x), Phi of the normal distribution", approximate=False)
softmax = _Softmax("softmax", "exp(x) / sum(exp(x)) over an axis, or over several", axis=-1)
swish = silu
# fmt: on
_family.add("swish")(silu)


def get(identifier: Any) -> Callable[..., Any]:
    """The activation that an identifier stands for; None is `linear`.

    Args:
        identifier: None, a name, an activation, a layer, or a config of one.

    Raises:
        ValueError: nothing of these.
    """
    activation: Callable[..., Any] | None = _family.get(identifier)
    return linear if activation is None else activation


def compiled(owner: str, identifier: Any) -> Any:
    """The activation of a layer: what `get` gives, if a program can have it.

    Raises:
        ValueError: it is not known, or a Python function, which the core cannot run.
    """
    activation = get(identifier)
    if not hasattr(activation, "lower"):
        raise ValueError(
            f"{owner}: activation must be {_family.expects}, got the Python function "
            f"{getattr(activation, '__name__', activation)!r}, which cannot be compiled"
        )
    return activation


def deserialize(
    config: Mapping[str, Any] | str | None, custom_objects: Mapping[str, Any] | None = None
) -> Any:
    """The activation that a name or a config describes."""
    return _family.deserialize(config, custom_objects)


def serialize(activation: Any) -> Any:
    """The name of one of cdl's own activations, the config of any other."""
    if isinstance(activation, ActivationFunction):
        return activation.name
    return _named.serialize(activation)


def _run(rows: NDArray[Any], lower: Callable[[Program, Value], Value]) -> Array:
    """What `lower` computes of each row."""
    program = Program()
    program.output(lower(program, program.input(rows.shape[1:])))
    values: Array = _eager.run(program, [rows])
    return values


def _array(x: Any, name: str) -> NDArray[Any]:
    """`x` as an array with at least one axis."""
    return as_numeric([x] if isinstance(x, (int, float, np.generic)) else x, f"{name}: x")
