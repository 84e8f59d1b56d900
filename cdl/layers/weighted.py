"""Weighted: the weights of a layer, its own and those of the layers within it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl import constraints, dtype_policies, initializers, regularizers
from cdl._common.dtypes import FLOATS, LOW, floatx, standardize_dtype
from cdl._common.naming import unique
from cdl._common.validation import expected, flag
from cdl._tracing.integer_variable import WholeNumbers
from cdl._tracing.variable import Variable
from cdl._variables.assigning import assign_all
from cdl._variables.program_caches import invalidate_programs
from cdl._variables.state import State
from cdl.data import arrays_of_weights
from cdl.dtype_policies import DTypePolicy, DTypePolicyMap
from cdl.layers.calling import is_scripted
from cdl.layers.quantizing import Quantizing
from cdl.layers.running import path_of
from cdl.layers.tracking import Tracking

if TYPE_CHECKING:
    from numpy.typing import NDArray


_changes = 0


def changes() -> int:
    """How often layers got weights or changed their `trainable`: if it has not moved, none did."""
    return _changes


def _has_changed() -> None:
    global _changes  # noqa: PLW0603 - one number for all layers, since they know no model
    _changes += 1


def _without_names(owner: str, args: tuple[Any, ...], given: dict[str, Any]) -> list[Any]:
    """The values of `given`, of which `args` are the first."""
    owner = f"{owner}: add_weight"
    if len(args) > len(given):
        raise TypeError(f"{owner} takes at most {len(given)} positional arguments, got {len(args)}")
    if isinstance(args[0], str):
        raise ValueError(
            f"{owner}: shape must be a tuple, got {args[0]!r}; give the name as a keyword argument"
        )
    for name in list(given)[: len(args)]:
        if given[name] is not None:
            raise ValueError(
                f"{owner}: `{name}` was passed both positionally and as a keyword argument"
            )
    return [*args, *list(given.values())[len(args) :]]


class Weighted(Tracking, Quantizing):
    """Mixin of layers: weights."""

    name: str
    _trainable: bool
    _building: bool
    _path: str
    _dtype_policy: DTypePolicy
    autocast: bool
    _in_float32: bool
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
        """A new weight of this layer; to be called in `build` or `__init__`.

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
                Python.

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
        whole = np.dtype(kept_dtype).kind in "biu" if kept_dtype not in FLOATS else False
        if kept_dtype not in FLOATS and not whole:
            wanted = f"one of {FLOATS}, integers or bool"
            raise expected(owner, f"dtype of weight {name!r}", wanted, kept_dtype)
        if whole and trainable:
            raise ValueError(
                f"{owner}: weight {name!r} of {kept_dtype} does not learn: give trainable=False"
            )
        shape = () if shape is None else tuple(shape)
        if any(size is None for size in shape):
            raise ValueError(
                f"{owner}: shape of weight {name!r} must be fully-defined (no `None` dimensions), "
                f"got {shape}: an Input, or a layer before this one, must give that axis a size"
            )
        by_default = "zeros" if whole else "glorot_uniform"
        first = initializers.get(by_default if initializer is None else initializer)
        assert first is not None
        if matrix is None:
            matrix = 2 <= len(shape) <= 5 and is_scripted(type(self))
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
        return weight

    def add_variable(self, shape: Sequence[int], initializer: Any, **options: Any) -> Variable:
        """The same as `add_weight`, of which it takes the other arguments by name."""
        return self.add_weight(shape, initializer, **options)

    def _is_closed(self) -> bool:
        """Whether no more weights may be added."""
        return self.built and not self._building

    @property
    def weights(self) -> list[Variable]:
        """All weights: those that can be trained, then the others, then those of layers within."""
        return self._gathered("weights", *self._sorted_variables())

    @property
    def trainable_weights(self) -> list[Variable]:
        """The weights that training changes; none if the layer is not trainable."""
        if not self._trainable:
            return []
        trained, _ = self._sorted_variables()
        return self._gathered("trainable_weights", [each for each in trained if each.trainable])

    @property
    def non_trainable_weights(self) -> list[Variable]:
        """The weights that training leaves alone; all if the layer is not trainable."""
        if not self._trainable:
            return self.weights
        trained, others = self._sorted_variables()
        frozen = [each for each in trained if not each.trainable]
        return self._gathered("non_trainable_weights", frozen, others)

    def _sorted_variables(self) -> tuple[list[Variable], list[Variable]]:
        """The layer's own weights: those that can be trained, and the others."""
        sides: tuple[list[Variable], list[Variable]] = ([], [])
        frozen = self._frozen
        for weight in self._direct_variables():
            sides[weight in frozen or isinstance(weight, State)].append(weight)
        return sides

    def _filed_variables(self) -> list[Any]:
        """What files have of the layer's own weights, in order: each has a shape and `assign`."""
        trained, others = self._sorted_variables()
        return [*trained, *others]

    def _is_frozen(self, weight: Variable | State) -> bool:
        """Whether a weight of the layer's own is one that is never trained."""
        return weight in self._frozen or isinstance(weight, State)

    def _gathered(self, what: str, *variables: list[Any]) -> list[Any]:
        """The layer's own variables, and those of the layers within it, each once."""
        found = {id(weight): weight for part in variables for weight in part}
        for layer in self._sublayers():
            for weight in getattr(layer, what):
                found.setdefault(id(weight), weight)
        return list(found.values())

    @property
    def variables(self) -> list[Any]:
        """The weights, and the states of the seed generators, each behind those of its layer."""
        states = [generator.state for generator in self._seed_generators]
        return self._gathered("variables", *self._sorted_variables(), states)

    @property
    def dtype_policy(self) -> DTypePolicy:
        """Which dtype the layer computes in and which its weights have; may be set.

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
        """The policy, or what a map of policies has for the layer's path."""
        policy = self._dtype_policy
        return policy[self.path] if isinstance(policy, DTypePolicyMap) and self.path else policy

    @property
    def compute_dtype(self) -> str:
        """The dtype that the layer computes in, and that its outputs have."""
        return self._own_policy().compute_dtype

    @property
    def input_dtype(self) -> str:
        """The dtype that floats are cast to when the layer is called, but for `autocast=False`."""
        return self.compute_dtype

    @property
    def variable_dtype(self) -> str:
        """The dtype of the weights."""
        return self._own_policy().variable_dtype

    @property
    def dtype(self) -> str:
        """The same as `variable_dtype`, but for layers of texts and for inputs."""
        return self.variable_dtype if self._told_dtype is None else self._told_dtype

    def _output_dtype(self) -> str | None:
        """The dtype of floats that it gives; None where others than itself say that."""
        dtype = self.compute_dtype
        return dtype if dtype in FLOATS else None

    def _symbolic_dtype(self) -> str:
        """The dtype of a symbolic tensor that it gives for one of floats."""
        return self._output_dtype() or floatx()

    def _input_dtype(self) -> str | None:
        """The dtype that floats are cast to before it computes with them; None: they are not."""
        dtype = self.compute_dtype
        return dtype if self.autocast and dtype in FLOATS else None

    def _autocast_dtype(self, around: str | None) -> str | None:
        """The dtype of 16 bits in which it reads weights that autocast; None: each in its own.

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
        """How the weights are quantized, such as "int8"; None if they are not."""
        return self._own_policy().quantization_mode

    @property
    def path(self) -> str:
        """The first part of the paths of the weights: the names of those that built it, its own."""
        return self._path

    @property
    def trainable_variables(self) -> list[Variable]:
        """The same as `trainable_weights`."""
        return self.trainable_weights

    @property
    def non_trainable_variables(self) -> list[Any]:
        """Those of `variables` that training leaves alone: all if the layer is not trainable."""
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
                    f"{owner}: set_weights: {weight.name} must have shape {weight.shape}, "
                    f"got {array.shape}"
                )
        assign_all(zip(variables, arrays, strict=True))

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
        return sum(int(np.prod(weight.shape)) for weight in self.weights)

    def save_own_variables(self, store: Any) -> None:
        """Put the weights that no layer within holds into a store, by "0", "1" ...

        A subclass may override this, and `load_own_variables` with it.

        Args:
            store: a mapping from names to arrays.
        """
        for i, weight in enumerate(self._filed_variables()):
            store[str(i)] = weight.numpy()

    def load_own_variables(self, store: Any) -> None:
        """Assign what `save_own_variables` put there.

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
