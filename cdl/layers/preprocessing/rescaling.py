"""Rescaling: x times a constant, plus a constant."""

from __future__ import annotations

from typing import Any

import numpy as np

from cdl import config
from cdl._common.validation import expected
from cdl._tracing.variable import Array, Variable
from cdl.layers.arguments import LayerArguments, Lowering, Unpack, Value
from cdl.layers.axes import along
from cdl.layers.layer import registry
from cdl.layers.same_shape import SameShape


@registry.add()
class Rescaling(SameShape):
    """Rescaling of inputs, ``x * scale + offset``.

    Args:
        scale: a number, or an array that broadcasts to the input: one a channel, for example.
        offset: likewise.

    Raises:
        ValueError: what is no number and no array of numbers.
    """

    takes_lists = True

    def __init__(self, scale: Any, offset: Any = 0.0, **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        for name, value in (("scale", scale), ("offset", offset)):
            if np.asarray(value).dtype.kind not in "fiub":
                raise expected("Rescaling", name, "a number or an array of numbers", value)
        self.scale = scale
        self.offset = offset

    def _of_sample(self, name: str, shape: tuple[int, ...]) -> Array:
        """Argument as one number for each element of a sample."""
        given = np.asarray(getattr(self, name), np.float32)
        if name == "scale" and given.ndim and config.image_data_format() == "channels_first":
            given = given.reshape(given.shape + (1,) * (3 - given.ndim))
        try:
            whole: Array = np.broadcast_to(given, (1, *shape))[0]
        except ValueError:
            raise ValueError(
                f"Rescaling {self.name!r}: {name} must broadcast to the input, got shape "
                f"{given.shape} for an input of shape {(None, *shape)}"
            ) from None
        return whole

    def lower(self, program: Lowering, x: Value) -> Value:
        """Append the map, with as few constants as the arguments have."""
        rows = [self._of_sample(name, x.shape) for name in ("scale", "offset")]
        n = len(x.shape)
        last = next(
            (k for k in range(1, n) if all((row == row[(0,) * (n - k)]).all() for row in rows)), n
        )
        params = [None, *(_constant(row[(0,) * (n - last)]) for row in rows)]

        def emit(lines: Value) -> Value:
            return program.emit("affine", (lines,), lines.shape, params)

        return along(program, x, range(n - last + 1, n + 1), emit)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "scale": _serialized(self.scale),
            "offset": _serialized(self.offset),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Rescaling:
        given = dict(config)
        for name in ("scale", "offset"):
            if isinstance(given[name], dict) and given[name].get("class_name") == "__numpy__":
                array = given[name]["config"]
                given[name] = np.array(array["value"], dtype=array["dtype"])
        return cls(**given)


def _constant(row: Array) -> Variable:
    values = np.ravel(row)
    return Variable(values.shape, lambda shape: values, name="constant", trainable=False)


def _serialized(value: Any) -> Any:
    """Array in Keras's form; a number or a list as itself."""
    if isinstance(value, np.ndarray) and value.ndim:
        inner = {"value": value.tolist(), "dtype": value.dtype.name}
        return {"class_name": "__numpy__", "config": inner}
    return value.item() if isinstance(value, (np.ndarray, np.generic)) else value
