"""Layer: the base of layers, with names, weights, shapes, and lowering to instructions.

A layer computes nothing. `lower` appends its instructions to a program; calling a layer on an array
runs a program of that one layer. Calls on symbolic tensors are in calling.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, overload

import numpy as np

from cdl import dtype_policies, regularizers, tree
from cdl._common import dtypes, html
from cdl._common.errors import Hinting
from cdl._common.naming import unique
from cdl._common.overriding import is_users, of_any_names, overrides
from cdl._common.validation import expected, flag, not_recognized
from cdl._configs.arguments import own_arguments, parameters
from cdl._configs.identifiers import Registry
from cdl._ir.lowering import Lowering
from cdl._tracing import graph
from cdl._tracing.variable import in_traced_code
from cdl._variables.stepping import recorded
from cdl.data import as_numeric, brief
from cdl.layers import activities, calling, in_programs, on_arrays, rules
from cdl.layers.arguments import Identifier, KerasTensor, NDArray, Self, Shape, Value
from cdl.layers.building import Building, given_config
from cdl.layers.call_arguments import is_tensor, parameters_of, shapes_of
from cdl.layers.calling import is_scripted
from cdl.layers.in_programs import WithoutCall
from cdl.layers.input_spec import check_specs
from cdl.layers.kept import KeptPrograms
from cdl.layers.running import path_of, training_around
from cdl.layers.shapes import given_input_shape
from cdl.layers.stateless import stateless_call
from cdl.layers.tracking import now
from cdl.layers.weighted import Weighted
from cdl.random import core_seed

registry = Registry("layer", "keras.layers", snake=False, missing=TypeError)


class Layer(Weighted, Building, Hinting):
    """Base of all layers. A custom one has `__init__`, `build`, `call` and `get_config`::

        class Scale(cdl.layers.Layer):
            def build(self, input_shape):
                self.factor = self.add_weight((input_shape[-1],), "ones", name="factor")

            def call(self, inputs):
                return inputs * self.factor

    `call` uses functions of `cdl.ops` or NumPy, and other layers. In a model it is run once on
    symbolic values, and what it does is compiled; it may take `training` and `mask`.

    Layers of cdl's own have `compute_output_shape` and `lower`, which appends to a program, in
    place of a `call`. That method, `check_input`, `append_to`, `append_node`, `by_lines`,
    `takes_lists`, `takes_mask`, `tells_open_shapes` and `training_by_default` are theirs alone: no
    user's code calls or overrides them.

    Args:
        activity_regularizer: a penalty on the output, divided by the number of samples: a
            regularizer, its name, or a function from the output to a scalar.
        trainable: whether training changes the weights.
        dtype: a policy, its name or config, or a dtype: what the layer computes in, and what its
            weights have; None is `config.dtype_policy()`.
        autocast: whether floats that it is called with, and weights that `call` reads, are cast to
            the dtype that it computes in.
        name: unique in a model; None makes one from the class.
        kwargs: `trainable`, `dtype`, `autocast` and `name`, as any `Layer` has them, and
            `input_shape`, the shape of one sample, or `input_dim`, its only axis: the older way to
            say what an Input in front of the layer says.

    Raises:
        ValueError: an argument that is not known, or has a wrong value.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Record the arguments, for the config of a class without its own `get_config`."""
        layer = object.__new__(cls)
        if is_users(cls):
            layer._given = (args, kwargs)
        return layer

    _inner: tuple[str, ...] = (
        "append_all", "append_node", "append_to", "by_lines", "check_input",
        "input_shape_argument", "lower", "takes_lists", "takes_mask", "tells_open_shapes",
        "training_by_default",
    )  # fmt: skip

    def __init__(
        self,
        *,
        activity_regularizer: Identifier | None = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        owner = type(self).__name__
        if self._given is None and is_users(type(self)):  # which has a `__new__` without the above
            self._given = ((), {})
        self.input_shape_argument = given_input_shape(owner, kwargs)
        if kwargs:
            raise not_recognized(type(self), kwargs)
        if name is not None and (not isinstance(name, str) or "/" in name):
            raise expected(owner, "name", "a string without '/'", name)
        if not isinstance(trainable, bool):
            raise expected(owner, "trainable", "True or False", trainable)
        self.activity_regularizer = regularizers.get(activity_regularizer)
        self.autocast = flag(owner, "autocast", autocast)
        self.name = unique(type(self)) if name is None else name
        self.built = False
        self.supports_masking = False
        self.input_spec: Any = None  # an InputSpec, or a list with one an input
        vars(self).update(  # none of which a class makes a property, and none is in a program yet
            _path=self.name,
            _dtype_policy=dtype_policies.get(dtype),
            _inbound_nodes=[],
            _added=[],
            _made=now(),
            _kept_programs=KeptPrograms(),
            _trainable=trainable,
            _weights=[],
            _frozen=set(),
        )

    _build_shape: Shape | None = None
    _inbound_nodes: list[graph.Node]  # its calls on symbolic tensors
    _added: list[Any]  # losses that `call` added when it ran on arrays
    _building = False
    _activity: float | None = None  # the penalty of the last call on arrays
    _kept_programs: KeptPrograms  # of calls on arrays
    _calls = 0  # on arrays in training mode, each with random numbers of its own
    _place: int | None = None  # that of draws in a stateless call
    _moves = False  # whether it only moves numbers, so that integers stay such
    _in_float32 = False  # whether it computes in float32 whatever its policy says
    by_lines = False  # whether it works on each line along the last axis by itself
    _runs_on_host = False  # whether it runs in Python, ahead of the program
    takes_lists = False  # whether lists of numbers may stand for an array in a call
    tells_open_shapes = False  # whether `compute_output_shape`, not `call`, is asked for open axes
    takes_mask = False  # whether a call may be given a mask
    _not_in_config: tuple[str, ...] = ("weights",)  # arguments that configs leave out or change
    # Mode of a call on arrays without a `training` argument; None: that of the code around it.
    training_by_default: bool | None = None

    # Shapes and programs

    @of_any_names
    def build(self, input_shape: Any) -> None:
        """Create the weights for inputs of that shape, whose first axis is the batch.

        A subclass calls this at its end.
        """
        as_it_is = input_shape is None or isinstance(input_shape, Mapping)
        self._build_shape = input_shape if as_it_is else tuple(input_shape)
        self._path = path_of(self)
        self.built = True

    def _build_at_init(self) -> None:
        """Build at the end of constructors without weights; a subclass may still have a `build`."""
        self.built = type(self).build is Layer.build

    def check_input(self, shape: Shape) -> None:
        """Check the shape of an input, batch axis included, by the `input_spec`.

        Raises:
            ValueError: it does not fit.
        """
        if self.input_spec is not None:
            check_specs(self.input_spec, shape, f"{type(self).__name__} {self.name!r}")

    def lower(self, program: Lowering, x: Value) -> Value:
        """Append the layer's instructions on `x`, and return the output."""
        raise self._no_call()

    def _no_call(self) -> NotImplementedError:
        """Error of a class without a `call`."""
        name = type(self).__name__
        if self._given is not None:
            return NotImplementedError(f"{name} must have a call(inputs) of its own")
        return NotImplementedError(
            f"{name} does nothing by itself: derive a class from it that has a call(inputs)"
        )

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Computation of the layer, for `super().call` in a subclass's `call`."""
        training = args[0] if args else kwargs.get("training")
        if graph.tensors_in((inputs, args, kwargs)):
            outputs = self.compute_output_shape(inputs.shape)
            base = WithoutCall(self, None if training is None else bool(training))
            like = graph.KerasTensor(outputs, self.compute_dtype)
            return graph.record(base, (inputs,), {}, like)
        training = training_around() if training is None else training
        mask = kwargs.get("mask")
        return self._on_arrays(inputs, bool(training), *(() if mask is None else (mask,)))

    @of_any_names
    def compute_output_shape(self, input_shape: Any) -> Shape:
        """Shape of the output, batch axis included, for inputs of that shape."""
        if not is_scripted(type(self)):
            raise self._no_call()
        inputs = tree.map_shape_structure(graph.KerasTensor, input_shape)
        if not self.built:
            calling.prepare(self, (inputs,), {})
        spec = self.compute_output_spec(inputs)
        shape: Shape = tree.map_structure(lambda each: each.shape, spec)
        return shape

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Symbolic tensors like the outputs, for symbolic inputs.

        Args:
            args: as in a call.
            kwargs: likewise.
        """
        given = [
            each for each in (*args, *kwargs.values()) if any(map(is_tensor, tree.flatten(each)))
        ]
        if len(given) == 1 and overrides(type(self), "compute_output_shape"):
            shapes = self.compute_output_shape(shapes_of(given[0]))
            return tree.map_shape_structure(graph.KerasTensor, shapes)
        return calling.outputs_of(self, args, kwargs)

    def _spec_of(self, *args: Any, **kwargs: Any) -> Any:
        """Symbolic outputs by the call itself, unless the class has a `compute_output_spec`.

        Programs are made of what the call does, whatever a `compute_output_shape` says.
        """
        if type(self).compute_output_spec is not Layer.compute_output_spec:
            return self.compute_output_spec(*args, **kwargs)
        return calling.outputs_of(self, args, kwargs)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Mask of the output, given that of the input: the same, if masking is supported."""
        del inputs
        return previous_mask if self.supports_masking else None

    def _computes_masks(self) -> bool:
        """Whether the class has a `compute_mask` of its own that programs follow."""
        cls = type(self)
        return cls.compute_mask is not Layer.compute_mask and is_scripted(cls)

    @overload
    def __call__(self, inputs: KerasTensor, *args: Any, **kwargs: Any) -> KerasTensor | Any: ...
    @overload
    def __call__(
        self, inputs: NDArray[Any], *args: Any, **kwargs: Any
    ) -> NDArray[np.float32] | Any: ...
    @overload
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Output of the layer; the first call builds it.

        Args:
            args: `inputs`: an array whose first axis is that of the samples, or a symbolic tensor,
                for which a symbolic one comes back; further arguments of `call`.
            kwargs: `training`: whether layers like Dropout and BatchNormalization behave as in
                training; `mask`, for layers that use one: which lines along the last axis count,
                an array with one axis less; further arguments of `call`.

        Raises:
            TypeError: a mask for a layer that does not look at it.
            ValueError: no array, or one whose shape does not fit.
        """
        if not hasattr(self, "_inbound_nodes"):
            raise RuntimeError(
                f"In layer '{type(self).__name__}', you forgot to call super().__init__() as the "
                "first statement in the __init__() method"
            )
        if kwargs or len(args) != 1:
            calling.check_arguments(self, args, kwargs)
        if not is_scripted(type(self)):
            args, kwargs = in_traced_code((args, kwargs))
        if calling.is_recorded(self, args, kwargs):
            return calling.record_call(self, args, kwargs)
        if is_scripted(type(self)):
            return recorded(on_arrays.run_script, self, args, kwargs)
        if len(args) < 2:
            kwargs.setdefault("training", training_around())
        return recorded(self._on_arrays, *args, **kwargs)

    def stateless_call(
        self,
        trainable_variables: Sequence[Any],
        non_trainable_variables: Sequence[Any],
        *args: Any,
        return_losses: bool = False,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """Call with other values of the variables, which stay as they are.

        Args:
            trainable_variables: a value for each of `trainable_variables`.
            non_trainable_variables: likewise.
            args: of the call.
            return_losses: whether `losses` come back, too.
            kwargs: of the call.

        Returns:
            The outputs, the new values of `non_trainable_variables`, and the losses if asked for.

        Raises:
            ValueError: the layer is not built, or another number or shape of values.
        """
        given = (trainable_variables, non_trainable_variables)
        return stateless_call(self, given, args, return_losses, kwargs)

    def _arguments(self) -> Iterable[str]:
        """Names of a call's arguments."""
        scripted = is_scripted(type(self))
        return parameters_of(type(self).call if scripted else type(self)._on_arrays)

    def _looks_at(self, name: str) -> bool:
        """Whether a symbolic argument beside the inputs has an effect: if `lower` takes it."""
        return name in parameters_of(type(self).lower)

    def _scripts(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Whether `call` is traced for such symbolic arguments."""
        del args, kwargs
        return is_scripted(type(self))

    def _on_arrays(
        self, inputs: Any, training: bool | None = False, mask: Any = None
    ) -> NDArray[Any]:
        owner = f"{type(self).__name__} {self.name!r}"
        if type(self) is Layer:
            raise self._no_call()
        if not hasattr(inputs, "__array__") and not self.takes_lists:
            raise ValueError(f"{owner}: inputs must be an array, got {brief(inputs)}")
        x = as_numeric(inputs, f"{owner}: inputs")
        self.check_input(x.shape)
        if not self.built:
            self.build((None, *x.shape[1:]))
        self._activity = 0.0
        if x.size == 0:
            sizes = self.compute_output_shape((len(x), *x.shape[1:]))
            dtype = self._output_dtype() or "float32"
            return dtypes.astype(np.zeros([n for n in sizes if n is not None]), dtype)
        arrays = [x] if mask is None else [x, on_arrays.mask_for(self, x, mask)]
        output: NDArray[Any] = self._run(arrays, bool(training))
        return on_arrays.whole_as(x, output, owner) if self._moves else output

    def _run(self, arrays: list[NDArray[Any]], training: bool) -> Any:
        """Output of the layer for an array, with a mask if there is one."""
        whole = arrays[0].dtype.kind in "biu"
        key = (training, arrays[0].shape[1:], len(arrays), whole)
        runner = self._kept_programs.get(
            self, key, lambda: in_programs.runner_of(self, arrays, training)
        )
        if not training and self.activity_regularizer is None:
            return runner.rows(arrays)
        batch = runner.batch(arrays, self._calls, core_seed())
        self._calls += training
        self._activity = batch.penalty
        return batch.outputs[0]

    def append_node(
        self, program: Lowering, node: graph.Called, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Append a recorded call to a program.

        Args:
            program: to which it is appended.
            node: the call.
            args: its arguments, with values for the tensors.
            kwargs: likewise.
        """
        return in_programs.append(self, program, (node.args, node.kwargs), args, kwargs)

    def append_to(self, program: Lowering, *args: Any, **kwargs: Any) -> Any:
        """Append the layer to a program: its instructions, its activity penalty, its mask.

        Args:
            program: to which it is appended.
            args: a value, or what else `call` takes, with values for tensors.
            kwargs: likewise; `training` holds for this layer alone.
        """
        specs = (in_programs.specs_of(args), in_programs.specs_of(kwargs))
        return in_programs.append(self, program, specs, args, kwargs)

    def add_loss(self, loss: Any) -> None:
        """Add to the loss, from within `call`: the sum of the given tensors.

        Args:
            loss: a symbolic value or an array, or a list of them.

        Raises:
            ValueError: something that is no such value.
        """
        current = graph.current_scope()
        for each in tree.flatten(loss):
            if isinstance(each, graph.KerasTensor) and current is not None:
                current.losses.append(each)
            elif isinstance(each, (np.ndarray, np.generic, float, int)):
                self._added.append(float(np.sum(each)))
            else:
                raise ValueError(
                    f"{type(self).__name__} {self.name!r}: add_loss: loss must be a value that "
                    f"call() has computed, got {each!r}"
                )

    # --- what it is connected to ---

    @property
    def input(self) -> Any:
        """Symbolic input of the layer's first call in a graph, a list if there are several.

        Raises:
            AttributeError: it was never called so.
        """
        node = calling.first_node(self, "input")
        return node.inputs[0] if len(node.inputs) == 1 else list(node.inputs)

    @property
    def output(self) -> Any:
        """Symbolic output of the layer's first call in a graph.

        Raises:
            AttributeError: as `input`.
        """
        return calling.first_node(self, "output").outputs

    def _penalize(self, penalty: float) -> None:
        """Replace the penalties in `losses` by those of a whole call."""
        for each in self._flatten_layers():
            each._activity, each._added = None, []
        self._added = [penalty]

    @property
    def losses(self) -> list[float]:
        """Losses added by the layer: of its last call on an array, then of its weights.

        None in code that is traced: what is compiled counts these by itself.
        """
        if graph.current_scope() is not None:
            return []
        found: list[float] = recorded(activities.losses_of, self)
        return found

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments as a dict, for `from_config`.

        Raises:
            AttributeError: the attribute of an argument was deleted.
        """
        dtype = dtype_policies.serialize(self.dtype_policy)
        config = {"name": self.name, "trainable": self._trainable, "dtype": dtype}
        if self.activity_regularizer is not None:
            config["activity_regularizer"] = regularizers.serialize(self.activity_regularizer)
        own = own_arguments(self, Layer)
        config |= {name: rules.serialized(name, value) for name, value in own.items()}
        return {**config, **self._given_config(config), "dtype": dtype}

    def _given_config(self, config: dict[str, Any]) -> dict[str, Any]:
        """Constructor arguments of a custom class without a `get_config`.

        NotImplementedError if some cannot be recorded.
        """
        if self._given is None or overrides(type(self), "get_config"):
            return {}
        return given_config(self, {*config, *parameters(Layer)}, *self._given)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Create a layer, with new weights, from the dict that `get_config` returned.

        The constructor gets the name of a policy; one that is quantized, or a map, itself.

        Raises:
            TypeError: the constructor refuses the config.
        """
        try:
            if isinstance(config.get("dtype"), dict):
                policy = dtype_policies.get(config["dtype"])
                is_map = isinstance(policy, dtype_policies.DTypePolicyMap)
                keeps = is_map or policy.quantization_mode is not None
                config = {**config, "dtype": policy if keeps else policy.name}
            return cls(**config)
        except TypeError:
            raise
        except Exception as error:
            raise TypeError(f"{cls.__name__}.from_config: {error}, in config={config}") from error

    _repr_html_ = html.of_layer

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"
