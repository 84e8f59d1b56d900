"""layer.py - what a layer is: names, weights, shapes, and the instructions that it becomes.

A layer computes nothing. `lower` appends its instructions to a program; calling a layer on an array
runs a program of that one layer.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl import _eager, initializers, regularizers
from cdl._arguments import expected, float32, not_recognized, not_yet
from cdl._named import Family
from cdl._program import Program
from cdl._variable import Variable
from cdl.data import arrays_of_weights, as_numeric, brief
from cdl.dtype_policies import DTypePolicy
from cdl.layers.input_spec import InputSpec
from cdl.layers.shapes import given_input_shape
from cdl.random import core_seed
from cdl.utils.naming import unique

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

    from cdl._program import Value
    from cdl.layers.shapes import Shape


family = Family("layer", "keras.layers", snake=False, missing=TypeError)

_FLOAT32 = {
    "module": "keras",
    "class_name": "DTypePolicy",
    "config": {"name": "float32"},
    "registered_name": None,
}


class Layer:
    """Base of layers; a subclass overrides `build`, `lower`, `compute_output_shape`, `get_config`.

    Args:
        activity_regularizer: a penalty on the output, divided by the number of samples: an `L1`,
            `L2` or `L1L2`.
        trainable: whether training changes the weights.
        dtype: "float32", which is also what None means.
        autocast: True; cdl always computes in float32.
        name: unique in a model; None makes one from the class.
        kwargs: `input_shape`, the shape of one sample, or `input_dim`, its only axis: the older
            way to say what an Input in front of the layer says.

    Raises:
        ValueError: an argument that is not known, or has a wrong value.
    """

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
        if self.activity_regularizer is not None:
            penalty_of(owner, self.activity_regularizer)
        not_yet(owner, autocast=(autocast, True))
        self.dtype = float32(owner, dtype)
        self.name = unique(type(self)) if name is None else name
        self.built = False
        self._build_shape: Shape | None = None
        self.supports_masking = False
        self.input_spec: InputSpec | None = None
        self._activity = 0.0  # the penalty of the last call on arrays
        self._calls = 0  # on arrays in training mode, each with random numbers of its own
        self._trainable = trainable
        self._weights: list[Variable] = []
        self._frozen: set[Variable] = set()  # weights that are never trained

    takes_lists = False  # whether lists of numbers may stand for an array in a call
    takes_mask = False  # whether a call may be given a mask

    # Weights

    def add_weight(
        self,
        shape: Sequence[int] | None = None,
        initializer: Any = None,
        dtype: Any = None,
        trainable: bool = True,
        autocast: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
        aggregation: str = "none",
        name: str | None = None,
        *,
        matrix: bool = False,
    ) -> Variable:
        """A new weight of this layer; to be called in `build` or `__init__`.

        Args:
            shape: its shape; None is a single number.
            initializer: its first values; None is "glorot_uniform".
            dtype: "float32" or None.
            trainable: False for a weight that training never changes.
            autocast: True; cdl always computes in float32.
            regularizer: a penalty on it.
            constraint: what it must be after each update.
            aggregation: how it would be brought together from several processes; there is one.
            name: the last part of its path.
            matrix: whether it is the (k, n) factor of a matrix product.

        Raises:
            ValueError: the layer is built already, or the shape is not known.
        """
        del aggregation
        owner = f"{type(self).__name__} {self.name!r}"
        if self.built:
            raise ValueError(f"{owner}: a weight must be added before the layer is built")
        float32(owner, dtype)
        not_yet(owner, autocast=(autocast, True))
        shape = () if shape is None else tuple(shape)
        if any(size is None for size in shape):
            raise ValueError(f"{owner}: shape of weight {name!r} must be known, got {shape}")
        first = initializers.get("glorot_uniform" if initializer is None else initializer)
        assert first is not None
        weight = Variable(
            shape,
            lambda sizes: first(sizes, dtype="float32"),
            name=name or unique("variable"),
            trainable=trainable and self._trainable,
            matrix=matrix,
            regularizer=regularizer,
            constraint=constraint,
        )
        weight.path = f"{self.name}/{weight.name}"
        self._weights.append(weight)
        if not trainable:
            self._frozen.add(weight)
        return weight

    @property
    def weights(self) -> list[Variable]:
        """All weights: those that can be trained, then the others."""
        own = [weight for weight in self._weights if weight not in self._frozen]
        return own + [weight for weight in self._weights if weight in self._frozen]

    @property
    def trainable_weights(self) -> list[Variable]:
        """The weights that training changes; none if the layer is not trainable."""
        if not self._trainable:
            return []
        return [weight for weight in self._weights if weight not in self._frozen]

    @property
    def non_trainable_weights(self) -> list[Variable]:
        """The weights that training leaves alone; all if the layer is not trainable."""
        trained = self.trainable_weights
        return [weight for weight in self.weights if weight not in trained]

    @property
    def variables(self) -> list[Variable]:
        """The same as `weights`."""
        return self.weights

    @property
    def dtype_policy(self) -> DTypePolicy:
        """The dtype that the layer computes in and has its weights in."""
        return DTypePolicy("float32")

    @property
    def compute_dtype(self) -> str:
        """The dtype that the layer computes in: "float32"."""
        return self.dtype_policy.compute_dtype

    @property
    def variable_dtype(self) -> str:
        """The dtype of the weights: "float32"."""
        return self.dtype_policy.variable_dtype

    @property
    def path(self) -> str:
        """The first part of the paths of the weights: the name."""
        return self.name

    @property
    def trainable_variables(self) -> list[Variable]:
        """The same as `trainable_weights`."""
        return self.trainable_weights

    @property
    def non_trainable_variables(self) -> list[Variable]:
        """The same as `non_trainable_weights`."""
        return self.non_trainable_weights

    @property
    def trainable(self) -> bool:
        """Whether training changes the weights; a compiled model must be compiled again."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: Any) -> None:
        self._trainable = bool(value)
        for weight in self._weights:
            weight.trainable = self._trainable and weight not in self._frozen

    def get_weights(self) -> list[NDArray[np.float32]]:
        """Copies of the weights, in the order of `weights`."""
        return [weight.numpy() for weight in self.weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Assign all weights, in the order of `weights`.

        Raises:
            ValueError: another number of arrays, or another shape; nothing is assigned then.
        """
        own, owner = self.weights, f"{type(self).__name__} {self.name!r}"
        arrays = arrays_of_weights(weights, f"{owner}: set_weights")
        if len(weights) != len(own):
            raise ValueError(
                f"{owner}: set_weights: weights must be {len(own)} arrays, got {len(weights)}"
            )
        for weight, array in zip(own, arrays, strict=True):
            if weight.shape != array.shape:
                raise ValueError(
                    f"{owner}: set_weights: {weight.name} must have shape {weight.shape}, "
                    f"got {array.shape}"
                )
        for weight, array in zip(own, arrays, strict=True):
            weight.assign(array)

    def count_params(self) -> int:
        """How many numbers the weights are.

        Raises:
            ValueError: the layer is not built, so that this is not known.
        """
        if not self.built:
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: count_params needs a built layer; "
                "call build(input_shape) first"
            )
        return sum(int(np.prod(weight.shape)) for weight in self._weights)

    # Shapes and programs

    def build(self, input_shape: Any) -> None:
        """Make the weights for inputs of that shape, whose first axis is the batch.

        A subclass calls this at its end.
        """
        self._build_shape = tuple(input_shape) if input_shape is not None else None
        self.built = True

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
            self.input_spec.check(shape, f"{type(self).__name__} {self.name!r}")

    def lower(self, program: Program, x: Value) -> Value:
        """Append what the layer does to `x`, and return what comes out."""
        raise NotImplementedError(f"{type(self).__name__} must override lower(program, x)")

    def append_to(self, program: Program, x: Value) -> Value:
        """Append the layer to a program: what `lower` appends, its activity penalty, its mask."""
        y = self.lower(program, x)
        if self.activity_regularizer is not None:
            l1, l2 = penalty_of(type(self).__name__, self.activity_regularizer)
            mask = y.mask
            y = program.emit("activity", (y,), y.shape, l1=l1, l2=l2)
            y.mask = mask
        if x.mask is None or y.mask is not None:
            return y
        if self.supports_masking:
            y.mask = x.mask
        else:
            warnings.warn(
                f"{type(self).__name__} {self.name!r} does not support masking: layers after it, "
                "losses and metrics do not see the mask of its input",
                stacklevel=2,
            )
        return y

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """The shape of the output, batch axis included, for inputs of that shape."""
        raise NotImplementedError(
            f"{type(self).__name__} must override compute_output_shape(input_shape)"
        )

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """The mask of the output, given that of the input: the same, if masking is supported."""
        del inputs
        return previous_mask if self.supports_masking else None

    def __call__(
        self, inputs: Any, training: bool | None = False, mask: Any = None
    ) -> NDArray[Any]:
        """The layer's output for an array; the first call builds it.

        Args:
            inputs: an array whose first axis are the samples.
            training: whether layers like Dropout and BatchNormalization behave as in training.
            mask: for layers that look at one, which lines along the last axis count: an array with
                one axis less.

        Raises:
            TypeError: a mask for a layer that does not look at it.
            ValueError: no array, or one whose shape does not fit.
        """
        owner = f"{type(self).__name__} {self.name!r}"
        if not hasattr(inputs, "__array__") and not self.takes_lists:
            raise ValueError(f"{owner}: inputs must be an array, got {brief(inputs)}")
        x = as_numeric(inputs, f"{owner}: inputs")
        shape = (None, *x.shape[1:])
        self.check_input(shape)
        if not self.built:
            self.build(shape)
        self._activity = 0.0
        if x.size == 0:
            sizes = self.compute_output_shape((len(x), *x.shape[1:]))
            return np.zeros([n for n in sizes if n is not None], np.float32)
        program = Program()
        value, arrays = program.input(x.shape[1:]), [x]
        if mask is not None:
            arrays.append(self._mask_for(x, mask))
            value.mask = program.input((*x.shape[1:-1], 1))
        program.output(self.append_to(program, value))
        output: NDArray[Any] = self._run(program, arrays, bool(training))
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

    def _run(self, program: Program, arrays: list[NDArray[Any]], training: bool) -> Any:
        """What a program of this layer gives for arrays."""
        if not training and self.activity_regularizer is None:
            return _eager.run(program, arrays)
        run = _eager.run_batch(program, arrays, training, self._calls, core_seed())
        self._calls += training
        self._activity = run.penalty
        return run.output

    @property
    def losses(self) -> list[float]:
        """What the layer adds to the loss: of its last call on an array, then of its weights."""
        found = [] if self.activity_regularizer is None else [self._activity]
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
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A new layer, with new weights, from what `get_config` gave."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"


def penalty_of(owner: str, regularizer: Any) -> tuple[float, float]:
    """(l1, l2) of a penalty that the core can add to the loss.

    Raises:
        ValueError: it is of another kind.
    """
    if type(regularizer) not in (regularizers.L1, regularizers.L2, regularizers.L1L2):
        raise expected(owner, "activity_regularizer", "an L1, L2 or L1L2", regularizer)
    return float(getattr(regularizer, "l1", 0.0)), float(getattr(regularizer, "l2", 0.0))
