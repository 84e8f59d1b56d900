"""Lambda: a custom function as a layer."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdl import tree
from cdl._common.central_differences import by_sample, keeps_samples_apart, steps
from cdl._common.validation import expected
from cdl._configs import custom_objects as registered
from cdl._configs import serialization
from cdl._ir import emit
from cdl._tracing.graph import KerasTensor, tensors_in, tensors_of
from cdl._tracing.symbolic import for_any_size
from cdl._tracing.untraced import Untraced, attempt, reason_of
from cdl.data import as_numeric
from cdl.layers.arguments import LayerArguments, Lowering, NDArray, Self, Shape, Unpack, Value
from cdl.layers.call_arguments import takes
from cdl.layers.calling import trace_any
from cdl.layers.layer import Layer, registry
from cdl.layers.running import in_dtype

Array = NDArray[Any]


@registry.add()
class Lambda(Layer):
    """Custom function as a layer: ``y = function(x)``, of arrays.

    A function of operators and functions of NumPy and `cdl.ops` is traced and compiled, and may
    take a list of inputs. One that cannot be traced, since it looks at numbers, the core calls once
    a batch, with the samples as a float32 array, and waits; such a model runs on one thread.
    Training goes through it by central differences in float64, for which each sample must be by
    itself.

    Args:
        function: takes an array whose first axis are the samples, and gives another with as many.
            If it has an argument `training` it is told whether it is called in training, and if it
            has `mask`, the mask of the inputs or None.
        output_shape: the shape of a sample of the result, or a function from shape to shape (batch
            axis included); None to try the function on two samples of ones.
        mask: the mask of the result: a function of the inputs and their mask (or
            None), or an array.
        arguments: further arguments of the function, by name.

    Raises:
        TypeError: `function` cannot be called.
    """

    _not_in_config = ("mask", "output_shape")

    def __init__(
        self,
        function: Callable[..., Any],
        output_shape: Any = None,
        mask: Any = None,
        arguments: Mapping[str, Any] | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        if not callable(function):
            raise TypeError(f"Lambda: function must be a function, got {function!r}")
        if arguments is not None and not isinstance(arguments, Mapping):
            raise expected("Lambda", "arguments", "a dict of arguments by name", arguments)
        self.function = function
        self.arguments = dict(arguments or {})
        self.mask = mask
        self.supports_masking = mask is not None
        self._output_shape = output_shape
        # Reasons why the function cannot be compiled, by shapes; "" if it can.
        self._untraced_why: dict[Any, str] = {}
        self._tried: dict[Shape, Shape] = {}  # shapes of samples: of the input, of the result
        self._takes = set(_parameters(function))
        self._build_at_init()

    def call(self, inputs: ArrayLike, mask: Any = None, training: bool | None = None) -> Any:
        more = {"mask": mask, "training": training}
        told = {name: value for name, value in more.items() if name in self._takes}
        return self.function(inputs, **{**self.arguments, **told})

    def _scripts(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Whether the function can be traced for such symbolic arguments."""
        given = tensors_of(args, kwargs)
        key = tuple((t.shape, t.dtype, t.mask is not None) for t in given)
        if key not in self._untraced_why:
            _, self._untraced_why[key] = attempt(trace_any, self, args, kwargs, False)
        return not self._untraced_why[key]

    def _looks_at(self, name: str) -> bool:
        return name in self._takes

    def _computes_masks(self) -> bool:
        return self.mask is not None

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Mask of the output: the result of `mask`, or `mask` itself.

        Raises:
            ValueError: an array in a model, where it cannot fit every batch.
        """
        if callable(self.mask):
            return self.mask(inputs, previous_mask)
        if self.mask is not None and tensors_in(inputs):
            raise expected(f"Lambda {self.name!r}", "mask", "a function in a model", self.mask)
        return self.mask

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The shape of the result, batch axis included; of several inputs by their shapes, nested.

        Raises:
            NotImplementedError: it was not given, and the function cannot be tried.
        """
        several = not tree.is_shape(input_shape)
        given: Any = tree.map_shape_structure(tuple, input_shape)
        if callable(self._output_shape):
            return tuple(self._output_shape(given))
        shape = given
        while not tree.is_shape(shape):
            shape = next(iter(shape.values() if isinstance(shape, dict) else shape))
        if self._output_shape is not None:
            return (shape[0], *self._output_shape)
        tensors = tree.map_shape_structure(KerasTensor, given)
        if self._scripts((tensors,), {}):
            found: Shape = trace_any(self, (tensors,), {}, False).outputs.shape
            return found
        owner = f"Lambda {self.name!r}"
        if several:
            raise NotImplementedError(
                f"{owner}: output_shape must be given, since the function takes several inputs and "
                "cannot be traced"
            )
        if None in shape[1:]:  # what differs between two sizes is open
            filled = [[n if n is not None else size for n in shape[1:]] for size in (5, 7)]
            shapes = [self._try(owner, tuple(each)) for each in filled]
            pairs = zip(*shapes, strict=True)
            return (shape[0], *(n if n == m else None for n, m in pairs))
        if shape[1:] not in self._tried:
            self._tried[shape[1:]] = self._try(owner, shape[1:])
        return (shape[0], *self._tried[shape[1:]])

    def _try(self, owner: str, shape: Shape) -> Shape:
        """Shape of a sample of the result, from a trial on ones."""
        told = {"training": False} if takes(type(self), "training") else {}

        def result(samples: int) -> Array:
            ones = np.ones([samples, *(n for n in shape if n is not None)], np.float32)
            with np.errstate(all="ignore"):
                return np.asarray(self.call(ones, **told))

        try:
            y = result(2)
        except Exception as error:
            try:
                result(3)
            except Exception as other:
                for_any_size(error, other)
            raise NotImplementedError(
                f"{owner}: output_shape must be given, since trying the function failed: "
                f"{reason_of(error)}"
            ) from error
        if y.shape[:1] != (2,):
            raise ValueError(
                f"{owner}: function must give as many samples as it gets, got shape {y.shape} for "
                f"an input of shape {(2, *shape)}"
            )
        return y.shape[1:]

    def lower(self, program: Lowering, x: Any, mask: Any = None) -> Value:
        """Append the call; several values go through it as one, side by side."""
        if tree.is_nested(x):
            return self._lower_several(program, x)
        if "mask" in self._takes and (x.mask is not None or mask is not None):
            raise ValueError(
                f"Lambda {self.name!r}: function must be one that can be traced, to know the mask"
            )
        shape = [n for n in self.compute_output_shape((None, *x.shape))[1:] if n is not None]
        return program.emit("host", (x,), shape, (), function=_Hosted(self, self._untraced()))

    def _untraced(self) -> Untraced:
        reason = next(each for each in reversed(self._untraced_why.values()) if each)
        return Untraced(f"Lambda {self.name!r}", self.function, reason, ", on one thread")

    def _lower_several(self, program: Lowering, nest: Any) -> Value:
        values = tree.flatten(nest)
        shapes = tree.map_structure(lambda value: (None, *value.shape), nest)
        shape = [n for n in self.compute_output_shape(shapes)[1:] if n is not None]
        joined = emit.side_by_side(program, values)
        hosted = _Hosted(self, self._untraced(), nest)
        return program.emit("host", (joined,), shape, (), function=hosted)

    def _on_arrays(self, inputs: Any, training: bool | None = False, mask: Any = None) -> Any:
        """Result of the function for an array.

        Args:
            inputs: an array whose first axis are the samples.
            training: what the function is told, if it wants to know.
            mask: likewise.
        """

        def numbers(leaf: Any) -> Array:
            x = as_numeric(leaf, f"Lambda {self.name!r}: inputs")
            found: Array = in_dtype([x], self._input_dtype())[0]
            return found

        several = isinstance(inputs, (list, tuple, dict)) and all(
            hasattr(leaf, "shape") for leaf in tree.flatten(inputs)
        )
        x = tree.map_structure(numbers, inputs) if several else numbers(inputs)
        return self.call(x, mask=mask, training=training)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments as a dict; a function by its name.

        Raises:
            ValueError: a function without a name, of which a config cannot be made.
        """
        config = {**super().get_config(), "function": serialization.serialize(self.function)}
        if self._output_shape is not None:
            shape = self._output_shape
            config["output_shape"] = serialization.serialize(shape) if callable(shape) else shape
        if self.mask is not None:
            config["mask"] = serialization.serialize(self.mask)
        return {**config, "arguments": dict(self.arguments)}

    @classmethod
    def from_config(
        cls,
        config: dict[str, Any],
        custom_objects: Mapping[str, Any] | None = None,
        safe_mode: bool | None = None,
    ) -> Self:
        """Create a layer from the dict that `get_config` returned.

        Args:
            config: the config.
            custom_objects: functions of the user's own, by name.
            safe_mode: accepted; code in a config is never run.

        Raises:
            TypeError: a function of the user's own that is not known by a custom object scope or
                by being registered.
            ValueError: code instead of a function's name, as Keras writes for a lambda, unless
                custom objects have "<lambda>", or the name of the layer.
        """
        del safe_mode
        named = ("function", "output_shape", "mask")
        custom = registered.all_custom_objects(custom_objects)
        function = custom.get(str(config.get("name"))) or custom.get("<lambda>")
        read = {}
        for name in named:
            if name in config:
                given = config[name]
                is_code = isinstance(given, Mapping) and given.get("class_name") == "__lambda__"
                known = function if is_code else None
                read[name] = known or serialization.deserialize(given, custom_objects)
        if isinstance(read.get("output_shape"), list):
            read["output_shape"] = tuple(read["output_shape"])
        return cls(**{**config, **read})


class _Hosted:
    """Lambda as the core calls it.

    `untraced` says why it is not compiled; `nest` has the values, nested, that lie side by side in
    what it is called with, None for one.
    """

    def __init__(self, layer: Lambda, untraced: Untraced, nest: Any = None) -> None:
        self.layer = layer
        self.untraced = untraced
        self.nest = (
            None
            if nest is None
            else tree.map_structure(lambda x: SimpleNamespace(shape=x.shape), nest)
        )

    def _call(self, x: Array, training: bool) -> Any:
        if self.nest is None:
            return self.layer.call(x, training=training)
        sizes = tree.flatten(self.nest)
        places = np.cumsum([math.prod(size.shape) for size in sizes])[:-1]
        parts = [
            part.reshape(len(x), *size.shape)
            for part, size in zip(np.split(x, places, axis=1), sizes, strict=True)
        ]
        return self.layer.call(tree.pack_sequence_as(self.nest, parts), training=training)

    def __repr__(self) -> str:
        return self.layer.name

    def forward(self, x: Array, training: bool) -> Array:
        """Output y of a batch."""
        return np.asarray(self._call(x, training))

    def backward(self, x: Array, y: Array, dy: Array, training: bool) -> Array:
        """Gradient by x of sum(dy * y)."""

        def function(x: Array) -> Any:
            return self._call(x, training)

        wide = x.astype(np.float64)
        y = np.asarray(function(wide))  # in float64
        h = steps(wide, y, 1.0)
        if not keeps_samples_apart(function, wide, y, h):
            raise ValueError(
                f"Lambda {self.layer.name!r}: function must treat each sample by itself, or be one "
                "that can be traced, to be trained through; the result of one sample changed with "
                f"another. {self.untraced}"
            )
        return by_sample(function, wide, h, dy.astype(np.float64))


def _parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    try:
        return tuple(inspect.signature(function).parameters)
    except ValueError:  # some of NumPy's and Python's own have none
        return ()
