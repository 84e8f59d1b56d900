"""Bidirectional: a recurrent layer in both directions of time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cdl import ops, tree
from cdl._common.overriding import overrides
from cdl._common.validation import expected, one_of
from cdl._configs.serialization import deserialize, serialize
from cdl._tracing.graph import KerasTensor
from cdl.layers.arguments import LayerArguments, Self, Unpack
from cdl.layers.call_arguments import shapes_of, takes
from cdl.layers.layer import Layer, registry
from cdl.layers.running import name_scope
from cdl.layers.wrapper import in_dtype_of

_SAME = ("stateful", "return_sequences", "return_state")
_MODES = ("sum", "mul", "ave", "concat", None)


@registry.add()
class Bidirectional(Layer):
    """Wrapper that runs a recurrent layer forward and backward in time and merges both outputs.

    Their outputs are put together: side by side along the last axis, or by their sum, mean or
    product; with `return_sequences` both are in the order of the steps, and 0 at steps that a mask
    hides. With `return_state` the states of the first layer and then those of the second come
    behind the output. `initial_state` of a call is a list, the first half for the first layer.

    Args:
        layer: a recurrent layer; copies of it are used, with weights of their own.
        merge_mode: "concat", "sum", "ave", "mul", or None for both outputs by themselves.
        weights: initial weights of both layers, those of the first one first.
        backward_layer: a layer to be used in place of the second copy: one with the other
            `go_backwards`, and the same `stateful`, `return_sequences` and `return_state`.

    Raises:
        TypeError: a layer that is not recurrent.
        ValueError: no layer, another merge mode, or two layers that do not go together.
    """

    _masks_by_first = True
    _not_in_config = ("layer",)

    def __init__(
        self,
        layer: Layer,
        merge_mode: str | None = "concat",
        weights: Any = None,
        backward_layer: Layer | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        owner = "Bidirectional"
        if not isinstance(layer, Layer):
            raise expected(owner, "layer", "a recurrent layer", layer)
        if backward_layer is not None and not isinstance(backward_layer, Layer):
            raise expected(owner, "backward_layer", "a recurrent layer or None", backward_layer)
        self.merge_mode = one_of(owner, "merge_mode", merge_mode, _MODES)
        super().__init__(**kwargs)
        for name in ("go_backwards", *_SAME):
            if not hasattr(layer, name):
                raise TypeError(
                    f"{owner}: layer must be a recurrent layer, which has an attribute {name}, "
                    f"got {layer!r}"
                )
        self.forward_layer = _copy(layer, "forward_")
        if backward_layer is None:
            self.backward_layer = _copy(layer, "backward_", go_backwards=True)
        else:
            self.backward_layer = backward_layer
        for each in (self.forward_layer, self.backward_layer):
            if hasattr(layer, "use_cudnn"):
                each.use_cudnn = layer.use_cudnn
            if getattr(each, "zero_output_for_mask", None) is not None:
                each.zero_output_for_mask = each.return_sequences
        self._check_pair()
        self._initial_weights = weights
        first = self.forward_layer
        self.stateful, self.return_state = first.stateful, first.return_state
        self.return_sequences = first.return_sequences
        self.supports_masking = True
        self.input_spec = layer.input_spec

    forward_layer: Any
    backward_layer: Any

    def _check_pair(self) -> None:
        a, b = self.forward_layer, self.backward_layer
        if a.go_backwards == b.go_backwards:
            raise ValueError(
                "Bidirectional: layer and backward_layer must differ in go_backwards, got "
                f"{a.go_backwards} for both"
            )
        for name in _SAME:
            if getattr(a, name) != getattr(b, name):
                raise ValueError(
                    f"Bidirectional: layer and backward_layer must have the same {name}, got "
                    f"{getattr(a, name)} and {getattr(b, name)}"
                )

    def _sublayers(self) -> list[Any]:
        own = [self.forward_layer, self.backward_layer]
        return own + [each for each in super()._sublayers() if each not in own]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Output of the layer; see `Layer`. A stateful layer's first call fixes the samples."""
        first = args[0] if args else kwargs.get("sequences")
        if self.forward_layer.stateful and not self.built and isinstance(first, np.ndarray):
            self.check_input(np.shape(first))
            self.build(np.shape(first))
        return super().__call__(*args, **kwargs)

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        """Build both layers for sequences of that shape."""
        del initial_state_shape
        for each in (self.forward_layer, self.backward_layer):
            if not each.built:
                with name_scope(each):
                    each.build(sequences_shape)
        super().build(sequences_shape)
        if self._initial_weights is not None:
            self.set_weights(self._initial_weights)
            self._initial_weights = None

    def compute_output_shape(self, sequences_shape: Any, initial_state_shape: Any = None) -> Any:
        """Shapes of a call's outputs, batch axis included, for sequences of that shape."""
        del initial_state_shape
        shape = self.forward_layer.compute_output_shape(sequences_shape)
        states: tuple[Any, ...] = ()
        if self.return_state:
            shape, *rest = shape
            states = (*rest, *rest)
        if self.merge_mode is None:
            return (shape, shape, *states) if states else [shape, shape]
        if self.merge_mode == "concat":
            shape = (*shape[:-1], None if shape[-1] is None else 2 * shape[-1])
        return (shape, *states) if states else tuple(shape)

    def _spec_of(self, *args: Any, **kwargs: Any) -> Any:
        if overrides(type(self), "call"):
            return super()._spec_of(*args, **kwargs)
        first = args[0] if args else kwargs["sequences"]
        shapes = self.compute_output_shape(shapes_of(first))
        dtype = self._symbolic_dtype()
        return tree.map_shape_structure(lambda shape: KerasTensor(shape, dtype), shapes)

    def call(
        self, sequences: Any, initial_state: Any = None, mask: Any = None, training: Any = None
    ) -> Any:
        """Merged outputs of both layers, and their states if they are returned.

        Args:
            sequences: of shape (samples, steps, ...).
            initial_state: a list of states, those of the first layer first; None for zeros.
            mask: of shape (samples, steps): which steps count.
            training: whether dropout drops.
        """
        halves: tuple[Any, Any] = (None, None)
        if initial_state is not None:
            half = len(initial_state) // 2
            halves = (list(initial_state[:half]), list(initial_state[half:]))
        y, states = self._outputs_of(self.forward_layer, sequences, halves[0], mask, training)
        back, more = self._outputs_of(self.backward_layer, sequences, halves[1], mask, training)
        y = in_dtype_of(self, self.forward_layer, y)
        back = in_dtype_of(self, self.backward_layer, back)
        if self.return_sequences:
            back = ops.flip(back, axis=1)
        merged = self._merged(y, back)
        if not self.return_state:
            return merged
        return (*(merged if isinstance(merged, tuple) else (merged,)), *states, *more)

    def _outputs_of(
        self, layer: Any, sequences: Any, states: Any, mask: Any, training: Any
    ) -> tuple[Any, tuple[Any, ...]]:
        """Output of one layer, and its states."""
        given = {"initial_state": states, "mask": mask, "training": training}
        known = {
            name: value
            for name, value in given.items()
            if takes(type(layer), name) and (value is not None or name == "training")
        }
        y = layer(sequences, **known)
        return (y[0], tuple(y[1:])) if self.return_state else (y, ())

    def _merged(self, y: Any, back: Any) -> Any:
        if self.merge_mode == "concat":
            return ops.concatenate([y, back], axis=-1)
        if self.merge_mode == "mul":
            return y * back
        if self.merge_mode is None:
            return (y, back)
        return y + back if self.merge_mode == "sum" else (y + back) / 2

    def compute_mask(self, _: Any, mask: Any = None) -> Any:
        """Mask, with `return_sequences`, for each output; states have none."""
        if isinstance(mask, list):
            mask = mask[0]
        mask = mask if self.return_sequences else None
        shown = mask if self.merge_mode else (mask, mask)
        if not self.return_state:
            return shown
        n = 2 * len(getattr(self.forward_layer, "state_size", ()))
        return (*(shown if isinstance(shown, tuple) else (shown,)), *(None for _ in range(n)))

    @property
    def states(self) -> Any:
        """States of both layers between batches; None if they are not stateful."""
        a, b = self.forward_layer.states, self.backward_layer.states
        return tuple([*a, *b]) if a and b else None

    def reset_state(self) -> None:
        """Set the states of stateful layers to zeros.

        Raises:
            AttributeError: they are not stateful.
        """
        if not self.stateful:
            raise AttributeError(
                f"Bidirectional {self.name!r}: the layer must be stateful for reset_state()"
            )
        self.forward_layer.reset_state()
        self.backward_layer.reset_state()

    def reset_states(self) -> None:
        """Alias of `reset_state`, as in Keras."""
        self.reset_state()

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "merge_mode": self.merge_mode,
            "layer": serialize(self.forward_layer),
            "backward_layer": serialize(self.backward_layer),
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> Self:
        config = dict(config)
        for name in ("layer", "backward_layer"):
            if config.get(name) is not None:
                config[name] = deserialize(config[name], custom_objects)
        return cls(**config)


def _copy(layer: Layer, prefix: str, **changes: Any) -> Any:
    """Layer of the same config, with a prefix before its name."""
    config = serialize(layer)
    name = f"{prefix}{layer.name.removeprefix(prefix)}"
    config["config"] = {**config["config"], **changes, "name": name}
    return deserialize(config, {type(layer).__name__: type(layer)})
