"""TimeDistributed: a layer applied to each step of a sequence."""

from __future__ import annotations

from typing import Any

from cdl import ops
from cdl._common.validation import expected
from cdl._tracing.all_steps import record_all_steps
from cdl._tracing.graph import KerasTensor, current_scope
from cdl.layers.arguments import LayerArguments, Unpack
from cdl.layers.call_arguments import takes
from cdl.layers.layer import Layer, registry
from cdl.layers.wrapper import Wrapper, in_dtype_of


@registry.add()
class TimeDistributed(Wrapper):
    """Wrapper that applies a layer, with shared weights, to each step of (samples, steps, ...).

    Each step is a call of its own: `Dropout` draws anew, and `BatchNormalization` takes the
    statistics of each step, in training. All steps are computed at once where no step and no sample
    needs another: `Dense`, convolutions and pooling of one or two axes, models of such layers.

    Args:
        layer: the layer, for inputs of shape (samples, ...).

    Raises:
        ValueError: no layer; in a call inputs of less than 3 axes, or a mask that does not fit.
    """

    def __init__(self, layer: Layer, **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(layer, **kwargs)
        self.supports_masking = True

    def _of_step(self, shape: Any) -> tuple[Any, ...]:
        """Shape of one step."""
        if not isinstance(shape, (tuple, list)) or len(shape) < 3:
            owner = f"TimeDistributed {self.name!r}"
            raise expected(owner, "inputs", "of at least 3 axes, (samples, steps, ...),", shape)
        return (shape[0], *shape[2:])

    def build(self, input_shape: Any = None) -> None:
        """Build the layer for one step of inputs of that shape."""
        super().build(self._of_step(input_shape))
        self._build_shape = tuple(input_shape)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Output shape of the layer with the axis of the steps after the first."""
        shape = self.layer.compute_output_shape(self._of_step(input_shape))
        return (shape[0], input_shape[1], *shape[1:])

    def _spec_of(self, *args: Any, **kwargs: Any) -> Any:
        inputs = args[0] if args else kwargs["inputs"]
        self._check_mask(inputs, kwargs.get("mask"))
        return KerasTensor(self.compute_output_shape(inputs.shape), self._symbolic_dtype())

    def _check_mask(self, inputs: Any, mask: Any) -> None:
        if mask is None:
            return
        pairs = zip(mask.shape[:2], inputs.shape[:2], strict=False)
        if len(mask.shape) < 2 or any(None not in (a, b) and a != b for a, b in pairs):
            raise ValueError(
                f"TimeDistributed {self.name!r}: mask must have a shape that begins with "
                f"{tuple(inputs.shape[:2])}, that of the steps, got {tuple(mask.shape)}"
            )

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        """Outputs of all steps.

        Args:
            inputs: of shape (samples, steps, ...).
            training: whether the layer behaves as in training.
            mask: of shape (samples, steps, ...): handed to the layer step by step, if it takes one.
        """
        self._of_step(inputs.shape)
        self._check_mask(inputs, mask)
        masked = mask is not None and takes(type(self.layer), "mask")
        more = {"training": training} if takes(type(self.layer), "training") else {}
        # An array or a weight in code that is traced is of no sample: each call is recorded apart.
        without_samples = current_scope() is not None and not getattr(inputs, "rows_per_sample", 0)
        run = self.layer if without_samples else self.layer.call
        if self.layer.by_lines and not masked:
            return in_dtype_of(self, self.layer, run(inputs, **more))
        read = [inputs, mask] if masked else [inputs]

        def step(x: Any, shown: Any = None) -> Any:
            given = {**more, "mask": shown} if masked else more
            return run(x, **given)

        if without_samples or not isinstance(inputs, KerasTensor):
            steps = [step(*(each[:, t] for each in read)) for t in range(inputs.shape[1])]
            return in_dtype_of(self, self.layer, ops.stack(steps, 1))
        n: Any = inputs.shape[1]
        elements = [KerasTensor((each.shape[0], *each.shape[2:]), each.dtype) for each in read]
        return in_dtype_of(self, self.layer, record_all_steps(step, elements, read, n))
