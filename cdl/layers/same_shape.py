"""SameShape: base of layers whose output has the shape of their input."""

from __future__ import annotations

from typing import Any

import numpy as np

from cdl._tracing.keras_tensor import knowing_samples
from cdl.layers.arguments import LayerArguments, NDArray, Unpack
from cdl.layers.in_programs import runner_of
from cdl.layers.layer import Layer
from cdl.layers.shapes import Shape, axes_within


class SameShape(Layer):
    """Base of layers whose output has the input's shape, and which pass a mask on.

    Subclasses that work along an axis keep it as `axis`: an int, or a list of them.
    """

    axis: Any = ()

    def __init__(self, **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def _on_arrays(
        self, inputs: Any, training: bool | None = False, mask: Any = None
    ) -> NDArray[Any]:
        if not self._takes_numbers or not hasattr(inputs, "__array__") or np.ndim(inputs):
            return super()._on_arrays(inputs, training, mask)
        return super()._on_arrays(np.reshape(inputs, 1), training).reshape(())

    @property
    def _takes_numbers(self) -> bool:
        """Whether a call takes a single number, since the layer is elementwise."""
        return bool(self.axis == ())

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Shape of the input.

        Raises:
            ValueError: the layer works along an axis that the input does not have.
        """
        axes_within(f"{type(self).__name__} {self.name!r}", self.axis, tuple(input_shape))
        return tuple(input_shape)

    def check_input(self, shape: Shape) -> None:
        """Refuse an input without the axes that the layer works along."""
        super().check_input(shape)
        axes_within(f"{type(self).__name__} {self.name!r}", self.axis, shape)


class AlongAxes(SameShape):
    """Base of layers along an `axis`, which may be that of the samples."""

    def _run(self, arrays: list[NDArray[Any]], training: bool) -> Any:
        """Output for an array; of all samples at once where they are along an axis of the lines."""
        x = arrays[0]
        if 0 not in axes_within(f"{type(self).__name__} {self.name!r}", self.axis, x.shape):
            return super()._run(arrays, training)
        with knowing_samples(len(x)):
            batch = runner_of(self, arrays, training).batch(arrays, 0, 0)
        self._activity = batch.penalty
        return batch.outputs[0]


class AlongLines(AlongAxes):
    """Base of layers along an `axis`: the last one by default."""

    @property
    def by_lines(self) -> bool:  # type: ignore[override]
        """Whether it works on each line, along the last axis, by itself."""
        return self.axis in (-1, [-1])
