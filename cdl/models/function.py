"""Function and Operation: graphs without trainable weights, and custom nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cdl import tree
from cdl._common.naming import unique
from cdl._common.validation import expected
from cdl.layers.call_arguments import parameters_of
from cdl.layers.layer import Layer
from cdl.models.functional import Functional


class Operation(Layer):
    """Base of custom operations: a `call` of tensors, without weights. ::

        class Twice(cdl.Operation):
            def call(self, x):
                return 2 * x

    Called on symbolic tensors it becomes a node of their graph, as a layer does.

    Args:
        name: without '/'; None makes one from the class.

    Raises:
        ValueError: a name that is none.
    """

    def __init__(self, name: str | None = None) -> None:
        if name is not None and (not isinstance(name, str) or "/" in name):
            raise ValueError(f"Operation: name must be a string without '/', got {name!r}")
        super().__init__(name=name)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments as a dict; the name where it takes one."""
        taken = parameters_of(type(self).__init__)
        by_name = any(each.kind is each.VAR_KEYWORD for each in taken.values())
        name = {"name": self.name} if "name" in taken or by_name else {}
        return {**name, **self._given_config(name)}


class Function:
    """Function of symbolic tensors, to be called on arrays or other tensors. ::

        x = cdl.Input((3,))
        f = cdl.Function(x, cdl.ops.sin(x) * 2)
        f(np.ones((5, 3)))

    Args:
        inputs: symbolic tensors, nested.
        outputs: symbolic tensors, nested.
        name: of the function; None makes one.

    Attributes:
        name: as it was given.

    Raises:
        ValueError: the outputs do not follow from the inputs.
    """

    def __init__(self, inputs: Any, outputs: Any, name: str | None = None) -> None:
        self.name = unique("function") if name is None else name
        for what, given in (("inputs", inputs), ("outputs", outputs)):
            if not tree.flatten(given):
                raise expected("Function", what, "at least one symbolic tensor", given)
        self._model = Functional(inputs, outputs)

    @property
    def inputs(self) -> list[Any]:
        """Symbolic inputs as a flat list."""
        return self._model.inputs

    @property
    def outputs(self) -> list[Any]:
        """Symbolic outputs as a flat list."""
        return self._model.outputs

    @property
    def operations(self) -> Sequence[Any]:
        """Layers and operations between inputs and outputs."""
        return self._model.operations

    def __call__(self, inputs: Any) -> Any:
        """Outputs for arrays or symbolic tensors, nested as the outputs are.

        Args:
            inputs: nested as the inputs are.
        """
        return self._model(inputs)

    def compute_output_spec(self, inputs: Any) -> Any:
        """Symbolic tensors like the outputs for such inputs."""
        return self._model.compute_output_spec(inputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Shapes of the outputs, nested as these are.

        Args:
            input_shape: of the input; of several nested as the inputs are.
        """
        return self._model.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Not supported: NotImplementedError; save a Model of the same inputs and outputs."""
        raise NotImplementedError(f"{self.name}: a Function has no config; save a Model")

    def __repr__(self) -> str:
        shapes = tree.map_structure(lambda t: t.shape, (self._model.input, self._model.output))
        return f"<Function name={self.name}, {shapes[0]} to {shapes[1]}>"
