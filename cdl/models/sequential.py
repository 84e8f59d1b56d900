"""Sequential: a linear stack of layers."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import numpy as np

from cdl import tree
from cdl._common.overriding import overrides
from cdl._configs import serialization
from cdl._configs.serialization import deserialize, serialize
from cdl._tracing.graph import KerasTensor
from cdl.data import brief
from cdl.data.texts import holds_texts
from cdl.layers import Attention, InputLayer, Layer
from cdl.layers.building import with_open_axes
from cdl.layers.calling import is_scripted, note_stack, stack_of, undone_on_failure
from cdl.layers.merging.merge import Merge
from cdl.models import stacks
from cdl.models.functional import Functional
from cdl.models.functional_graph import FunctionalGraph
from cdl.models.host_part import has_host_layers
from cdl.models.model import Model
from cdl.models.stack_graph import StackGraph
from cdl.trainers.signature import Info, output_names

Shape = tuple[int | None, ...]


class Sequential(Model):
    """Linear stack of layers: each takes the output of the one before it.

    It is built, that is, its layers get their weights, as soon as the shape of its input is known:
    by an `Input`, by `input_dim=` or `input_shape=` of the first layer, by `build`, or by the
    first data.

    Args:
        layers: the layers, in order.
        name: of the model; `sequential`, `sequential_1` ... if None.

    Raises:
        TypeError: layers that are no list.
        ValueError: a name that is no string or has a '/', or what `add` raises.
    """

    _input: InputLayer | None = None  # in front of the stack, once a shape is known
    # No layer, weight, metric or seed is among shapes and names: they need not be looked through.
    _not_owned = Model._not_owned | {"_shapes", "_infos", "_signature"}

    def __init__(
        self, layers: Iterable[Any] | None = None, trainable: bool = True, name: str | None = None
    ) -> None:
        if layers is not None and not isinstance(layers, Iterable):
            raise TypeError(f"Sequential: layers must be a list of layers, got {brief(layers)}")
        if name is not None and (not isinstance(name, str) or "/" in name):
            raise ValueError(f"Sequential: name must be a string without '/', got {name!r}")
        super().__init__(name=name, trainable=trainable)
        self._stack: list[Any] = []
        self._places: dict[str, int] | None = {}  # in the stack by name; None: to be found anew
        self._input = None
        self._has_input = True  # whether the user said that shape, not the first data
        self._shapes: list[Shape] = []  # of the input and of what each layer gives, once built
        self._holds_host = False  # whether some layer runs in Python, as one of texts
        self._is_stale = False  # whether one of the layers is a model that has changed since
        self._infos: tuple[Info, ...] = ()  # of the input and the output, once built
        for layer in layers or ():
            self.add(layer, rebuild=False)
        self._rebuild()

    @property
    def _graph_of_model(self) -> FunctionalGraph:
        return FunctionalGraph(self) if self._takes_several() else StackGraph(self)

    # --- the stack ---

    def add(self, layer: Layer, rebuild: bool = True) -> None:
        """Add a layer at the end.

        Args:
            layer: a Layer, or an `Input` if nothing is there yet.
            rebuild: whether to build it now, if the shape of the input is known.

        Raises:
            ValueError: if it is no layer, or another one has its name.
        """
        if isinstance(layer, KerasTensor) and layer.node is not None and layer.node.is_input:
            layer = layer.node.operation
        if isinstance(layer, InputLayer):
            self._add_input(layer)
        else:
            self._add_layer(layer)
        if rebuild:
            self._rebuild()

    def _add_input(self, layer: InputLayer) -> None:
        if self._input is not None:
            raise ValueError(
                f"{self.name} has already been configured to use input shape "
                f"{self._input.batch_shape}: an Input must come first and once, got another one "
                f"of shape {layer.batch_shape}"
            )
        if self._stack:
            raise ValueError(
                f"{self.name}: an Input must come first, got one of shape {layer.batch_shape} "
                f"after {self._stack[-1].name!r}"
            )
        self._input = layer

    def _add_layer(self, layer: Any) -> None:
        if not isinstance(layer, Layer):
            what = f"the class {layer.__name__}" if isinstance(layer, type) else brief(layer)
            raise ValueError(
                f"{self.name}: layer must be a Layer, got {what}. Only instances of Layer can be "
                "added to a Sequential"
            )
        if stacks.holds(layer, self):
            raise ValueError(
                f"{self.name}: layer must not be the model itself or hold it, got {layer.name!r}"
            )
        if self._has_namesake(layer):
            raise ValueError(
                f"{self.name}: all layers should have unique names, got a second {layer.name!r}: "
                "give it another name="
            )
        if not self._stack and self._input is None:
            shape = stacks.shape_of_first(layer)
            if shape is not None:
                self._input = InputLayer(batch_shape=shape, dtype=stacks.dtype_of_first(layer))
        if self._places is not None:
            self._places[layer.name] = len(self._stack)
        self._stack.append(layer)
        note_stack(layer, self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for layer in self._stack:
            if stack_of(layer) is None:  # not of a model that is copied itself
                note_stack(layer, self)

    def _has_namesake(self, layer: Layer) -> bool:
        """Whether another layer, or the Input, has the name of a layer to add."""
        if self._input is not None and self._input.name == layer.name:
            return True
        if self._places is None:
            self._places = {each.name: place for place, each in enumerate(self._stack)}
        place = self._places.get(layer.name)
        if place is None or self._stack[place] is layer:
            return False
        # The other one may have got another name since it was added.
        return any(each is not layer and each.name == layer.name for each in self._stack)

    def pop(self, rebuild: bool = True) -> Layer:
        """Remove the last layer and return it; IndexError if the model is empty."""
        if not self._stack:
            raise IndexError(f"{self.name}: pop() needs a layer, the model has none")
        layer: Layer = self._stack.pop()
        self._places = None  # the same layer may be there twice
        del self._shapes[len(self._stack) + 1 :]
        if rebuild:
            self._rebuild()
        return layer

    @property
    def input(self) -> Any:
        """Symbolic input of the first call of the model in a graph; before one, its own."""
        return Layer.input.__get__(self) if self._inbound_nodes else super().input

    @property
    def output(self) -> Any:
        """Symbolic output of the first call of the model in a graph; before one, its own."""
        return Layer.output.__get__(self) if self._inbound_nodes else super().output

    @property
    def _functional(self) -> Any:  # Keras's name, by which exporters of others read the graph
        return Functional(self.inputs, self.outputs, name=self.name) if self.built else None

    @property
    def layers(self) -> list[Layer]:
        """Layers, in order, without the Input; change them by `add` and `pop`."""
        return list(self._stack)

    @layers.setter
    def layers(self, value: Any) -> None:
        raise AttributeError(f"{self.name}: layers cannot be set. Use `add()` and `pop()`")

    @property
    def trainable(self) -> bool:
        """Whether training changes the weights; setting it sets it for every layer."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        for layer in getattr(self, "_stack", ()):
            layer.trainable = bool(value)

    # --- building ---

    def _rebuild(self) -> None:
        """Build again after a change of the stack, if the input shape is known.

        Only the last layer is built if the others are as they were, so that a model that is made
        by `add` takes no longer than one that is made at once.
        """
        shapes = self._shapes if self._all_but_last_are_built() else []
        self.built, self._shapes, self._build_shape = False, [], None
        self._model_graph = self._inputs_struct = self._outputs_struct = self._host = None
        self._forget_programs()
        self._tell_outer()
        if shapes:
            self._build_last(shapes)
        elif self._input is not None and self._stack:
            self.build(self._input.batch_shape)

    def _all_but_last_are_built(self) -> bool:
        """Whether `_shapes` has the shapes of all layers, but for the last one."""
        if type(self).build is not Sequential.build:  # a class of the user's looks at all layers
            return False
        return self.built and not self._is_stale and len(self._shapes) >= max(2, len(self._stack))

    def _tell_outer(self) -> None:
        """Invalidate the shapes in models that have this one as a layer."""
        outer: Any = self
        told: set[int] = set()
        while (outer := stack_of(outer)) is not None and id(outer) not in told:
            told.add(id(outer))
            outer._is_stale = True

    def _build_last(self, shapes: list[Shape]) -> None:
        """Build the last layer, if its shape is not known yet."""
        last = self._stack[len(shapes) - 1 :]
        with self._opened():
            for layer in last:
                with undone_on_failure(layer):
                    shapes.append(stacks.shape_through(self._stack, shapes, builds=True))
                    self._check_one_output(shapes[-1])
            self._holds_host |= any(map(has_host_layers, last))
            self._finish_build(shapes)

    def build(self, input_shape: Shape | None = None) -> None:
        """Create the weights of the layers.

        Args:
            input_shape: with the batch axis first, None if its size does not matter.

        Raises:
            ValueError: if there are no layers, or a shape does not suit one of them.
        """
        self._check_has_layers()
        if self._takes_several():  # whose shapes the first data told
            return
        given = None if self._input is None else self._input.batch_shape
        input_shape = given if input_shape is None else input_shape
        if input_shape is None:
            raise ValueError(f"{self.name}: input_shape must be given to build(), got None")
        if given is not None and input_shape != given and tuple(input_shape) != given:
            raise ValueError(
                f"{self.name} has already been configured to use input shape {given}; "
                f"input_shape must be the same in build(), got {input_shape}"
            )
        if given is None and self._builds_for_several(input_shape):
            return
        with undone_on_failure(self):
            shapes = self._shapes_through(input_shape, builds=True)
        if self._input is None:
            self._has_input = False
            dtype = stacks.dtype_of_first(self._stack[0])
            self._input = InputLayer(batch_shape=shapes[0], dtype=dtype)
        self._holds_host = any(map(has_host_layers, self._stack))
        self._finish_build(shapes)

    def _takes_several(self) -> bool:
        """Whether it was built for several inputs, by `_builds_for_several`."""
        return self._input is None and self._model_graph is not None

    def _builds_for_several(self, shapes: Any) -> bool:
        """Build for several inputs, by their nested shapes; False if the first layer takes one."""
        if tree.is_shape(shapes) or overrides(type(self), "build", "call"):
            return False
        first = self._stack[0]
        if not isinstance(first, (Merge, Attention, Model)) and not is_scripted(type(first)):
            return False
        with undone_on_failure(self):
            inputs = outputs = stacks.inputs_of(shapes)
            for layer in self._stack:
                outputs = layer(outputs)
            self._wire(inputs, outputs)
        self._build_shape = shapes
        self._forget_programs()
        return True

    def _finish_build(self, shapes: list[Shape]) -> None:
        """Store the shapes of the input and of each layer's output."""
        assert self._input is not None
        self._shapes, self._is_stale = shapes, False
        self._build_shape, graph = shapes[0], self._graph_of_model
        self._infos = (
            Info(graph.input_names()[0], shapes[0], self._input.dtype),
            Info(output_names(graph)[0], shapes[-1]),
        )
        self.built = True
        self._forget_programs()
        if self._holds_host:
            # The structure's graph is made with what runs ahead of it.
            graph.structure_of("output")

    def _open_axes_of(self, size: int) -> None:
        super()._open_axes_of(size)
        if self._input is not None and size in self._input.batch_shape:
            self._open([with_open_axes(shape, size) for shape in self._shapes])

    def _open(self, shapes: list[Shape]) -> None:
        """Accept other shapes than those of the build, with some sizes open."""
        assert self._input is not None
        self._input = InputLayer(batch_shape=shapes[0], dtype=self._input.dtype)
        self._model_graph = self._inputs_struct = self._outputs_struct = self._host = None
        self._finish_build(shapes)

    def _shapes_through(self, input_shape: Any, builds: bool = False) -> list[Shape]:
        """Shapes of the input and of each layer's output.

        With `builds` each layer is built before the next one is looked at, which may read its
        weights.
        """
        if not isinstance(input_shape, Sequence) or isinstance(input_shape, str):
            raise ValueError(
                f"{self.name}: input_shape must be a tuple with the batch axis first, "
                f"got {brief(input_shape)}"
            )
        shapes: list[Shape] = [tuple(input_shape)]
        for _ in self._stack:
            shapes.append(stacks.shape_through(self._stack, shapes, builds))
        self._check_one_output(shapes[-1])
        return shapes

    def _check_one_output(self, shape: Any) -> None:
        """Refuse a last layer with several outputs; ValueError."""
        if not tree.is_shape(shape):
            raise ValueError(
                f"{self.name}: the last layer must give one output, got {len(shape)} of "
                f"{self._stack[-1].name!r}: use Model(inputs, outputs)"
            )

    def _check_has_layers(self) -> None:
        """Refuse an empty model, which cannot be built; ValueError."""
        if not self._stack:
            raise ValueError(f"{self.name}: the model has no layers; call add(layer) first")

    def _build_for_keys(self, x: Any) -> None:
        """Build for texts or other keys, which are no numbers to the core."""
        shape = np.shape(x)
        dtype = "string" if holds_texts(x) else "int64"
        self._input = InputLayer(batch_shape=(None, *(shape[1:] or (1,))), dtype=dtype)
        self.build()

    # --- configuration ---

    def get_config(self) -> dict[str, Any]:
        """Name and configs of all layers, the Input included, as a dict."""
        front = [] if self._input is None else [self._input]
        config = {**super().get_config(), "layers": [serialize(x) for x in (*front, *self._stack)]}
        if self._shapes:
            config["build_input_shape"] = self._shapes[0]
        elif self._takes_several():
            config["build_input_shape"] = self._build_shape
        return config

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> Self:
        """Create a model, with new weights, from the dict that `get_config` returned.

        Args:
            config: with the keys "name" and "layers".
            custom_objects: classes and functions of the user's own, by name.

        Raises:
            ValueError: there are no such keys.
            TypeError: a layer is of a class that is not known.
        """
        stacks.check_config(config)
        model = cls(name=config["name"])
        for layer in config["layers"]:
            model.add(deserialize(layer, custom_objects), rebuild=False)
        model._rebuild()
        model._trainable = bool(config.get("trainable", True))
        shape = config.get("build_input_shape")
        if not model.built and shape:
            model.build(tree.map_shape_structure(tuple, shape))
        return model

    # --- lowering ---

    def _symbolic_dtype(self) -> str:
        of_last = self._stack and not self._takes_several()
        return self._stack[-1]._symbolic_dtype() if of_last else super()._symbolic_dtype()


serialization.register_public("keras", Sequential)
