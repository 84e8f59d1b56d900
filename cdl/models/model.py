"""Model: layers connected to one, with training; see Trainer for its methods."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Self, overload

import numpy as np
from numpy.typing import NDArray

from cdl import compat, tree
from cdl._common.errors import hinted
from cdl._common.overriding import of_any_names
from cdl._ir.lowering import Lowering
from cdl._ir.program import Value
from cdl._tracing import graph
from cdl._tracing.graph import KerasTensor
from cdl._tracing.symbolic import operator_of
from cdl._variables import stepping
from cdl.layers import Layer, calling
from cdl.layers.call_arguments import parameters_of
from cdl.layers.on_arrays import run_script
from cdl.layers.running import training_around
from cdl.models import serialization
from cdl.models.functional_graph import FunctionalGraph
from cdl.models.graph import ModelGraph, shapes_as_tuples, wire
from cdl.models.host_part import HostPart, has_host_layers
from cdl.models.quantizing import quantize
from cdl.models.summary import html_of, print_summary
from cdl.trainers import predict
from cdl.trainers.signature import Signature
from cdl.trainers.trainer import Trainer


class Model(Trainer):
    """Layers connected to a model: `Model(inputs, outputs)`, or a subclass with a `call`.

    ::

        x = cdl.Input((4,))
        model = cdl.Model(x, cdl.layers.Dense(3)(x))

        class Net(cdl.Model):
            def __init__(self):
                super().__init__()
                self.hidden = cdl.layers.Dense(8, activation="relu")
                self.out = cdl.layers.Dense(3)

            def call(self, inputs, training=None):
                return self.out(self.hidden(inputs))

    Args:
        args: `inputs` and `outputs`: symbolic tensors, alone or nested in lists and dicts; none
            for a class with a `call`.
        name: of the model; made from the class if None.
        trainable: whether training changes the weights.
        kwargs: `inputs` and `outputs` by name.

    Raises:
        ValueError: the outputs do not depend on the inputs alone, or names are used twice.

    Attributes:
        layers: the layers, in order.
        built: whether the layers have their weights.
    """

    # The graph of inputs and outputs follows from what a call reads.
    _passing = Trainer._passing | frozenset(
        ("_building_specs", "_call_inputs", "_call_nodes", "_host", "_inputs_struct",
         "_outputs_struct", "_shape_to_build", "_signature", "_without_inputs")
    )  # fmt: skip

    _model_graph: ModelGraph | None = None
    _inputs_struct: Any = None  # symbolic tensors, nested as data are handed in
    _outputs_struct: Any = None
    _signature: Signature | None = None
    _call_nodes: Sequence[graph.Node] = ()  # of the first trace of `call`
    _call_inputs: Sequence[KerasTensor] = ()  # what they begin at
    _building_specs = False
    _shape_to_build: Any = None  # what a `build` that is under way was given
    _without_inputs: dict[Any, Any]  # models without optional inputs, by the numbers of these
    _host: HostPart | None = None  # of a model that begins with layers in Python

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Create a Functional if inputs and outputs are given."""
        for name in ("input", "output") if cls is Model else ():
            if name in kwargs:
                raise TypeError(f"Model: {name} is not recognized; did you mean '{name}s'?")
        if cls is Model and (args or "inputs" in kwargs or "outputs" in kwargs):
            given = ("inputs", "outputs")[: len(args)]
            lacking = [each for each in ("inputs", "outputs") if each not in (*given, *kwargs)]
            if lacking:
                raise TypeError(
                    f"Model: inputs and outputs must both be given, got no {lacking[0]}"
                )
            from cdl.models.functional import Functional

            return object.__new__(Functional)  # type: ignore[return-value]
        return super().__new__(cls, *args, **kwargs)

    def __init__(self, *args: Any, name: str | None = None, trainable: bool = True, **kwargs: Any):
        wired = [*args[:2], *(kwargs.pop(each) for each in ("inputs", "outputs") if each in kwargs)]
        if len(args) > 2:
            name = args[2]
        super().__init__(name=name, trainable=trainable, **kwargs)
        if not wired:
            return
        if len(wired) != 2 or len(args) > 3:
            raise TypeError(
                f"{type(self).__name__}: inputs and outputs must both be given, got {len(wired)} "
                "of the two"
            )
        self._wire(*wired)
        if not trainable:
            self.trainable = False

    @property
    def _graph_of_model(self) -> FunctionalGraph:
        """Graph of the model for executors: with flat inputs and outputs."""
        return FunctionalGraph(self)

    def _wire(self, inputs: Any, outputs: Any) -> None:
        """Connect the model between symbolic tensors."""
        wired = wire(f"{type(self).__name__} {self.name!r}", inputs, outputs)
        self._model_graph, self._without_inputs = wired, {}
        self._inputs_struct, self._outputs_struct = wired.inputs, wired.outputs
        self._host = HostPart(self) if has_host_layers(self) else None
        self.built = True

    def _is_closed(self) -> bool:
        """Whether no more weights may be added, since the graph came before its class's own."""
        return self._model_graph is None and super()._is_closed()

    # --- what it is made of, as Keras names it ---

    @property
    def inputs(self) -> list[KerasTensor]:
        """Symbolic inputs, as a flat list."""
        return tree.flatten(self._graph_of_model.structure_of("inputs"))

    @property
    def outputs(self) -> list[KerasTensor]:
        """Symbolic outputs, as a flat list."""
        return tree.flatten(self._graph_of_model.structure_of("outputs"))

    @property
    def input(self) -> Any:
        """Symbolic inputs, nested as they were given."""
        return self._graph_of_model.structure_of("input")

    @property
    def output(self) -> Any:
        """Symbolic outputs, nested as they were given."""
        return self._graph_of_model.structure_of("output")

    @property
    def input_shape(self) -> Any:
        """Shapes of the inputs, batch axis included; one shape if there is one input."""
        return self._graph_of_model.input_shape()

    @property
    def output_shape(self) -> Any:
        """Shapes of the outputs, batch axis included; one shape if there is one output."""
        return self._graph_of_model.output_shape()

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs."""
        return self._graph_of_model.signature().input_names

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs, by which losses and metrics are given."""
        structure = self._graph_of_model.structure_of("output")
        if self._model_graph is None:
            return [info.name for info in self._graph_of_model.output_infos()]
        return [tensor._keras_history.operation.name for tensor in tree.flatten(structure)]

    @property
    def operations(self) -> list[Any]:
        """Layers, Inputs included, and the functions of `cdl.ops` between them, in order."""
        return [] if self._model_graph is None else list(self._model_graph.operations)

    # --- layers and weights ---

    @property
    def layers(self) -> list[Layer]:
        """Layers, in order; an Input of a functional model is one of them."""
        wired = [each for each in self.operations if isinstance(each, Layer)]
        known = {id(layer) for layer in wired}
        return wired + [layer for layer in super()._sublayers() if id(layer) not in known]

    @layers.setter
    def layers(self, value: Any) -> None:
        raise AttributeError(
            f"{type(self).__name__}: `Model.layers` attribute is reserved and cannot be set; use "
            "another name"
        )

    def _sublayers(self) -> list[Any]:
        return self.layers

    def _input_dtype(self) -> str | None:
        return super()._input_dtype() if calling.is_scripted(type(self)) else None

    def _output_dtype(self) -> str | None:
        return None

    @hinted
    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """Layer of that name, or at that index of `layers`.

        Raises:
            ValueError: no such layer, or not exactly one of the two was given.
        """
        layers = self.layers
        if (name is None) == (index is None):
            raise ValueError(
                "get_layer: either a name or an index must be given, got "
                f"name={name!r}, index={index!r}"
            )
        if index is not None:
            if not -len(layers) <= index < len(layers):
                raise ValueError(
                    f"get_layer: index must be less than the {len(layers)} layers, got {index}"
                )
            return layers[index]
        for layer in layers:
            if layer.name == name:
                return layer
        names = [layer.name for layer in layers]
        raise ValueError(f"get_layer: name must be one of {names}, got {name!r}")

    # --- running ---

    @of_any_names
    def build(self, input_shape: Any = None) -> None:
        """Create the weights of a model with its own `call`, by calling it once.

        Args:
            input_shape: the shape of the input, batch axis first; several nested as the inputs.
        """
        if self._model_graph is None:
            self._shape_to_build = input_shape
        self.built = True

    @contextlib.contextmanager
    def _opened(self) -> Iterator[None]:
        """Context in which layers may be built; at its end a call builds the others.

        So a `build` of the user's may call `super().build` wherever it likes.
        """
        outermost = not self._building
        if outermost:
            self._shape_to_build = None
        with super()._opened():
            yield
        if not outermost or self._shape_to_build is None:
            return
        shape, self._shape_to_build = self._shape_to_build, None
        try:
            self._graph_of_model.build_for_specs(tree.map_shape_structure(KerasTensor, shape))
        except BaseException:
            self.built = False
            raise

    def get_build_config(self) -> dict[str, Any] | None:
        """Shapes of the inputs that a model with its own `call` was built with."""
        if self._model_graph is None and self._inputs_struct is not None:
            return {"input_shape": tree.map_structure(lambda t: t.shape, self._inputs_struct)}
        return super().get_build_config()

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Build the model from the result of `get_build_config`."""
        shapes = config.get("input_shape")
        if shapes is not None and not self.built:
            self.build(shapes_as_tuples(shapes))

    @overload
    def __call__(self, inputs: KerasTensor, *args: Any, **kwargs: Any) -> KerasTensor | Any: ...
    @overload
    def __call__(
        self, inputs: NDArray[Any], *args: Any, **kwargs: Any
    ) -> NDArray[np.float32] | Any: ...
    @overload
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Outputs for a batch, as new arrays; symbolic ones for symbolic tensors.

        Args:
            args: `inputs`: arrays or symbolic tensors, nested as the model has its inputs.
            kwargs: `training`: whether dropout and the like behave as in training.
        """
        arrays = len(args) == 1 and type(args[0]) in stepping.ARRAYS and not kwargs
        if arrays and graph.current_scope() is None is stepping.state.recording:  # as most calls
            return predict.call(self, args[0], bool(self._mode()))
        if calling.learns_here(self, args) or (not arrays and graph.tensors_of(args, kwargs)):
            if args and self.built and not calling.is_scripted(type(self)):
                args = (self._of_ranks(args[0]), *args[1:])
            return calling.record_call(self, args, kwargs)
        if not arrays:
            calling.check_arguments(self, args, kwargs)
            more = any(not isinstance(each, bool) and each is not None for each in args[1:])
            if (more or kwargs.keys() - _OF_MODELS.keys()) and calling.is_scripted(type(self)):
                return stepping.recorded(run_script, self, args, kwargs, build=False)
        return stepping.recorded(self._on_data, *args, **kwargs)

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Outputs of the graph by calls of its layers, for `super().call` in a subclass."""
        return self._of_constants(inputs, *args, **kwargs)

    def _of_constants(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        return self._graph_of_model.of_constants(inputs, training)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Symbolic tensors like the outputs, with as many samples as the symbolic inputs have."""
        if calling.is_scripted(type(self)) or self._model_graph is None:
            return super().compute_output_spec(*args, **kwargs)
        return self._graph_of_model.output_spec(args, kwargs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Shapes of the outputs, batch axis included, for inputs of those shapes.

        Args:
            input_shape: of the input; of several nested as the inputs are.

        Raises:
            ValueError: they do not fit the inputs.
        """
        return self._graph_of_model.output_shape_for(input_shape)

    def check_input(self, shapes: Any) -> None:
        """Check the shapes of inputs, batch axis included; ValueError if they do not fit."""
        self._graph_of_model.check_input(shapes)

    def append_all(self, program: Lowering, values: Sequence[Value]) -> list[Value]:
        """Append the model to a program: from its flat inputs to its flat outputs."""
        return self._graph_of_model.append_all(program, values)

    def lower(self, program: Lowering, x: Any) -> Any:
        """Append the graph, from values nested as the inputs are."""
        return self._graph_of_model.lower(program, x)

    def _drop_stale_programs(self) -> bool:
        changed = super()._drop_stale_programs()
        if changed and self._model_graph is None and self._inputs_struct is not None:
            whole = self._graph_of_model
            before = whole.output_infos()
            whole.build_for_specs(self._inputs_struct)  # its layers, outputs may be others
            if self._compiled is not None and whole.output_infos() != before:
                self._compiled.resolved = None
        return changed

    def _of_ranks(self, x: Any) -> Any:
        """Symbolic inputs with a last axis of size 1 where an input has one, and without it."""
        infos = self._graph_of_model.input_infos()
        if isinstance(x, (list, tuple)) and len(x) == 1 and isinstance(x[0], KerasTensor):
            x = x[0]  # as an array in a list is the one input
        named = {info.name: info for info in infos} if isinstance(x, Mapping) else None
        if named is None and len(tree.flatten(x)) != len(infos):
            return x  # which is refused elsewhere
        left = iter(infos)

        def of_rank(path: tuple[Any, ...], tensor: Any) -> Any:
            info = next(left) if named is None else named.get(str(path[-1]))
            if info is None or not isinstance(tensor, KerasTensor):
                return tensor
            more = len(info.shape) - tensor.ndim
            if more == 1 and info.shape[-1] == 1:
                return operator_of("expand_dims")(tensor, -1)
            if more == -1 and tensor.shape[-1] == 1:
                return operator_of("squeeze")(tensor, -1)
            return tensor

        return tree.pack_sequence_as(x, [of_rank(*pair) for pair in tree.flatten_with_path(x)])

    def _arguments(self) -> Iterable[str]:
        return super()._arguments() if calling.is_scripted(type(self)) else _OF_MODELS

    def _on_data(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if mask is not None:
            raise ValueError(f"{self.name}: mask must be None, no layer of the model takes one")
        model, inputs = self._taking(inputs, "call")
        if training is None:
            training = self._mode()
        return predict.call(model, inputs, bool(training))

    def _taking(self, x: Any, call: str) -> tuple[Any, Any]:
        """Model without its omitted optional inputs, and the others."""
        if self._model_graph is None or type(x) in stepping.ARRAYS:
            return self, x
        from cdl.models.optional_inputs import without

        return without(self, x, call)

    def _mode(self) -> bool | None:
        """Training mode of a call without `training`: the default of `call` or of a layer.

        What is around the call comes first.
        """
        if (around := training_around()) is not None:
            return around
        made = self._predictors_made
        return self._training_by_default() if made is None else made.training_by_default

    def _training_by_default(self) -> bool | None:
        defaults = (each.training_by_default for each in self._flatten_layers())
        return next((each for each in defaults if each is not None), None)

    @hinted
    def summary(
        self,
        line_length: int | None = None,
        positions: Sequence[float] | None = None,
        print_fn: Callable[[str], Any] | None = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
        layer_range: Sequence[str] | None = None,
    ) -> None:
        """Print a table of layers, their output shapes and numbers of weights.

        Args:
            line_length: width of the table, by default that of the terminal, up to 88.
            positions: where each column ends, in parts of the line or in characters.
            print_fn: gets the whole text in one call; None prints it.
            expand_nested: whether to show the layers of models within the model.
            show_trainable: whether to add a column for that.
            layer_range: names of the first and the last layer to show.
        """
        print_summary(
            self, line_length, positions, print_fn, expand_nested, show_trainable, layer_range
        )

    def _repr_html_(self) -> str:
        return html_of(self)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments as a dict; the layers of a functional model."""
        if self._model_graph is None or not takes_tensors(type(self)):
            return super().get_config()
        graph_config = serialization.config_of(self._model_graph)
        return {"name": self.name, "trainable": self.trainable, **graph_config}

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> Any:
        """Create a model, with new weights, from the dict that `get_config` returned.

        Args:
            config: of a model of symbolic inputs and outputs, or the constructor's arguments.
            custom_objects: classes and functions of the user's own, by name.

        Raises:
            ValueError: the config does not fit together.
            TypeError: a layer is of a class that is not known.
        """
        if "input_layers" not in config or not takes_tensors(cls):
            return super().from_config(config)
        inputs, outputs = serialization.tensors_of(config, custom_objects)
        model = cls(inputs, outputs, name=config.get("name"))
        model._trainable = config.get("trainable") is not False
        return model

    # --- methods that stand elsewhere ---

    quantize = quantize
    save = serialization.save
    save_weights = serialization.save_weights
    load_weights = serialization.load_weights
    export = serialization.export
    to_json = serialization.to_json
    get_compile_config = serialization.get_compile_config
    compile_from_config = serialization.compile_from_config

    compiled_loss = compat.compiled_loss  # of Keras 2, and what follows
    compiled_metrics = property(compat.compiled_metrics)
    predict_classes = compat.predict_classes
    predict_proba = compat.predict_proba
    fit_generator = compat.fit_generator
    evaluate_generator = compat.evaluate_generator
    predict_generator = compat.predict_generator

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"


def takes_tensors(cls: type[Model]) -> bool:
    """Whether a class is created as `Model(inputs, outputs)` is."""
    _, *names = inspect.signature(cls.__init__).parameters
    return [name for name in names if name not in ("trainable", "kwargs")] in (
        ["args", "name"],
        ["inputs", "outputs", "name"],
        ["args"],
    )


_OF_MODELS = parameters_of(Model._on_data)  # what calls of all models take
