"""Solver "lbfgs": SciPy's L-BFGS-B on loss and gradient of all rows at once."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cdl._core import Executor, Parameter
from cdl.data import as_rows
from cdl.layers import Dense
from cdl.sklearn.batches import Batches
from cdl.sklearn.mlp import Objective, lower
from cdl.sklearn.parameters import Settings

if TYPE_CHECKING:
    from cdl.models.sequential import Sequential

_LINE_SEARCH_ENDED = 2  # SciPy's status


class _Function:
    """Loss and gradient as a function of one vector: all kernels, then all biases.

    The gradient is read from the slot of a step of SGD without momentum, which is ``-rate * g``.
    """

    def __init__(
        self,
        model: Sequential,
        objective: Objective,
        alpha: float,
        data: tuple[Any, ...],
        batches: Batches,
        lacking: NDArray[np.float64] | None,
    ) -> None:
        dense = [layer for layer in model.layers if isinstance(layer, Dense)]
        kernels = [layer.kernel for layer in dense]
        self._variables: list[Any] = [*kernels, *(layer.bias for layer in dense)]
        self._slots = [Parameter(v.shape, v.storage.matrix) for v in self._variables]
        self._epoch = batches.next_epoch(np.random.RandomState())
        self._data = [*data] if self._epoch.weight is None else [*data, self._epoch.weight]
        self._rows = batches.rows
        self._shown = objective.shown
        self._constant = 0.0 if lacking is None else self._epoch.mean(lacking)
        self._executor = Executor(
            lower(model, objective, batches.weighted),
            batches.rows,
            training=True,
            optimizer=(
                "sgd_momentum",
                {"momentum": 0.0},
                {v: [slot] for v, slot in zip(self._variables, self._slots, strict=True)},
            ),
            rules={"penalties": {kernel: (0.0, 0.5 * alpha) for kernel in kernels}},
        )
        self.shown = np.nan  # the loss as scikit-learn shows it

    def assign(self, weights: NDArray[np.float64]) -> None:
        """Set the net's weights from the vector."""
        sizes = np.cumsum([np.prod(v.shape, dtype=int) for v in self._variables])[:-1]
        for variable, part in zip(self._variables, np.split(weights, sizes), strict=True):
            variable.assign(part.reshape(variable.shape))

    def weights(self) -> NDArray[np.float64]:
        """Weights of the net as a vector."""
        return np.concatenate([v.numpy().ravel() for v in self._variables]).astype(np.float64)

    def __call__(self, weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        self.assign(weights)
        executor = self._executor
        executor.reset()
        executor.begin(self._data, self._rows, self._epoch.order)
        executor.train(1, 0.0, np.ones(1, np.float32), 0, 0, self._epoch.shares)
        (loss,) = executor.results()
        penalty, rows = executor.penalty()
        penalty /= rows or 1.0
        self.shown = loss * self._shown + penalty + self._constant
        gradient = np.concatenate([slot.get().ravel() for slot in self._slots])
        return loss + penalty, -gradient.astype(np.float64)


def run(
    estimator: Any,
    settings: Settings,
    objective: Objective,
    x: Any,
    y: NDArray[Any],
    weight: NDArray[Any] | None,
) -> None:
    """Minimize the loss; sets the weights of the estimator's net, `loss_` and `n_iter_`."""
    from scipy.optimize import minimize

    batches = Batches(x, y, weight, x.shape[0], False)
    lacking = estimator._lacking(y)
    function = _Function(
        estimator.model_, objective, settings.alpha, (as_rows(x, "X"), y), batches, lacking
    )
    done = 0

    def tell(_: Any) -> None:
        nonlocal done
        done += 1
        if settings.verbose:
            print(f"Iteration {done}, loss = {function.shown:.8f}")

    result = minimize(
        function,
        function.weights(),
        method="L-BFGS-B",
        jac=True,
        callback=tell,
        options={"maxfun": settings.max_fun, "maxiter": settings.max_iter, "gtol": settings.tol},
    )
    function(result.x)
    function.assign(result.x)
    estimator.loss_ = function.shown
    estimator.n_iter_ = min(int(result.nit), settings.max_iter)
    # In float32 a line search ends where the loss no longer tells two points apart: that is all
    # there is to reach.
    if result.status not in (0, _LINE_SEARCH_ENDED):
        from sklearn.exceptions import ConvergenceWarning

        warnings.warn(
            f"lbfgs failed to converge after {estimator.n_iter_} iteration(s) (status="
            f"{result.status}): {result.message}. Increase max_iter or max_fun, or scale the data.",
            ConvergenceWarning,
            stacklevel=5,
        )
