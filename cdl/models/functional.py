"""Functional: the class of `Model(inputs, outputs)`."""

from typing import Any

import numpy as np

from cdl._configs import serialization
from cdl._tracing.graph import KerasTensor
from cdl.layers import InputSpec
from cdl.layers.input_spec import check_specs
from cdl.models.functional_graph import FunctionalGraph
from cdl.models.model import Model


class Functional(Model):
    """Model of symbolic inputs and outputs; `Model(inputs, outputs)` makes one.

    Args:
        inputs: symbolic tensors of `Input`, alone or nested in lists and dicts; or tensors from
            within another model, which the new one then begins at.
        outputs: what calls of layers on them gave, alone or nested.
        name: of the model; `functional`, `functional_1` ... if None.
        kwargs: `trainable`: whether training changes the weights.
    """

    def __init__(self, inputs: Any, outputs: Any, name: str | None = None, **kwargs: Any) -> None:
        super().__init__(inputs, outputs, name=name, **kwargs)

    @property
    def input_spec(self) -> Any:
        """InputSpec per input, by key for a dict of inputs; or the one that was set."""
        if self._spec is not None:
            return self._spec
        named = [(tensor.name, tensor) for tensor in self.inputs]
        if isinstance(self.input, dict):
            named = sorted(self.input.items())
        if not all(isinstance(tensor, KerasTensor) for _, tensor in named):
            return None
        return [
            InputSpec(shape=(None, *tensor.shape[1:]), allow_last_axis_squeeze=True, name=name)
            for name, tensor in named
        ]

    @input_spec.setter
    def input_spec(self, value: Any) -> None:
        self._spec = value

    @property
    def _graph_of_model(self) -> FunctionalGraph:
        return FunctionalGraph(self) if self._spec is None else _CheckedGraph(self)


class _CheckedGraph(FunctionalGraph):
    """Graph of a model whose `input_spec` was set."""

    __slots__ = ()

    def flat_given(self, x: Any, call: str) -> list[Any]:
        given = super().flat_given(x, call)
        shapes = [np.shape(each) for each in given]
        one = shapes[0] if len(shapes) == 1 else shapes
        owner = f"{call}: {type(self.model).__name__} {self.model.name!r}"
        check_specs(self.model._spec, one, owner)
        return given


serialization.register_public("keras", Functional)
serialization.register_public(
    "keras.src.models.functional", Functional
)  # where Keras says that it is
