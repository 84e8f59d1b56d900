"""Weighted: the weights of a layer, its own and those of the layers within it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl import constraints, dtype_policies, initializers, regularizers
from cdl._common.dtypes import FLOATS, LOW, floatx, of_kernels, standardize_dtype
from cdl._common.naming import unique
from cdl._common.validation import expected, flag
from cdl._tracing.integer_variable import WholeNumbers
from cdl._tracing.variable import Variable
from cdl._variables.assigning import assign_all
from cdl._variables.program_caches import invalidate_programs
from cdl._variables.state import State
from cdl.data import arrays_of_weights
from cdl.dtype_policies import DTypePolicy, DTypePolicyMap
from cdl.layers import quantizing
from cdl.layers.calling import is_scripted
from cdl.layers.running import path_of
from cdl.layers.tracking import Tracking
from cdl.quantizers.quantization_config import QuantizationConfig, resolved

_changes = 0


def changes() -> int:
    """Version of the structure of layers: it grows with new weights and changes of `trainable`."""
    return _changes


def _has_changed() -> None:
    global _changes  # noqa: PLW0603 - one number for all layers, since they know no model
    _changes += 1


class _Trained:
    """Cache of a model's trained weights, valid while layers and `trainable` are unchanged."""

    def __init__(self, weights: list[Any], found: list[Variable]) -> None:
        self.found = found
        self._weights, self._flags = weights, [each.trainable for each in weights]
        self._at = _changes

    def is_current(self) -> bool:
        """Whether no layer has got another weight, and no weight another flag."""
        return self._at == _changes and self._flags == [each.trainable for each in self._weights]


class _Noted(threading.local):
    """Weights that the current thread creates, with their initializers, where they are noted."""

    found: list[tuple[Variable, Any]] | None = None


_noted = _Noted()


@contextmanager
def noting_initializers() -> Iterator[list[tuple[Variable, Any]]]:
    """Context that gives each weight which `add_weight` creates, with its initializer."""
    before, found = _noted.found, list[tuple[Variable, Any]]()
    _noted.found = found
    try:
        yield found
    finally:
        _noted.found = before


def _without_names(owner: str, args: tuple[Any, ...], given: dict[str, Any]) -> list[Any]:
    """Values of `given` by place, of which `args` are the first."""
    n = len(args)
    if n > len(given):
        raise TypeError(
            f"{owner}: add_weight takes at most {len(given)} positional arguments, got {n}"
        )
    if isinstance(args[0], str):
        raise ValueError(
            f"{owner}: add_weight: shape must be a tuple, got {args[0]!r}; give the name as a "
            "keyword argument"
        )
    values = list(given.values())
    for name, value in zip(given, values[:n], strict=False):
        if value is not None:
            raise ValueError(
                f"{owner}: add_weight: `{name}` was passed both positionally and as a keyword "
                "argument"
            )
    return [*args, *values[n:]]


