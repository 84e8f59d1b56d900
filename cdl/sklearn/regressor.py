"""CDLRegressor: MLPRegressor's parameters and attributes on the compiled core."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from cdl._common.validation import one_of
from cdl.losses import MeanSquaredError, Poisson
from cdl.sklearn.base import FORMATS, Perceptron
from cdl.sklearn.mlp import Objective
from cdl.sklearn.parameters import has_partial_fit, keep
from cdl.sklearn.versions import RegressorMixin, available_if, validated


class CDLRegressor(RegressorMixin, Perceptron):
    """Multi-layer perceptron regressor, like scikit-learn's MLPRegressor.

    It minimizes ``(sum w l + alpha / 2 |coefs|^2) / sum w`` over batches of rows, where l is half
    the squared error, summed over the outputs, or Poisson's deviance. Parameters, defaults and
    attributes are MLPRegressor's (1.9). It computes in float32.

    Args:
        loss: "squared_error" or "poisson"; the latter is for counts, and predicts ``exp(z)``.
        early_stopping: whether to hold out rows, and to stop, and go back, by R2 there.

    Attributes:
        model_: the net; this and all others are those of `CDLClassifier`, but for `classes_`.
    """

    loss: str

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
    ) -> None:
        keep(locals())

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on rows X with targets y.

        Args:
            X: array, sparse matrix or data frame of shape (rows, features).
            y: a number for each row, or a row of them.
            sample_weight: a weight for each row; 2 is the same as the row twice, 0 as if it were
                not there.

        Raises:
            ValueError: a parameter or data that do not fit.
        """
        return self._fit(X, y, sample_weight, False)

    @available_if(has_partial_fit)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one epoch, from the current weights; arguments as in `fit`."""
        return self._fit(X, y, sample_weight, True)

    def predict(self, X: Any) -> NDArray[Any]:
        """Predicted number, or a row of them, for each row."""
        outputs = self._outputs(X)
        return outputs.ravel() if self.n_outputs_ == 1 else outputs

    # Methods that the base calls

    def _validated(self, x: Any, y: Any, first: bool) -> Any:
        if y is None and not first:
            return validated(self, x, accept_sparse=FORMATS, reset=False)
        return validated(
            self, x, y, accept_sparse=FORMATS, multi_output=True, y_numeric=True, reset=first
        )

    def _targets(self, y: Any, first: bool, incremental: bool, classes: Any) -> NDArray[Any]:
        if not isinstance(self.loss, str):
            raise ValueError(
                "CDLRegressor: loss, the first argument, must be 'squared_error' or 'poisson', "
                f"got {self.loss!r}"
            )
        one_of("CDLRegressor", "loss", self.loss, ("squared_error", "poisson"))
        outputs = y.shape[1] if y.ndim > 1 else 1
        if not first and outputs != self.n_outputs_:
            raise ValueError(
                f"CDLRegressor: y must have {self.n_outputs_} columns as before, got {outputs}"
            )
        if self.loss == "poisson" and (y < 0).any():
            raise ValueError("CDLRegressor: y must be at least 0 for loss='poisson'")
        self._width = outputs
        targets: NDArray[Any] = y
        return targets

    def _objective(self) -> Objective:
        width = float(self._width)
        if self.loss == "poisson":
            return Objective("exponential", self._width, Poisson(), width)
        return Objective("linear", self._width, MeanSquaredError(), 0.5 * width, 1.0 / width)

    def _lacking(self, y: NDArray[Any]) -> NDArray[np.float64] | None:
        if self.loss != "poisson":
            return None
        from scipy.special import xlogy

        rows: NDArray[np.float64] = (xlogy(y, y) - y).astype(np.float64)
        return rows if y.ndim == 1 else rows.sum(axis=1)

    def _scored(self, x: Any, y: NDArray[Any], weight: Any) -> Callable[[], float]:
        from sklearn.metrics import r2_score

        def r2() -> float:
            outputs = self._outputs_for(x).reshape(y.shape)
            if not np.isfinite(outputs).all():
                return np.nan
            return float(r2_score(y, outputs, sample_weight=weight))

        return r2

    def _more_tags(self) -> dict[str, Any]:
        return {"multioutput": True}

    def __sklearn_tags__(self) -> Any:
        """Tags of scikit-learn: several outputs a row, sparse X."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.input_tags.sparse = True
        return tags
