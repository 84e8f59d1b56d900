"""Metric: the base of metrics, with states that batches update and a result.

`Metric` is subclassed for custom metrics; `Mean` and `Sum` accumulate values; `MeanMetricWrapper`
makes a metric of a function. The metrics of the core are in core_metric.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdl import initializers
from cdl._common.dtypes import floatx
from cdl._common.naming import snake_case, unique
from cdl._common.validation import expected
from cdl._configs import allocation_limit
from cdl._configs.arguments import Configured, own_arguments
from cdl._configs.identifiers import Registry, serialize
from cdl._tracing.graph import KerasTensor
from cdl._tracing.untraced import Untraced
from cdl._tracing.variable import Variable
from cdl._variables.state import State
from cdl.dtype_policies import DTypePolicy
from cdl.losses.loss import Loss, as_array, same_rank
from cdl.losses.loss import registry as losses
from cdl.metrics.call_metrics import observe

Array = NDArray[Any]

registry = Registry(
    "metric", "keras.metrics", "a name, a config, a Metric or a function of (y_true, y_pred)"
)


class Metric(Configured):
    """Base of metrics; a subclass overrides `update_state` and `result`.

    Args:
        dtype: that states are kept in, float32 unless given; floats of other sizes and integers
            are for metrics in which that means something, such as counts.
        name: of the metric; None makes one from the class.

    Attributes:
        dtype: its name.
        heeds_masks: whether masked lines of the predictions are left out in `fit` and `evaluate`;
            as in Keras, only by means of a function's values.
    """

    heeds_masks = False
    _not_in_config: tuple[str, ...] = ()  # constructor arguments that configs leave out

    def __init__(self, dtype: Any = None, name: str | None = None) -> None:
        self.name = name or unique(type(self))
        self.dtype = dtype_name(type(self).__name__, dtype)
        self._states: list[State] = []

    def add_variable(
        self,
        shape: Sequence[int] = (),
        initializer: Any = "zeros",
        dtype: Any = None,
        aggregation: str | None = "sum",
        name: str | None = None,
    ) -> State:
        """Create a state of the metric; `reset_state` sets it to 0.

        Args:
            shape: its shape.
            initializer: its initial values: a name, an instance or a function of a shape; None is
                zeros.
            dtype: of the state, float32 unless given.
            aggregation: accepted as in Keras, without effect.
            name: of the state.
        """
        del aggregation
        self._check_made()
        allocation_limit.spend(f"{self.name}: {name}", shape)
        values = (initializers.get(initializer) or initializers.Zeros())(tuple(shape), dtype=dtype)
        state = State(
            values, dtype=dtype or floatx(), name=name or unique("variable"), owner=self.name
        )
        self._states.append(state)
        return state

    def add_weight(
        self,
        shape: Sequence[int] = (),
        initializer: Any = None,
        dtype: Any = None,
        name: str | None = None,
    ) -> State:
        """The older name of `add_variable`."""
        return self.add_variable(shape, initializer, dtype, name=name)

    _kinds_of_states: tuple[type, ...] = (State, Variable)

    @property
    def variables(self) -> list[State]:
        """The states, then variables of other attributes and of metrics there."""
        self._check_made()
        found = {id(state): state for state in self._states}
        attributes = (value for name, value in vars(self).items() if name != "_states")
        for state in _states_in(attributes, self._kinds_of_states):
            found.setdefault(id(state), state)
        return list(found.values())

    @property
    def _dtype(self) -> str:  # what subclasses of Keras's Metric call it
        return self.dtype

    def _check_made(self) -> None:
        if "_states" not in vars(self):
            raise RuntimeError(
                f"{type(self).__name__}: __init__ must call super().__init__() before all else"
            )

    def reset_state(self) -> None:
        """Set all states to 0."""
        for state in self.variables:
            state.assign(np.zeros(state.shape))

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Add a batch to the states; to be overridden.

        Args:
            args: targets, predictions and weights of samples, or values and their weights.
            kwargs: the same by name.

        Raises:
            ValueError: shapes that do not fit.
        """
        raise NotImplementedError(f"{type(self).__name__} must override update_state")

    def result(self) -> Any:
        """The value of the states, a number or a dict of numbers; to be overridden."""
        raise NotImplementedError(f"{type(self).__name__} must override result")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call `update_state`, then return `result`."""
        self._check_made()
        self.update_state(*args, **kwargs)
        return self.result()

    def stateless_update_state(
        self, metric_variables: Sequence[Any], *args: Any, **kwargs: Any
    ) -> list[Array]:
        """The values of `variables` after an update from other ones; the metric stays as it is."""
        return self._apart(metric_variables, lambda: self.update_state(*args, **kwargs))[0]

    def stateless_result(self, metric_variables: Sequence[Any]) -> Any:
        """The result for other values of `variables`."""
        return self._apart(metric_variables, self.result)[1]

    def stateless_reset_state(self) -> list[Array]:
        """The values of `variables` after a reset; the metric stays as it is."""
        return self._apart([state.numpy() for state in self.variables], self.reset_state)[0]

    def _apart(self, values: Sequence[Any], act: Callable[[], Any]) -> tuple[list[Array], Any]:
        """Call a function with other values in the variables: their new values, and its result."""
        states = self.variables
        if len(values) != len(states):
            raise ValueError(
                f"{type(self).__name__}: metric_variables must be {len(states)} arrays, one for "
                f"each of variables, got {len(values)}"
            )
        kept = [state.numpy() for state in states]
        try:
            for state, value in zip(states, values, strict=True):
                state.assign(value)
            result = act()
            return [state.numpy() for state in states], result
        finally:
            for state, value in zip(states, kept, strict=True):
                state.assign(value)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments as a dict, for `from_config`."""
        return {"name": self.name, "dtype": self.dtype, **own_arguments(self, Metric)}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"