class Weighted(Tracking):
    """Mixin of layers: weights, variables and dtype policy."""

    name: str
    _trainable: bool
    _building: bool
    _path: str
    _dtype_policy: DTypePolicy
    autocast: bool
    _in_float32: bool
    _is_quantized = False  # whether its weights are integers
    _matrix_by_default = False  # whether the products of the class are with matrices
    _told_dtype: str | None = None  # what `dtype` is where it does not follow from the policy

    def add_weight(
        self,
        *args: Any,
        shape: Sequence[int] | None = None,
        initializer: Any = None,
        dtype: Any = None,
        trainable: bool = True,
        autocast: bool = True,
        regularizer: Any = None,
        constraint: Any = None,
        aggregation: str = "none",
        name: str | None = None,
        matrix: bool | None = None,
    ) -> Variable:
        """Create a weight of this layer; to be called in `build` or `__init__`.

        Args:
            args: `shape`, `initializer` and `dtype` may be given without their names.
            shape: its shape; None is a single number.
            initializer: its initial values; None is "glorot_uniform", or "zeros" of integers.
            dtype: "float32", "bfloat16" or "float16"; None is the layer's `variable_dtype`. Or
                integers up to 2^24, or "bool", which never learn: `trainable=False`.
            trainable: False for a weight that training never changes.
            autocast: whether `call` reads it in the dtype that the layer computes in.
            regularizer: a penalty on it, or the name of one, such as "l1".
            constraint: what it must be after each update, or a name, such as "non_neg".
            aggregation: how it would be brought together from several processes; there is one.
            name: the last part of its path.
            matrix: whether it is the (k, n) factor of a matrix product, or the kernel of a
                convolution; None for what has two to five axes in a layer that is written in
                Python, or in Dense, convolutions and their subclasses, but for depthwise ones.

        Raises:
            TypeError: more than three arguments without a name.
            ValueError: the layer is built already, the shape is not known or a text, an
                argument is given twice, integers are to be trained, or a name that is none.
        """
        del aggregation
        owner = f"{type(self).__name__} {self.name!r}"
        if args:
            given = {"shape": shape, "initializer": initializer, "dtype": dtype}
            shape, initializer, dtype = _without_names(owner, args, given)
        if self._is_closed():
            raise ValueError(f"{owner}: a weight must be added before the layer is built")
        kept_dtype = self.variable_dtype if dtype is None else standardize_dtype(dtype)
        kept_dtype = of_kernels(kept_dtype)
        whole = np.dtype(kept_dtype).kind in "biu" if kept_dtype not in FLOATS else False
        if kept_dtype not in FLOATS and not whole:
            wanted = f"one of {FLOATS}, integers or bool"
            raise expected(owner, f"dtype of weight {name!r}", wanted, kept_dtype)
        if whole and trainable:
            raise ValueError(
                f"{owner}: weight {name!r} of {kept_dtype} does not learn: give trainable=False"
            )
        shape = () if shape is None else tuple(shape)
        if None in shape:
            raise ValueError(
                f"{owner}: shape of weight {name!r} must be fully-defined (no `None` dimensions), "
                f"got {shape}: an Input, or a layer before this one, must give that axis a size"
            )
        by_default = "zeros" if whole else "glorot_uniform"
        first = initializers.get(by_default if initializer is None else initializer)
        assert first is not None
        if matrix is None:
            products = self._matrix_by_default or is_scripted(type(self))
            matrix = 2 <= len(shape) <= 5 and products
        name = name or unique("variable")
        penalty, projection = regularizers.get(regularizer), constraints.get(constraint)

        def initial(sizes: tuple[int, ...]) -> Any:
            return first(sizes, dtype=kept_dtype if whole else "float32")

        weight: Variable
        if whole:
            weight = WholeNumbers(shape, initial, name=name, dtype=kept_dtype)
        else:
            weight = Variable(
                shape,
                initial,
                name=name,
                trainable=trainable and self._trainable,
                matrix=matrix,
                regularizer=penalty,
                constraint=projection,
                dtype=kept_dtype,
                autocast=flag(owner, "autocast", autocast),
            )
        weight.path = f"{path_of(self)}/{weight.name}"
        self._weights.append(weight)
        _has_changed()
        if not trainable:
            self._frozen.add(weight)
        if _noted.found is not None:
            _noted.found.append((weight, first))
        return weight

    def add_variable(self, shape: Sequence[int], initializer: Any, **options: Any) -> Variable:
        """Create a weight as `add_weight`, with its other arguments by name."""
        return self.add_weight(shape, initializer, **options)

    def _is_closed(self) -> bool:
        """Whether no more weights may be added."""
        return self.built and not self._building

    @property
    def weights(self) -> list[Variable]:
        """All weights: trainable ones, then the others, then those of layers within."""
        trained, others = self._sorted_variables()
        return self._gathered("weights", trained + others)

    @property
    def trainable_weights(self) -> list[Variable]:
        """Weights that training changes; none if the layer is not trainable."""
        if not self._trainable:
            return []
        watch = vars(self).get("_watch")  # of a model for which programs were made
        if watch is None or not watch.holds():
            return self._weights_to_train()
        if watch.trained is None or not watch.trained.is_current():
            watch.trained = _Trained(self.weights, self._weights_to_train())
        return list(watch.trained.found)

    def _weights_to_train(self) -> list[Variable]:
        trained, _ = self._sorted_variables()
        return self._gathered("trainable_weights", [each for each in trained if each.trainable])

    @property
    def non_trainable_weights(self) -> list[Variable]:
        """Weights that training leaves alone; all if the layer is not trainable."""
        if not self._trainable:
            return self.weights
        trained, others = self._sorted_variables()
        frozen = [each for each in trained if not each.trainable]
        return self._gathered("non_trainable_weights", frozen, others)

    def _sorted_variables(self) -> tuple[list[Variable], list[Variable]]:
        """Own weights: trainable ones, and the others."""
        own = self._direct_variables()
        if own is self._weights and not self._frozen:
            return list(own), []
        sides: tuple[list[Variable], list[Variable]] = ([], [])
        for weight in own:
            sides[self._is_frozen(weight)].append(weight)
        return sides

    @property
    def _reads_moved(self) -> bool:
        """Whether a call reads the variables of `_own_moved`, beside changing them."""
        return True

    def _own_moved(self) -> list[Any]:
        """Own variables that calls may change: moving averages, counts, states between batches."""
        return list[Any](self._sorted_variables()[1])

    def _filed_variables(self) -> list[Any]:
        """Own weights as in files, in order: each has a shape and `assign`."""
        trained, others = self._sorted_variables()
        return [*trained, *others]

    def _is_frozen(self, weight: Variable | State) -> bool:
        """Whether an own weight is never trained."""
        return weight in self._frozen or isinstance(weight, State)

    def _gathered(self, what: str, *variables: list[Any]) -> list[Any]:
        """Own variables, then those of the layers within, each once; no list has duplicates."""
        layers = self._sublayers()
        if not layers and len(variables) == 1:
            return variables[0]
        found: dict[int, Any] = {}
        for part in variables:
            for weight in part:
                found[id(weight)] = weight
        for layer in layers:
            for weight in getattr(layer, what):
                found[id(weight)] = weight
        return list(found.values())

    @property
    def variables(self) -> list[Any]:
        """Weights, and the states of the seed generators, each after those of its layer."""
        states = [generator.state for generator in self._seed_generators]
        return self._gathered("variables", *self._sorted_variables(), states)

    @property
    def dtype_policy(self) -> DTypePolicy:
        """Dtype policy: the compute dtype and the dtype of the weights; may be set.

        Raises:
            ValueError: set to what is no policy.
        """
        return self._dtype_policy

    @dtype_policy.setter
    def dtype_policy(self, value: Any) -> None:
        policy = dtype_policies.get(value)
        kept = self._dtype_policy
        if isinstance(kept, DTypePolicyMap) and self.path:
            if self.path in kept:
                del kept[self.path]
            kept[self.path] = policy
        else:
            self._dtype_policy = policy
        if self.built:
            invalidate_programs()
        if policy.quantization_mode is not None and self.built and not self._is_quantized:
            self.quantize(policy.quantization_mode)

    def _own_policy(self) -> DTypePolicy:
        """Policy, or the entry of a map of policies for the layer's path."""
        policy = self._dtype_policy
        if type(policy) is DTypePolicy:  # as nearly always
            return policy
        return policy[self.path] if isinstance(policy, DTypePolicyMap) and self.path else policy

    @property
    def compute_dtype(self) -> str:
        """Dtype of the computation and of the outputs."""
        return self._own_policy().compute_dtype

    @property
    def input_dtype(self) -> str:
        """Dtype that float inputs are cast to, except with `autocast=False`."""
        return self.compute_dtype

    @property
    def variable_dtype(self) -> str:
        """Dtype of the weights."""
        return self._own_policy().variable_dtype

    @property
    def dtype(self) -> str:
        """Dtype of the weights, `variable_dtype`, but for layers of texts and for inputs."""
        return self.variable_dtype if self._told_dtype is None else self._told_dtype

    def _output_dtype(self) -> str | None:
        """Dtype of float outputs; None where others determine it."""
        dtype = self.compute_dtype
        return dtype if dtype in FLOATS else None

    def _symbolic_dtype(self) -> str:
        """Dtype of a symbolic output for a float input."""
        return self._output_dtype() or floatx()

    def _input_dtype(self) -> str | None:
        """Dtype that floats are cast to before the computation; None: they are not."""
        dtype = self.compute_dtype
        return dtype if self.autocast and dtype in FLOATS else None

    def _autocast_dtype(self, around: str | None) -> str | None:
        """Dtype of 16 bits for reading weights that autocast; None: each in its own.

        As in Keras one with `autocast=False` takes none from the layer around it, but has its own.

        Args:
            around: that of the layer around it.
        """
        dtype = self.compute_dtype
        if self._in_float32 or dtype not in LOW or (not self.autocast and around is not None):
            return None
        return dtype

    @property
    def quantization_mode(self) -> str | None:
        """Mode of quantization of the weights, such as "int8"; None if they are not quantized."""
        return self._own_policy().quantization_mode

    def quantize(self, mode: Any = None, config: Any = None, *, type_check: bool = True) -> None:
        """Replace the weights by integers of few bits, for predictions.

        Dense, EinsumDense, Embedding and ReversibleEmbedding do so. Weights that are replaced
        learn no more.

        Args:
            mode: "int8" or "int4"; may be left out with a config.
            config: a `cdl.quantizers.QuantizationConfig`; None is that of the mode.
            type_check: whether subclasses of these layers are refused, which may compute
                otherwise.

        Raises:
            ValueError: a mode that is not known, a config of another one, a layer that is not
                built or is quantized already, or has more than 133,144 inputs: then int32 does not
                hold the sums of products of two integers of eight bits.
            NotImplementedError: a layer without it, or a mode of Keras's that cdl does not have.
        """
        quantizing.prepared(self, mode, resolved(mode, config), type_check)()

    def _quantizing(
        self, config: QuantizationConfig, type_check: bool
    ) -> Callable[[], None] | None:
        """Function that replaces the weights by integers; None for a layer that has none."""
        del config, type_check
        return None

    @property
    def path(self) -> str:
        """Prefix of the weights' paths: the names of the layers that built it, and its own."""
        return self._path

    @property
    def trainable_variables(self) -> list[Variable]:
        """Keras's other name of `trainable_weights`."""
        return self.trainable_weights

    @property
    def non_trainable_variables(self) -> list[Any]:
        """Members of `variables` that training leaves alone: all if the layer is not trainable."""
        if not self._trainable:
            return self.variables
        trained, others = self._sorted_variables()
        frozen = [each for each in trained if not each.trainable]
        states = [generator.state for generator in self._seed_generators]
        return self._gathered("non_trainable_variables", frozen, others, states)

    @property
    def trainable(self) -> bool:
        """Whether training changes the weights; a compiled model must be compiled again."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: Any) -> None:
        self._trainable = bool(value)
        _has_changed()
        for weight in self._direct_variables():
            weight.trainable = self._trainable and not self._is_frozen(weight)
        for layer in self._sublayers():
            layer.trainable = value

    def get_weights(self) -> list[NDArray[np.float32]]:
        """Copies of the weights, in the order of `weights`."""
        return [weight.numpy() for weight in self.weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Assign all weights, in the order of `weights`.

        Raises:
            ValueError: another number of arrays, or another shape; nothing is assigned then.
        """
        variables, owner = self.weights, f"{type(self).__name__} {self.name!r}"
        arrays = arrays_of_weights(weights, f"{owner}: set_weights")
        if len(weights) != len(variables):
            raise ValueError(
                f"{owner}: set_weights: weights must be {len(variables)} arrays, got {len(weights)}"
            )
        for weight, array in zip(variables, arrays, strict=True):
            if weight.shape != array.shape:
                raise ValueError(
                    f"{owner}: set_weights: {weight.path} must have shape {weight.shape}, "
                    f"got {array.shape}"
                )
        assign_all(zip(variables, arrays, strict=True))

    def count_params(self) -> int:
        """Number of scalars in the weights.

        Raises:
            ValueError: the layer is not built, so that this is not known.
        """
        if not self.built:
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: count_params needs a built layer; "
                "call build(input_shape) first"
            )
        return sum(int(np.prod(weight.shape)) for weight in self.weights)

    def save_own_variables(self, store: Any) -> None:
        """Save the weights that no layer within holds to a store, by "0", "1" ...

        A subclass may override this, and `load_own_variables` with it.

        Args:
            store: a mapping from names to arrays.
        """
        for i, weight in enumerate(self._filed_variables()):
            store[str(i)] = weight.numpy()

    def load_own_variables(self, store: Any) -> None:
        """Load the store that `save_own_variables` filled.

        Raises:
            ValueError: another number of arrays, or another shape.
        """
        variables = self._filed_variables()
        if len(store) != len(variables):
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: the file must have {len(variables)} "
                f"variables, got {len(store)}"
            )
        for i, weight in enumerate(variables):
            weight.assign(np.asarray(store[str(i)]))
