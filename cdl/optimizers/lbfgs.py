"""L-BFGS: steps by curvature that gradients show, of a length that a line search finds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from cdl._common.validation import positive_int
from cdl._tracing.variable import Variable
from cdl._variables.state import State
from cdl.optimizers.base_optimizer import Optimizer, registry
from cdl.optimizers.line_search import wolfe_step
from cdl.optimizers.schedules.schedule import LearningRateSchedule
from cdl.optimizers.settings import SHARED, hyper

Vector = NDArray[np.float64]

_NEUTRAL = {"ema_momentum": 0.99, "decay": 0.0}  # of arguments that are not None where not given


class Point(NamedTuple):
    """Weights as a vector, with the loss and its gradient there."""

    weights: Vector
    loss: float
    gradient: Vector


def dot(a: Vector, b: Vector) -> float:
    """Inner product that has the same bits at any number of threads of a BLAS."""
    with np.errstate(all="ignore"):  # a trial may be where nothing is finite
        return float(np.add.reduce(a * b))


def _largest(a: Vector) -> float:
    return float(np.max(np.abs(a), initial=0.0))


@registry.add()
class LBFGS(Optimizer):
    """L-BFGS with a line search, on the loss of all samples at once (Nocedal, 1980).

    Each epoch of `fit` is an iteration ``w += t * d`` on the whole data set: ``d = -H g``, where H
    is made of how the gradient g changed in the last `history_size` iterations, and the step t is
    one that satisfies the strong Wolfe conditions. An iteration takes one computation of loss and
    gradient, and some more where the line search asks. For small nets and regressions whose loss is
    to be made as small as can be. Loss and metrics of an epoch are those of the new weights. `fit`
    ends by itself where nothing more can be gained; in float32 that is where the loss no longer
    tells two points apart.

    `batch_size` must hold all samples, and does so by default; they stay as they are during `fit`,
    and in their order, since that does not matter: `shuffle` changes nothing.
    `train_on_batch` is an iteration on its batch. Dropout and noise are drawn anew in each
    iteration, and stay during its line search.

    Args:
        learning_rate: the step t that is tried first, once a gradient has been seen; see
            `Optimizer`.
        history_size: changes of the weights and of the gradient that are kept, at least 1.
        tolerance_grad: training ends where no element of the gradient is larger.
        tolerance_change: training ends with an iteration that changes no weight by more.
        max_line_search_steps: the most computations of the loss in a line search, at least 1.
        kwargs: `lr` and `decay`, see `Optimizer`.

    Raises:
        ValueError: an argument that is not known or has a wrong value, such as those of other
            optimizers that change gradients or weights by a rule of their own (`clipnorm`,
            `weight_decay`, `use_ema`, `rate_factors`), since the line search knows nothing of it;
            in `fit`, weights with constraints, regularizers that cannot be traced, or several
            batches an epoch.
    """

    _inner: tuple[str, ...] = ("iterate",)
    is_written = gathers = True  # the core only gathers gradients
    whole_batch = True
    history_size: int = hyper(check=positive_int)
    tolerance_grad: float = hyper(0.0)
    tolerance_change: float = hyper(0.0)
    max_line_search_steps: int = hyper(check=positive_int)

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule | Callable[[], float] = 1.0,
        history_size: int = 10,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        max_line_search_steps: int = 20,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        own: dict[str, Any] = {
            "history_size": history_size,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "max_line_search_steps": max_line_search_steps,
        }
        super().__init__(learning_rate, name=name, **own, **kwargs)
        self._check_unused()
        self._kept: State | None = None  # changes of weights and of gradients, the newest last
        self._count = State(0, dtype="int64", name="history_length", owner=self.name)
        self.converged = False

    def _check_unused(self, **changed: Any) -> None:
        for name in SHARED:
            value = changed.get(name, getattr(self, name))
            if name != "decay" and value != _NEUTRAL.get(name) and value is not False:
                raise ValueError(
                    f"LBFGS: {name} must not be given, since its line search compares losses along "
                    f"the gradient as it is, got {value!r}"
                )

    def _check_settings(self, **changed: Any) -> None:
        """ValueError for arguments without effect, and for another history of a built optimizer."""
        self._check_unused(**changed)
        size = changed.get("history_size", self.history_size)
        if self._kept is not None and size != self._kept.shape[1]:
            raise ValueError(
                f"LBFGS: history_size must be set before training begins, got {size!r} after "
                f"{self._kept.shape[1]}"
            )
        for argument, own in self._hypers.items():
            own.checked("LBFGS", argument, changed.get(argument, getattr(self, argument)))

    def build(self, var_list: Sequence[Variable]) -> None:
        """Create the history of the weights to train; a second call for them does nothing.

        Raises:
            ValueError: a weight has a constraint, or was not there when this was called first.
        """
        for each in var_list:
            if getattr(each, "constraint", None) is not None:
                raise ValueError(
                    f"LBFGS: {each.path!r} must have no constraint, got {each.constraint!r}: the "
                    "line search does not know of it"
                )
        super().build(var_list)
        if self._kept is None:
            size = sum(int(np.prod(each.shape)) for each in self._slots.of_weights)
            empty = np.zeros((2, self.history_size, size))
            self._kept = State(empty, dtype="float64", name="history", owner=self.name)

    @property
    def variables(self) -> list[Any]:
        """iteration, learning_rate (unless scheduled), then the history and its length."""
        return [*super().variables, *([] if self._kept is None else [self._count, self._kept])]

    def iterate(self, evaluate: Callable[[Vector], Point], start: Point) -> Point:
        """Make one iteration from `start`; the last evaluation is at the point where it ends.

        Args:
            evaluate: gives the point of weights, which it may round.
            start: where to begin.
        """
        flat = not self.tolerance_grad < _largest(start.gradient) < math.inf
        end = evaluate(start.weights) if flat else self._searched(evaluate, start)
        still = flat or _largest(end.weights - start.weights) <= self.tolerance_change
        self.converged = still or _largest(end.gradient) <= self.tolerance_grad
        return end

    def _searched(self, evaluate: Callable[[Vector], Point], start: Point) -> Point:
        """The point that a line search finds, by the history or, if that leads nowhere, without."""
        rate, used = self.rate(self.step), int(self._count)
        while True:
            direction = self._direction(start.gradient, used)
            seen: dict[float, Point] = {}

            def along(t: float, direction: Vector = direction, seen: Any = seen) -> Any:
                seen[t] = evaluate(start.weights + t * direction)
                return seen[t].loss, dot(seen[t].gradient, direction)

            slope = dot(direction, start.gradient)
            found = wolfe_step(along, start.loss, slope, rate, self.max_line_search_steps)
            if found:
                break
            if not used:
                return evaluate(start.weights)
            used = 0
        end = seen[found]
        if next(reversed(seen)) != found:
            end = evaluate(end.weights)
        self._remember(end.weights - start.weights, end.gradient - start.gradient, used)
        return end

    def _direction(self, gradient: Vector, used: int) -> Vector:
        """``-H g`` by so much of the history (Nocedal's two loops); without one, ``-g`` cut."""
        if not used or self._kept is None:
            return -gradient * min(1.0, 1.0 / max(float(np.abs(gradient).sum()), 1e-300))
        steps, changes = self._kept._array[:, -used:]
        rhos = (1.0 / np.add.reduce(steps * changes, axis=1)).tolist()
        direction, alphas = -gradient, [0.0] * used
        for i in reversed(range(used)):
            alphas[i] = rhos[i] * dot(steps[i], direction)
            direction -= alphas[i] * changes[i]
        direction /= rhos[-1] * dot(changes[-1], changes[-1])
        for i in range(used):
            direction += steps[i] * (alphas[i] - rhos[i] * dot(changes[i], direction))
        return direction

    def _remember(self, step: Vector, change: Vector, used: int) -> None:
        """Add an iteration's changes to so much of the history, if the curvature is positive."""
        kept = self._kept
        assert kept is not None
        if dot(step, change) > np.finfo(np.float64).eps * dot(change, change):
            newest = np.stack([step, change])[:, None]
            kept.assign(np.concatenate([kept._array[:, 1:], newest], axis=1))
            used = min(used + 1, self.history_size)
        self._count.assign(used)

    def apply(
        self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None
    ) -> NoReturn:
        """Not defined: ValueError, since the line search computes the loss anew.

        Args:
            grads: gradients.
            trainable_variables: the weights.

        Raises:
            ValueError: always.
        """
        del grads, trainable_variables
        raise ValueError(
            "LBFGS: apply must not be called, since a line search computes the loss at several "
            "points: use compile() and fit(), or train_on_batch()"
        )

    def stateless_apply(
        self,
        optimizer_variables: Sequence[Any],
        grads: Sequence[Any],
        trainable_variables: Sequence[Any],
    ) -> NoReturn:
        """Not defined: ValueError, as for `apply`.

        Args:
            optimizer_variables: values of `variables`.
            grads: gradients.
            trainable_variables: values of the weights.

        Raises:
            ValueError: always.
        """
        del optimizer_variables
        self.apply(grads, trainable_variables)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config().items()
        return {name: value for name, value in config if name == "decay" or name not in SHARED}