@registry.add()
class Sum(Metric):
    """Sum, weighted by sample weights, of all values."""

    def __init__(self, name: str | None = "sum", dtype: Any = None) -> None:
        super().__init__(dtype, name)
        self.total = self.add_variable((), "zeros", self.dtype, name="total")

    def update_state(self, values: ArrayLike, sample_weight: Any = None) -> None:
        """Add values, each times its weight.

        Args:
            values: an array or a number.
            sample_weight: an array that fits the values, or None.
        """
        values, _ = _by_sample(self, values, sample_weight, np.sum)
        self.total.assign_add(values.sum())

    def result(self) -> Any:
        """The sum so far."""
        return self.total.numpy()[()]


@registry.add()
class Mean(Metric):
    """Mean, weighted by sample weights, of all values; each sample's values are averaged first.

    Examples:
        >>> metric = cdl.metrics.Mean()
        >>> metric.update_state([1.0, 2.0, 6.0])
        >>> float(metric.result())
        3.0
    """

    _inner: tuple[str, ...] = ("finish", "load", "value_of")

    def __init__(self, name: str | None = "mean", dtype: Any = None) -> None:
        super().__init__(dtype, name)
        self.total = self.add_variable((), "zeros", self.dtype, name="total")
        self.count = self.add_variable((), "zeros", self.dtype, name="count")

    def update_state(self, values: ArrayLike, sample_weight: Any = None) -> None:
        """Add values, each times its weight, to the sum, and the weights to the count.

        In traced code, such as the `call` of a layer, they may be symbolic: then the core adds them
        up, and the value of the metric is in the logs.

        Args:
            values: an array whose first axis are the samples, or a number.
            sample_weight: an array that fits the values, or None.
        """
        if isinstance(values, KerasTensor):
            observe(self, values, sample_weight)
            return
        values, weight = _by_sample(self, values, sample_weight, np.mean)
        self.total.assign_add(values.sum())
        if weight is not None:
            self.count.assign_add(weight.sum())
        else:
            self.count.assign_add(len(values) if values.ndim else 1)

    @staticmethod
    def finish(total: float, count: float) -> float:
        """The mean for a total and a count."""
        return total / count if count else 0.0

    def load(self, state: Sequence[float]) -> None:
        """Load the sum and the weights that the core has accumulated."""
        self.total.assign(state[0])
        self.count.assign(state[1])

    def value_of(self, state: Sequence[float]) -> float:
        """The value that such a state has, in double precision."""
        return self.finish(*state)

    def result(self) -> Any:
        """The mean so far; 0 if nothing was added."""
        value = self.finish(float(self.total), float(self.count))
        kept = np.dtype(self.dtype)
        return (kept if kept.kind == "f" else np.dtype(np.float32)).type(value)


