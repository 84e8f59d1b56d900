"""InputSpec: limits on the input shape of a layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cdl import tree
from cdl.layers.shapes import Shape


class InputSpec:
    """Limits on the shape of a layer's input; the batch axis counts as axis 0.

    Args:
        dtype: kept, and not looked at: cdl takes arrays of any real dtype.
        shape: the shape, None for sizes that do not matter.
        ndim: the number of axes.
        max_ndim: the most axes.
        min_ndim: the fewest axes.
        axes: sizes by axis.
        allow_last_axis_squeeze: whether a last axis of size 1 may be there or not.
        name: kept.
        optional: kept.

    Raises:
        TypeError: axes that are no dict.
        ValueError: axes beyond those that there are.
    """

    def __init__(
        self,
        dtype: Any = None,
        shape: Sequence[int | None] | None = None,
        ndim: int | None = None,
        max_ndim: int | None = None,
        min_ndim: int | None = None,
        axes: Mapping[int, int | None] | None = None,
        allow_last_axis_squeeze: bool = False,
        name: str | None = None,
        optional: bool = False,
    ) -> None:
        self.dtype = dtype
        self.shape = None if shape is None else tuple(shape)
        self.ndim = len(self.shape) if self.shape is not None else ndim
        self.max_ndim = max_ndim
        self.min_ndim = min_ndim
        self.allow_last_axis_squeeze = allow_last_axis_squeeze
        self.name = name
        self.optional = optional
        try:
            self.axes = {int(axis): size for axis, size in axes.items()} if axes else {}
        except (AttributeError, TypeError, ValueError):
            raise TypeError(f"InputSpec: axes must be a dict by axis, got {axes!r}") from None
        top = self.ndim or self.max_ndim
        if self.axes and top is not None and max(self.axes) > top - 1:
            raise ValueError(
                f"InputSpec: axes must be at most {top - 1}, the last axis, got {max(self.axes)}"
            )

    def check(self, shape: Shape, owner: str) -> None:
        """Check a shape; ValueError if it does not fit.

        Raises:
            ValueError: it does not fit.
        """
        if not tree.is_shape(shape):
            raise ValueError(f"{owner}: the input must be one tensor, got shapes {shape}")
        n, squeezes = len(shape), self.allow_last_axis_squeeze
        if self.ndim is not None and n != self.ndim and not squeezes:
            raise ValueError(f"{owner}: the input must have {self.ndim} axes, got shape {shape}")
        if self.max_ndim is not None and n > self.max_ndim:
            raise ValueError(
                f"{owner}: the input must have at most {self.max_ndim} axes, got shape {shape}"
            )
        if self.min_ndim is not None and n < self.min_ndim:
            hint = ": x[None] makes a batch of one sample, x[:, None] one of samples of one number"
            raise ValueError(
                f"{owner}: the input must have at least {self.min_ndim} axes, got shape {shape}"
                f"{hint if n == 1 else ''}"
            )
        for axis, size in self.axes.items():
            if size is not None and shape[axis] not in (size, None):
                what = "the input's last axis" if axis == -1 else f"axis {axis} of the input"
                raise ValueError(f"{owner}: {what} must have size {size}, got shape {shape}")
        if self.shape is not None:
            here, there = _squeezed(shape, squeezes), _squeezed(self.shape, squeezes)
            pairs = zip(here, there, strict=False)
            if len(here) != len(there) or any(None not in (a, b) and a != b for a, b in pairs):
                raise ValueError(
                    f"{owner}: the input must have shape {self.shape}, got shape {shape}"
                )

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments as a dict, for `from_config`."""
        return {
            "dtype": self.dtype,
            "shape": self.shape,
            "ndim": self.ndim,
            "max_ndim": self.max_ndim,
            "min_ndim": self.min_ndim,
            "axes": self.axes,
            "optional": self.optional,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> InputSpec:
        """Create a spec from the dict that `get_config` returned."""
        return cls(**config)

    def __repr__(self) -> str:
        given = {key: value for key, value in self.get_config().items() if value}
        return f"InputSpec({', '.join(f'{key}={value}' for key, value in given.items())})"


def check_specs(specs: Any, shapes: Any, owner: str) -> None:
    """Check inputs against their specs; ValueError if they do not fit.

    Args:
        specs: an InputSpec, or a list with one an input.
        shapes: of the input; nested as the inputs are where there are several.
        owner: the layer, for messages.

    Raises:
        ValueError: they do not fit.
    """
    if isinstance(specs, InputSpec):
        specs.check(shapes, owner)
        return
    given: list[Any] = []
    tree.map_shape_structure(given.append, shapes)
    if len(given) != len(specs):
        raise ValueError(f"{owner}: inputs must be {len(specs)} tensors, got {len(given)}")
    for spec, shape in zip(specs, given, strict=True):
        spec.check(shape, owner)


def _squeezed(shape: Shape, squeezes: bool) -> Shape:
    return shape[:-1] if squeezes and shape and shape[-1] == 1 else shape
