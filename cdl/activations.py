"""Activation functions: one line each over a row of the core's table.

An activation is a function of arrays, `relu(x)`, and an instruction of a program, `relu.lower`.
The core has no defaults: parameters and their defaults stand here, in Keras's order.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from cdl._common.errors import warn
from cdl._common.public_names import publish
from cdl._common.validation import number
from cdl._configs import identifiers
from cdl._ir.lowering import Lowering
from cdl._tracing import eager
from cdl._tracing.activation import TracedActivation, along, applied
from cdl._tracing.graph import KerasTensor
from cdl._tracing.variable import in_calls, in_traced_code
from cdl._variables.low_array import low, low_of
from cdl.data import as_numeric

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from inspect import Signature

    from numpy.typing import NDArray

    from cdl._ir.program import Value

    Array = NDArray[np.float32]

__all__ = [
    "celu",
    "deserialize",
    "elu",
    "exponential",
    "gelu",
    "get",
    "glu",
    "hard_shrink",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "log_softmax",
    "mish",
    "relu",
    "relu6",
    "selu",
    "serialize",
    "sigmoid",
    "silu",
    "smooth_clip",
    "soft_shrink",
    "softmax",
    "softplus",
    "softsign",
    "sparse_plus",
    "sparse_sigmoid",
    "sparsemax",
    "squareplus",
    "swish",
    "tanh",
    "tanh_shrink",
    "threshold",
]

_family = identifiers.Registry(
    "activation", "keras.activations", "a name, one of cdl.activations, a layer, or None for linear"
)


def _as_wide_as(x: Any, result: Array) -> Any:
    """Result in the dtype of x, if that is one of 16 bits."""
    to = low_of([x])
    return result if to is None else in_calls(low(result, to))


class ActivationFunction:
    """Elementwise activation: a row of the core's table, with names and defaults.

    Args:
        name: its Keras name, and the row's.
        formula: what it computes, for `help`.
        defaults: the parameters in their order, with Keras's defaults; None is infinity.

    Attributes:
        by_element: whether the order of the axes of x does not matter.
    """

    by_element = True

    def __init__(self, name: str, formula: str, **defaults: Any) -> None:
        self.name = self.__name__ = self.__qualname__ = name
        self.__doc__ = formula
        self.defaults = defaults
        _family.add()(self)

    def __call__(self, x: ArrayLike, *args: Any, **kwargs: Any) -> Array | Any:
        """Activation of each element, in the shape of x: float32 unless x is of 16 bits."""
        options, x = self._bind(args, kwargs), in_traced_code(x)
        if isinstance(x, KerasTensor):
            return applied(self, x, options)
        return _as_wide_as(x, self._of_array(x, options))

    def _of_array(self, x: ArrayLike, options: dict[str, Any]) -> Array:
        array = _array(x, self.name)
        if array.size == 0:
            return np.zeros(array.shape, np.float32)
        rows = array.reshape(-1, array.shape[-1])
        return _run(rows, lambda program, value: self.lower(program, value, **options)).reshape(
            np.shape(x)
        )

    def lower(self, program: Lowering, x: Value, **options: Any) -> Value:
        """Append the activation's instruction to a program."""
        row, parameters = self.row({**self.defaults, **options})
        return program.emit("activation", (x,), x.shape, (), kind=row, **parameters)

    def output_shape(self, shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """Shape of the result for an x of this shape."""
        return shape

    def row(self, options: dict[str, Any]) -> tuple[str, dict[str, float]]:
        """Row of the core for these options, and its parameters."""
        return self.name, {
            name: math.inf if value is None else float(value) for name, value in options.items()
        }

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Arguments after x by name; TypeError for one too many."""
        named = dict(zip(self.defaults, args, strict=False))
        if len(args) > len(self.defaults) or kwargs.keys() - self.defaults or named.keys() & kwargs:
            takes = ", ".join(["x", *(f"{k}={v!r}" for k, v in self.defaults.items())])
            raise TypeError(f"{self.name}({takes}): got further arguments {args} and {kwargs}")
        return named | kwargs

    @property
    def __signature__(self) -> Signature:
        from inspect import Parameter, Signature

        kind = Parameter.POSITIONAL_OR_KEYWORD
        options = [
            Parameter(name, kind, default=Parameter.empty if value is _REQUIRED else value)
            for name, value in self.defaults.items()
        ]
        return Signature([Parameter("x", kind), *options])

    def __repr__(self) -> str:
        return f"<activation {self.name}>"

    def __reduce__(self) -> str:
        return self.name  # pickled and copied as the one object that it is


class _Linear(ActivationFunction):
    def lower(self, program: Lowering, x: Value, **options: Any) -> Value:
        return x


class _Gelu(ActivationFunction):
    def row(self, options: dict[str, Any]) -> tuple[str, dict[str, float]]:
        return ("gelu_tanh" if options["approximate"] else "gelu"), {}


_REQUIRED = object()  # the default of a parameter that has none


class _SmoothClip(ActivationFunction):
    def row(self, options: dict[str, Any]) -> tuple[str, dict[str, float]]:
        number("smooth_clip", "limit", options["limit"], 1e-30, 1e30)
        return super().row(options)


class _Threshold(ActivationFunction):
    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        named = super()._bind(args, kwargs)
        missing = [name for name in self.defaults if name not in named]
        if missing:
            raise TypeError(f"{self.name}(x, threshold, default_value): {missing[0]} is missing")
        return named


class RowActivation(ActivationFunction):
    """Activation of whole rows, such as softmax; axes are moved to the end and back."""

    by_element = False

    def __call__(self, x: ArrayLike, *args: Any, **kwargs: Any) -> Array | Any:
        """Activation along the axis: float32 unless x is of 16 bits."""
        options, x = {**self.defaults, **self._bind(args, kwargs)}, in_traced_code(x)
        if isinstance(x, KerasTensor):
            return along(self, x, options)
        return _as_wide_as(x, self._of_array(x, options))

    def _of_array(self, x: ArrayLike, options: dict[str, Any]) -> Array:
        axis = options["axis"]
        array = as_numeric(x, f"{self.name}: x")
        if array.size == 0:
            return np.zeros(array.shape, np.float32)
        several = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
        if any(not -array.ndim <= a < array.ndim for a in several):
            raise ValueError(f"{self.name}: axis must be one of {array.ndim} axes, got {axis}")
        last = np.moveaxis(array, several, range(-len(several), 0))
        rows = last.reshape(-1, math.prod(last.shape[array.ndim - len(several) :]))
        values = _run(rows, self._of_rows)
        shape = last.shape if values.size == last.size else (*last.shape[:-1], values.shape[-1])
        return np.moveaxis(values.reshape(shape), range(-len(several), 0), several)

    def _of_rows(self, program: Lowering, x: Value) -> Value:
        """Append the instruction for an array reshaped to rows."""
        return self.lower(program, x)

    def lower(self, program: Lowering, x: Value, **options: Any) -> Value:
        """Append the activation's instruction over the last axis to a program."""
        return program.emit(self.name, (x,), x.shape)


class _Glu(RowActivation):
    def output_shape(self, shape: tuple[Any, ...]) -> tuple[Any, ...]:
        return (*shape[:-1], shape[-1] // 2)

    def lower(self, program: Lowering, x: Value, **options: Any) -> Value:
        if x.shape[-1] % 2:
            raise ValueError(f"glu: x must have an even number of columns, got {x.shape[-1]}")
        return program.emit("glu", (x,), (*x.shape[:-1], x.shape[-1] // 2))


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
celu = ActivationFunction("celu", "x, alpha * (exp(x / alpha) - 1) below 0", alpha=1.0)
exponential = ActivationFunction("exponential", "exp(x)")
hard_shrink = ActivationFunction("hard_shrink", "x where |x| > threshold, else 0", threshold=0.5)
hard_sigmoid = ActivationFunction("hard_sigmoid", "relu6(x + 3) / 6")
hard_silu = ActivationFunction("hard_silu", "x * hard_sigmoid(x)")
hard_tanh = ActivationFunction("hard_tanh", "x within [-1, 1]")
log_sigmoid = ActivationFunction("log_sigmoid", "log(sigmoid(x))")
mish = ActivationFunction("mish", "x * tanh(softplus(x))")
relu6 = ActivationFunction("relu6", "x within [0, 6]")
smooth_clip = _SmoothClip(
    "smooth_clip", "x / sqrt(1 + (x / limit)^2), between -limit and limit (Holzmüller, 2024)",
    limit=3.0)
soft_shrink = ActivationFunction(
    "soft_shrink", "x moved towards 0 by threshold, 0 within it", threshold=0.5)
softsign = ActivationFunction("softsign", "x / (1 + |x|)")
sparse_plus = ActivationFunction("sparse_plus", "0 up to -1, (x + 1)^2 / 4 up to 1, x beyond")
sparse_sigmoid = ActivationFunction("sparse_sigmoid", "(x + 1) / 2 within [0, 1]")
squareplus = ActivationFunction("squareplus", "(x + sqrt(x^2 + b)) / 2", b=4)
tanh_shrink = ActivationFunction("tanh_shrink", "x - tanh(x)")
threshold = _Threshold("threshold", "x where x > threshold, else default_value",
    threshold=_REQUIRED, default_value=_REQUIRED)


class _Softmax(RowActivation):
    """Softmax with a warning for an axis of size 1, where it is always 1."""

    def lower(self, program: Lowering, x: Value, **options: Any) -> Value:
        if x.shape == (1,):
            self.warn_of_one((None, 1), -1)
        return super().lower(program, x, **options)

    def _of_rows(self, program: Lowering, x: Value) -> Value:
        return super().lower(program, x)

    def _of_array(self, x: ArrayLike, options: dict[str, Any]) -> Array:
        shape, axis = np.shape(x), options["axis"]
        near = len(shape) <= 2 and isinstance(axis, int) and -len(shape) <= axis < len(shape)
        if near and shape[axis] == 1:  # of more axes it may be attention to one key
            self.warn_of_one(shape, axis)
        return super()._of_array(x, options)

    @staticmethod
    def warn_of_one(shape: tuple[int | None, ...], axis: int) -> None:
        """Warn that a softmax over an axis of size 1 is always 1."""
        warn(
            f"You are using a softmax over axis {axis} of a tensor of shape {shape}. This axis has "
            "size 1. The softmax operation will always return the value 1, which is likely not "
            "what you intended. Did you mean to use a sigmoid instead?"
        )


softmax = _Softmax("softmax", "exp(x) / sum(exp(x)) over an axis, or over several", axis=-1)
log_softmax = RowActivation("log_softmax", "x - log(sum(exp(x))) over an axis", axis=-1)
sparsemax = RowActivation("sparsemax", "x projected onto the simplex, over an axis", axis=-1)
glu = _Glu("glu", "a * sigmoid(b), where a and b are the halves of x along an axis", axis=-1)
swish = silu
hard_swish = hard_silu
# fmt: on
_family.add("swish")(silu)
_family.add("hard_swish")(hard_silu)


def get(identifier: Any) -> Callable[..., Any]:
    """The activation of an identifier: a name, a config or a function; None is `linear`.

    Args:
        identifier: None, a name, an activation, a layer, or a config of one.

    Raises:
        ValueError: nothing of these.
    """
    activation: Callable[..., Any] | None = _family.get(identifier)
    return linear if activation is None else activation


def compiled(owner: str, identifier: Any) -> Any:
    """Activation of a layer: the result of `get`, if a program can have it.

    Raises:
        ValueError: it is not known, a Python function that cannot be traced, or a layer with
            weights.
    """
    activation = get(identifier)
    if isinstance(activation, _Threshold):
        raise ValueError(
            f"{owner}: activation must be one of x alone, got {activation.name!r}: give "
            "lambda x: activations.threshold(x, 0.5, 0.0)"
        )
    if not hasattr(activation, "lower"):
        traced = TracedActivation(activation, owner)
        traced.output_shape((None, 2, 2))
        return traced
    build = getattr(type(activation), "build", None)
    if build is not None and build.__module__ != "cdl.layers.layer":
        raise ValueError(
            f"{owner}: activation must be without weights of its own, got the layer "
            f"{activation!r}: put it behind this one"
        )
    return activation


def deserialize(
    config: Mapping[str, Any] | str | None, custom_objects: Mapping[str, Any] | None = None
) -> Any:
    """Create the activation of a name or a config.

    Args:
        config: what `serialize` gave, a name, or None.
        custom_objects: names of the user's own and what they stand for, beside the registered ones.
    """
    return _family.deserialize(config, custom_objects)


def serialize(activation: Any) -> Any:
    """Name of one of cdl's own activations, the config of any other.

    Args:
        activation: what `get` gives.
    """
    if isinstance(activation, ActivationFunction):
        return activation.name
    if isinstance(activation, TracedActivation):
        activation = activation.function
    return identifiers.serialize(activation)


def _run(rows: NDArray[Any], lower: Callable[[Lowering, Value], Value]) -> Array:
    """Result of `lower` for each row."""
    program = Lowering()
    program.output(lower(program, program.input(rows.shape[1:])))
    values: Array = eager.run(program, [rows])
    return values


def _array(x: ArrayLike, name: str) -> NDArray[Any]:
    """Array of `x` with at least one axis."""
    one = hasattr(x, "__array__") or isinstance(x, (int, float))
    return as_numeric(np.reshape(x, 1) if one and np.ndim(x) == 0 else x, f"{name}: x")


publish(globals())
