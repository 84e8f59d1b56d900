"""StackGraph: the graph of a Sequential of one input, a line of layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cdl._ir.lowering import Lowering
from cdl._ir.program import Value
from cdl._tracing.graph import outside_scopes
from cdl.data import fits
from cdl.layers.calling import is_scripted
from cdl.models import stacks
from cdl.models.functional_graph import FunctionalGraph, Shape
from cdl.models.host_part import has_host_layers
from cdl.trainers.signature import Info, flat, single


class StackGraph(FunctionalGraph):
    """Graph of layers in a line, whose symbolic tensors are made on first use.

    Keras makes them at once; but few ask, and many models are made.
    """

    __slots__ = ()

    def structure_of(self, what: str) -> Any:
        model = self.model
        if model._model_graph is None and model.built:
            x = y = model._input.output
            with outside_scopes():  # it is asked for within a step that is traced, too
                for layer in model._stack:
                    y = layer(y)
                model._wire(x, y)
        return super().structure_of(what)

    def shapes_after_layers(self) -> dict[int, Any]:
        found: dict[int, Any] = {}
        for layer, shape in zip(self.model._stack, self.model._shapes[1:], strict=False):
            found.setdefault(id(layer), shape)
        return found

    def _shapes(self, what: str) -> list[Shape]:
        """Shapes of the input and of each layer's output; AttributeError without."""
        if not self.model._shapes:
            raise AttributeError(f"Sequential model {self.model.name!r} has no {what} shape yet")
        shapes: list[Shape] = self.model._shapes
        return shapes

    def input_shape(self) -> Shape:
        return self._shapes("input")[0]

    def output_shape(self) -> Shape:
        return self._shapes("output")[-1]

    def input_names(self) -> list[str]:
        model = self.model
        if model._host is not None:
            return super().input_names()
        return ["input_layer" if model._input is None else model._input.name]

    def output_names(self) -> list[str]:
        return [self.model._stack[-1].name if self.model._stack else "output"]

    def input_infos(self) -> tuple[Info, ...]:
        infos: tuple[Info, ...] = self.model._infos[:1]
        return infos if self.model._host is None else super().input_infos()

    def output_infos(self) -> tuple[Info, ...]:
        infos: tuple[Info, ...] = self.model._infos[1:]
        return infos

    def output_rows(self, rows: Sequence[tuple[int, ...]]) -> Sequence[tuple[int, ...]]:
        shape = self.model.compute_output_shape((None, *rows[0]))
        return [tuple(n for n in shape[1:] if n is not None)]

    def takes_sizes(self) -> bool:
        if self.model._host is not None:
            return super().takes_sizes()
        return None in self.model._shapes[0][1:] or self.takes_any_size()

    def widens(self, shape: Shape) -> bool:
        """Open an array's sizes, where no Input has fixed them and the layers allow it."""
        model = self.model
        known = model._shapes[0]
        if model._has_input or model._host is not None or len(shape) != len(known):
            return False
        pairs = zip(known[1:], shape[1:], strict=True)
        opened = (None, *(n if n == m else None for n, m in pairs))
        try:
            model._shapes_through((None, *shape[1:]))
            shapes = model._shapes_through(opened)
        except (TypeError, ValueError):  # a layer wants these very sizes
            return False
        model._open(shapes)
        return True

    def takes_any_size(self) -> bool:
        return is_scripted(type(self.model))

    def flat_inputs(self, x: Any, call: str) -> list[Any]:
        model = self.model
        if not model.built and any(map(has_host_layers, model._stack)):
            model._build_for_keys(x)
        if not model.built and model._stack and model._builds_for_several(stacks.shapes_of(x)):
            return model._graph_of_model.flat_inputs(x, call)  # type: ignore[no-any-return]
        given = self.flat_given(x, call)
        return given if model._host is None else model._host.run(given, call)

    def flat_given(self, x: Any, call: str) -> list[Any]:
        if type(x) is np.ndarray:
            return [x]
        if isinstance(x, Mapping) and self.model._input is not None:
            return flat(x, [self.model._input.name], f"{call}: x", "input")
        return [single(x)]

    def flat_targets(self, y: Any, call: str) -> list[Any]:
        return [single(y)]

    def append_all(self, program: Lowering, values: Sequence[Value]) -> list[Value]:
        if self.model._host is not None:
            return super().append_all(program, values)
        return [self.model.append_to(program, values[0])]

    def lower(self, program: Lowering, x: Value) -> Value:
        """Append the layers' instructions to a program; returns the last one's value."""
        for layer in self.model._stack:
            x = layer.append_to(program, x)
        return x

    def output_shape_for(self, input_shape: Any) -> Any:
        """Shape of the output for an input of that shape; the model need not be built."""
        return self.model._shapes_through(input_shape)[-1]

    def check_input(self, shape: Any) -> None:
        """Check the shape of an input, batch axis included; ValueError if it does not fit."""
        expected = self.model._shapes[0][1:] if self.model._shapes else None
        if expected and not fits(tuple(shape[1:]), expected) and not self.widens(tuple(shape)):
            raise ValueError(
                f"{self.model.name}: input must have shape {(None, *expected)}, got {shape}"
            )

    def check_has_layers(self) -> None:
        self.model._check_has_layers()

    def outputs_for(self, shapes: Sequence[Shape]) -> tuple[Info, ...]:
        return (Info(self.output_names()[0], self.model.compute_output_shape(shapes[0])),)

    def build_for(self, shapes: Sequence[Shape]) -> None:
        self.model.build(shapes[0])