@registry.add()
class MeanMetricWrapper(Mean):
    """Mean of a function's value of each sample.

    Args:
        fn: a function of ``(y_true, y_pred)``.
        kwargs: further arguments of `fn`.

    Raises:
        ValueError: `fn` is no function.
    """

    _inner: tuple[str, ...] = ("fn", "kwargs", "untraced")
    heeds_masks = True
    untraced: Untraced | None = None  # why the function runs in Python, if it has been tried

    def __init__(
        self, fn: Callable[..., Any], name: str | None = None, dtype: Any = None, **kwargs: Any
    ) -> None:
        if not callable(fn):
            raise ValueError(f"MeanMetricWrapper: fn must be a function, got {fn!r}")
        super().__init__(name or unique(type(self)), dtype)
        self.fn = fn
        self.kwargs = kwargs
        if fn in losses or isinstance(fn, Loss):
            self._direction = "down"

    def update_state(  # type: ignore[override]
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        """Add a batch.

        Args:
            y_true: targets.
            y_pred: predictions.
            sample_weight: an array that fits the function's values, or None.
        """
        if isinstance(y_pred, KerasTensor):
            super().update_state(self.fn(y_true, y_pred, **self.kwargs), sample_weight)
            return
        owner = type(self).__name__
        y, p = as_array(owner, "y_true", y_true), as_array(owner, "y_pred", y_pred)
        super().update_state(self.fn(y, p, **self.kwargs), sample_weight)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "fn": serialize(self.fn), **serialize(self.kwargs)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Create a metric from the dict of `get_config`; the function is one of `losses`."""
        fn = config["fn"]
        return cls(**{**config, "fn": fn if callable(fn) else losses.deserialize(fn)})


def _states_in(values: Iterable[Any], kinds: tuple[type, ...]) -> Iterator[Any]:
    """States among values, those of metrics, and those in lists, tuples and dicts."""
    for value in values:
        if isinstance(value, kinds):
            yield value
        elif isinstance(value, Metric):
            yield from value.variables
        elif isinstance(value, (list, tuple)):
            yield from _states_in(value, kinds)
        elif isinstance(value, dict):
            yield from _states_in(value.values(), kinds)


def name_of(function: Callable[..., Any]) -> str:
    """Default name of a metric made of a function or a callable object."""
    return snake_case(getattr(function, "__name__", type(function).__name__))


def dtype_name(owner: str, dtype: Any) -> str:
    """Name of a metric's dtype: floatx for None, int32 for "int", a policy's compute dtype."""
    if dtype is None:
        return floatx()
    name = dtype
    if isinstance(dtype, Mapping):
        name = dtype.get("config", {}).get("name")
    elif not isinstance(dtype, (str, type)) and hasattr(dtype, "name"):
        name = dtype.name
    name = {"float": "float32", float: "float32"}.get(name, name)
    name = {"int": "int32", int: "int32"}.get(name, name)
    if isinstance(name, str) and name.startswith("mixed_"):
        name = DTypePolicy(name).compute_dtype
    if name == "bfloat16" or getattr(name, "__name__", "") == "bfloat16":
        return "bfloat16"
    try:
        kept = np.dtype(name)
    except TypeError:
        raise expected(owner, "dtype", "the name of a dtype such as 'float32'", dtype) from None
    if kept.kind not in "fiu" or kept.name == "longdouble":
        raise expected(owner, "dtype", "one of floats or integers", dtype)
    return str(kept.name)


def _by_sample(
    metric: Metric, values: ArrayLike, sample_weight: Any, reduce: Callable[..., Any]
) -> tuple[Array, Array | None]:
    """Reduce values to one weighted value and one weight per sample.

    Values of higher rank than their weights are brought to the weights' rank first; then both are
    brought to one number a sample.
    """
    owner = type(metric).__name__
    values = as_array(owner, "values", values).astype(metric.dtype)
    if sample_weight is None:
        return _inner(values, reduce, 1), None
    weight = as_array(owner, "sample_weight", sample_weight).astype(metric.dtype)
    values, weight = same_rank(values, weight)
    values = _inner(values, reduce, weight.ndim)
    try:
        weight = np.broadcast_to(weight, values.shape)
    except ValueError:
        raise ValueError(
            f"{owner}: sample_weight must fit values of shape {values.shape}, "
            f"got shape {weight.shape}"
        ) from None
    return _inner(values * weight, reduce, 1), _inner(weight, reduce, 1)


def _inner(values: Array, reduce: Callable[..., Any], rank: int) -> Array:
    """`values` with the axes from number `rank` on reduced."""
    if values.ndim <= rank:
        return values
    return np.asarray(reduce(values, axis=tuple(range(rank, values.ndim))))
