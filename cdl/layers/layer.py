"""What a layer is: names, weights, shapes, and the instructions that it becomes.

A layer computes nothing. `lower` appends its instructions to a program; calling a layer on an array
runs a program of that one layer. What a call on symbolic tensors is stands in calling.py.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from cdl import regularizers, tree
from cdl._common.errors import Hinting, step_aside
from cdl._common.naming import unique
from cdl._common.overriding import is_users
from cdl._common.validation import expected, float32, not_recognized, not_yet
from cdl._configs.identifiers import Registry
from cdl._configs.serialization import serialize
from cdl._ir.program import Program
from cdl._tracing import eager, graph
from cdl._tracing.variable import Variable, in_traced_code
from cdl.data import as_numeric, brief
from cdl.layers.calling import is_scripted
from cdl.layers.input_spec import check_specs
from cdl.layers.kept import KeptPrograms
from cdl.layers.running import named, path_of, training_around
from cdl.layers.shapes import given_input_shape
from cdl.layers.tracking import now
from cdl.layers.weighted import Weighted
from cdl.random import core_seed

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

    from cdl._ir.program import Value
    from cdl._tracing.graph import KerasTensor
    from cdl.layers.shapes import Shape


registry = Registry("layer", "keras.layers", snake=False, missing=TypeError)

_FLOAT32 = {
    "module": "keras",
    "class_name": "DTypePolicy",
    "config": {"name": "float32"},
    "registered_name": None,
}


class Layer(Weighted, Hinting):
    """Base of layers. One of your own has `__init__`, `build`, `call` and `get_config`::

        class Scale(cdl.layers.Layer):
            def build(self, input_shape):
                self.factor = self.add_weight((input_shape[-1],), "ones", name="factor")

            def call(self, inputs):
                return inputs * self.factor

    `call` uses functions of `cdl.ops` or NumPy, and other layers. In a model it is run once on
    symbolic values, and what it does is compiled; it may take `training` and `mask`.

    Layers of cdl's own have `compute_output_shape` and `lower`, which appends to a program, in
    place of a `call`. That method, `check_input`, `append_to`, `append_node`, `by_lines`,
    `takes_lists` and `takes_mask` are theirs alone: no user's code calls or overrides them.

    Args:
        activity_regularizer: a penalty on the output, divided by the number of samples: a
            regularizer, its name, or a function from the output to a scalar.
        trainable: whether training changes the weights.
        dtype: "float32", which is also what None means.
        autocast: True; cdl always computes in float32.
        name: unique in a model; None makes one from the class.
        kwargs: `input_shape`, the shape of one sample, or `input_dim`, its only axis: the older
            way to say what an Input in front of the layer says.

    Raises:
        ValueError: an argument that is not known, or has a wrong value.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Notes the arguments, for the config of a class that has no `get_config` of its own."""
        layer = object.__new__(cls)
        if is_users(cls):
            layer._given = (args, kwargs)
        return layer

    _inner: tuple[str, ...] = (
        "append_all", "append_node", "append_to", "by_lines", "check_input",
        "input_shape_argument", "lower", "takes_lists", "takes_mask",
    )  # fmt: skip

    def __init__(
        self,
        *,
        activity_regularizer: Any = None,
        trainable: bool = True,
        dtype: Any = None,
        autocast: bool = True,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        owner = type(self).__name__
        self.input_shape_argument = given_input_shape(owner, kwargs)
        if kwargs:
            raise not_recognized(type(self), kwargs)
        if name is not None and (not isinstance(name, str) or "/" in name):
            raise expected(owner, "name", "a string without '/'", name)
        if not isinstance(trainable, bool):
            raise expected(owner, "trainable", "True or False", trainable)
        self.activity_regularizer = regularizers.get(activity_regularizer)
        not_yet(owner, autocast=(autocast, True))
        self.dtype = float32(owner, dtype)
        self.name = unique(type(self)) if name is None else name
        self.built = False
        self._build_shape: Shape | None = None
        self._path = self.name
        self.supports_masking = False
        self.input_spec: Any = None  # an InputSpec, or a list with one an input
        self._inbound_nodes: list[graph.Node] = []  # its calls on symbolic tensors
        self._added: list[Any] = []  # losses that `call` added when it ran on arrays
        self._building = False
        self._made = now()
        self._activity = 0.0  # the penalty of the last call on arrays
        self._kept_programs = KeptPrograms()  # of calls on arrays
        self._calls = 0  # on arrays in training mode, each with random numbers of its own
        self._trainable = trainable
        self._weights: list[Variable] = []
        self._frozen: set[Variable] = set()  # weights that are never trained

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """A `build` of a subclass's own leaves the layer built, whether it says so or not."""
        super().__init_subclass__(**kwargs)
        build = vars(cls).get("build")
        if build is None:
            return

        @functools.wraps(build)
        def opened(self: Layer, *args: Any, **given: Any) -> Any:
            try:
                with self._opened():
                    return build(self, *args, **given)
            except BaseException as error:
                step_aside(error)
                raise

        cls.build = opened  # type: ignore[method-assign]

    @contextlib.contextmanager
    def _opened(self) -> Iterator[None]:
        """While the body runs weights may be added; afterwards the layer is built."""
        before = self._building
        self._building = before or not self.built
        try:
            with named(self):
                self._path = path_of(self)
                yield
            self.built = True
        finally:
            self._building = before

    _given: tuple[tuple[Any, ...], dict[str, Any]]
    takes_lists = False  # whether lists of numbers may stand for an array in a call
    takes_mask = False  # whether a call may be given a mask

    # Shapes and programs

    def build(self, input_shape: Any) -> None:
        """Make the weights for inputs of that shape, whose first axis is the batch.

        A subclass calls this at its end.
        """
        self._build_shape = tuple(input_shape) if input_shape is not None else None
        self._path = path_of(self)
        self.built = True

    def _build_at_init(self) -> None:
        """For the end of constructors of layers without weights, which have nothing to build.

        A subclass may still have a `build` of its own.
        """
        self.built = type(self).build is Layer.build

    def save_own_variables(self, store: Any) -> None:
        """Put the weights that no layer within holds into a store, by "0", "1" ...

        A subclass may override this, and `load_own_variables` with it.

        Args:
            store: a mapping from names to arrays.
        """
        trained, others = self._sorted_variables()
        for i, weight in enumerate([*trained, *others]):
            store[str(i)] = weight.numpy()

    def load_own_variables(self, store: Any) -> None:
        """Assign what `save_own_variables` put there.

        Raises:
            ValueError: another number of arrays, or another shape.
        """
        trained, others = self._sorted_variables()
        own = [*trained, *others]
        if len(store) != len(own):
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: the file must have {len(own)} variables, "
                f"got {len(store)}"
            )
        for i, weight in enumerate(own):
            weight.assign(np.asarray(store[str(i)]))

    def get_build_config(self) -> dict[str, Any] | None:
        """What `build` was called with, for configs; None if it was not called."""
        return None if self._build_shape is None else {"input_shape": self._build_shape}

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Build the layer as `get_build_config` says."""
        shape = config.get("input_shape")
        if shape is not None and not self.built:
            self.build(tuple(shape))

    def check_input(self, shape: Shape) -> None:
        """Refuse an input whose shape, batch axis included, does not fit; by the `input_spec`.

        Raises:
            ValueError: it does not fit.
        """
        if self.input_spec is not None:
            check_specs(self.input_spec, shape, f"{type(self).__name__} {self.name!r}")

    def lower(self, program: Program, x: Value) -> Value:
        """Append what the layer does to `x`, and return what comes out."""
        raise self._no_call()

    def _no_call(self) -> NotImplementedError:
        """The error of a class that does not say what it does."""
        name = type(self).__name__
        if is_users(type(self)):
            return NotImplementedError(f"{name} must have a call(inputs) of its own")
        return NotImplementedError(
            f"{name} does nothing by itself: derive a class from it that has a call(inputs)"
        )

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """What the layer does; for a `call` of a subclass's own that goes on from here."""
        training = args[0] if args else kwargs.get("training")
        if graph.tensors_in((inputs, args, kwargs)):
            outputs = self.compute_output_shape(inputs.shape)
            base = Base(self, None if training is None else bool(training))
            return graph.record(base, (inputs,), {}, graph.KerasTensor(outputs))
        return self._on_arrays(inputs, bool(training), kwargs.get("mask"))

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """The shape of the output, batch axis included, for inputs of that shape."""
        if not is_scripted(type(self)):
            raise self._no_call()
        inputs = tree.map_shape_structure(graph.KerasTensor, input_shape)
        if not self.built:
            self._prepare((inputs,), {})
        spec = self.compute_output_spec(inputs)
        shape: Shape = tree.map_structure(lambda each: each.shape, spec)
        return shape

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """The mask of the output, given that of the input: the same, if masking is supported."""
        del inputs
        return previous_mask if self.supports_masking else None

    def _computes_masks(self) -> bool:
        """Whether the class has a `compute_mask` of its own that programs are to follow."""
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
        """The layer's output; the first call builds it.

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
            self._check_arguments(args, kwargs)
        if not is_scripted(type(self)):
            args, kwargs = in_traced_code((args, kwargs))
        if self._is_noted(args, kwargs):
            return self._note(args, kwargs)
        if is_scripted(type(self)):
            return self._run_script(args, kwargs)
        if len(args) < 2:
            kwargs.setdefault("training", training_around())
        return self._on_arrays(*args, **kwargs)

    def _on_arrays(
        self, inputs: Any, training: bool | None = False, mask: Any = None
    ) -> NDArray[Any]:
        owner = f"{type(self).__name__} {self.name!r}"
        if not hasattr(inputs, "__array__") and not self.takes_lists:
            raise ValueError(f"{owner}: inputs must be an array, got {brief(inputs)}")
        x = as_numeric(inputs, f"{owner}: inputs")
        self.check_input(x.shape)
        if not self.built:
            self.build((None, *x.shape[1:]))
        self._activity = 0.0
        if x.size == 0:
            sizes = self.compute_output_shape((len(x), *x.shape[1:]))
            return np.zeros([n for n in sizes if n is not None], np.float32)
        arrays = [x] if mask is None else [x, self._mask_for(x, mask)]
        output: NDArray[Any] = self._run(arrays, bool(training))
        return output

    def _mask_for(self, x: NDArray[Any], mask: Any) -> NDArray[Any]:
        """A mask as an array with a number for each line of `x`."""
        owner = f"{type(self).__name__} {self.name!r}"
        if not self.takes_mask:
            raise TypeError(f"{owner}: mask must be None, since the layer does not look at it")
        given = as_numeric(mask, f"{owner}: mask")
        fits = given.ndim == x.ndim - 1
        pairs = zip(given.shape, x.shape[:-1], strict=False)
        if not fits or any(n not in (1, m) for n, m in pairs):
            raise ValueError(
                f"{owner}: mask must have shape {x.shape[:-1]}, one axis less than the inputs, "
                f"got {given.shape}"
            )
        return np.broadcast_to(given, x.shape[:-1])

    def _run(self, arrays: list[NDArray[Any]], training: bool) -> Any:
        """What the layer gives for an array, and a mask if there is one."""
        key = (training, arrays[0].shape[1:], len(arrays))
        runner = self._kept_programs.get(self, key, lambda: self._runner(arrays, training))
        if not training and self.activity_regularizer is None:
            return runner.rows(arrays)
        batch = runner.batch(arrays, self._calls, core_seed())
        self._calls += training
        self._activity = batch.penalty
        return batch.outputs[0]

    def _runner(self, arrays: list[NDArray[Any]], training: bool) -> eager.Runner:
        """The program of a call on such arrays."""
        x = arrays[0]
        program = Program(training)
        value = program.input(x.shape[1:])
        if len(arrays) > 1:
            value.mask = program.input((*x.shape[1:-1], 1))
        program.output(self.append_to(program, value))
        return eager.Runner(program.fused(training), training)

    @property
    def losses(self) -> list[float]:
        """What the layer adds to the loss: of its last call on an array, then of its weights.

        None in code that is traced: what is compiled counts these by itself.
        """
        if graph.current_scope() is not None:
            return []
        found: list[float] = []
        for layer in self._flatten_layers():
            found += [] if layer.activity_regularizer is None else [layer._activity]
            found += layer._added
        for weight in self.trainable_weights:
            if weight.regularizer is not None:
                found.append(float(weight.regularizer(weight.numpy())))
        return found

    # Configuration

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = {"name": self.name, "trainable": self._trainable, "dtype": dict(_FLOAT32)}
        if self.activity_regularizer is not None:
            config["activity_regularizer"] = regularizers.serialize(self.activity_regularizer)
        return {**config, **self._given_config()}

    def _given_config(self) -> dict[str, Any]:
        """The constructor's arguments, where the user's class has some and no `get_config`.

        Raises:
            NotImplementedError: some cannot be recorded.
        """
        cls = type(self)
        if not is_users(cls) or cls.get_config is not Layer.get_config:
            return {}
        args, kwargs = self._given
        bound = inspect.signature(cls.__init__).bind(self, *args, **kwargs)
        given = {k: v for k, v in list(bound.arguments.items())[1:] if k not in ("args", "kwargs")}
        try:
            return {name: serialize(value) for name, value in given.items()}
        except TypeError as error:
            raise NotImplementedError(
                f"{cls.__name__} must have a get_config() that returns the constructor's "
                f"arguments: {error}"
            ) from None

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A new layer, with new weights, from what `get_config` gave.

        Raises:
            TypeError: the constructor refuses the config.
        """
        try:
            return cls(**config)
        except TypeError:
            raise
        except Exception as error:
            raise TypeError(f"{cls.__name__}.from_config: {error}, in config={config}") from error

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"


class Base:
    """A layer without the `call` that a subclass gave it, as the operation of a node.

    Args:
        layer: the layer.
        training: whether it behaves as in training; None: as what is around it does.
    """

    def __init__(self, layer: Layer, training: bool | None = None) -> None:
        self.layer = layer
        self.name = layer.name
        self.training = training

    def append_to(self, program: Program, x: Value) -> Value:
        """Append what `lower` says."""
        with contextlib.nullcontext() if self.training is None else program.fixed(self.training):
            y = self.layer.lower(program, x)
        if self.layer.supports_masking and y.mask is None:
            y.mask = x.mask
        return y
