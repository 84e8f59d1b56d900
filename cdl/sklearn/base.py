"""Common base of CDLClassifier and CDLRegressor: `fit` from checked data to a net."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdl._common.errors import Hinting
from cdl.data import as_numeric, as_rows
from cdl.sklearn import parameters, training
from cdl.sklearn.batches import Batches
from cdl.sklearn.meeting_backend import register
from cdl.sklearn.mlp import Objective, Trainer, new_model, new_optimizer
from cdl.sklearn.parameters import Parameters, Settings
from cdl.sklearn.thread_share import shared_threads
from cdl.sklearn.versions import BaseEstimator

register()

FORMATS = ("csr",)  # of sparse matrices, into which scikit-learn makes all others


class Perceptron(Parameters, BaseEstimator, Hinting):
    """Base of the two estimators; a subclass has the form of targets and the loss.

    Args:
        hidden_layer_sizes: widths of the hidden layers; () for none.
        activation: of the hidden layers: "identity", "logistic", "tanh", "relu", or any name of
            `cdl.activations`.
        solver: "adam", "sgd" or "lbfgs".
        alpha: strength of the penalty.
        batch_size: rows of a batch; "auto" is 200, or all if there are fewer.
        learning_rate: how "sgd" changes the rate: "constant"; "invscaling", divided by
            ``(t_ + 1) ** power_t`` after each epoch; "adaptive", divided by 5 where training would
            otherwise end.
        learning_rate_init: the first rate of "adam" and "sgd".
        power_t: see `learning_rate`.
        max_iter: the most epochs, or iterations of "lbfgs".
        shuffle: whether each epoch takes the rows in a new order.
        random_state: seed or generator of initial weights, orders and rows for validation.
        tol: how much better loss or score must get, for training to go on.
        verbose: whether to print the loss of each epoch.
        warm_start: whether `fit` goes on from the weights that are there.
        momentum: of "sgd".
        nesterovs_momentum: whether that is Nesterov's.
        validation_fraction: which part of the rows to hold out.
        beta_1: of "adam".
        beta_2: of "adam".
        epsilon: of "adam".
        n_iter_no_change: after how many epochs that were not better training ends.
        max_fun: the most calls of the loss by "lbfgs".
    """

    model_: Any
    n_features_in_: int
    _rate: float  # of the coming epoch
    _no_improvement_count: int
    _trainer: tuple[Any, Trainer] | None = None  # of the last `partial_fit`
    _best_weights: list[NDArray[np.float32]]

    def __getstate__(self) -> dict[str, Any]:
        """Attributes to pickle and copy: all but the built core."""
        state = dict(super().__getstate__())
        state.pop("_trainer", None)
        return state

    # Methods of subclasses

    def _objective(self) -> Objective:
        raise NotImplementedError

    def _validated(self, x: Any, y: Any, first: bool) -> Any:
        """X and y, or X for y=None, as scikit-learn has checked them."""
        raise NotImplementedError

    def _targets(self, y: Any, first: bool, incremental: bool, classes: Any) -> NDArray[Any]:
        """Targets in the form of the loss; their kind is stored in the first fit."""
        raise NotImplementedError

    def _weights_of_classes(self, y: Any, incremental: bool) -> NDArray[Any] | None:
        return None

    def _lacking(self, y: NDArray[Any]) -> NDArray[np.float64] | None:
        """Per-row difference between scikit-learn's loss and the core's, or None."""
        return None

    def _stratified(self, y: NDArray[Any]) -> NDArray[Any] | None:
        """Labels that stratify the validation rows, or None."""
        return None

    def _scored(self, x: Any, y: NDArray[Any], weight: Any) -> Callable[[], float]:
        raise NotImplementedError

    # Fitting

    def _fit(
        self, x: Any, y: Any, sample_weight: ArrayLike, incremental: bool, classes: Any = None
    ) -> Self:
        settings = parameters.checked(self)
        if incremental and settings.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        first = not hasattr(self, "model_") or not (incremental or settings.warm_start)
        x, y = self._validated(x, y, first)
        if y.ndim == 2 and y.shape[1] == 1:
            from sklearn.utils import column_or_1d

            y = column_or_1d(y, warn=True)
        weight = sample_weights(type(self).__name__, sample_weight, x.shape[0])
        of_classes = self._weights_of_classes(y, incremental)
        if of_classes is not None:
            weight = of_classes if weight is None else weight * of_classes
        y = self._targets(y, first, incremental, classes)
        with shared_threads():
            self._train(settings, x, y, weight, first, incremental)
        if not all(np.isfinite(each).all() for each in self.model_.get_weights()):
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large "
                "values and need to be preprocessed."
            )
        return self

    def _train(
        self,
        settings: Settings,
        x: Any,
        y: NDArray[Any],
        weight: NDArray[Any] | None,
        first: bool,
        incremental: bool,
    ) -> None:
        from sklearn.utils import check_random_state

        random = check_random_state(self.random_state)
        objective = self._objective()
        if first:
            self._begin(settings, objective, random)
        if first or not incremental or not hasattr(self, "_optimizer"):
            self._optimizer = new_optimizer(settings)
            self._rate = settings.learning_rate_init
            self.model_.compile(self._optimizer, objective.loss)
        if settings.solver == "lbfgs":
            from cdl.sklearn import lbfgs

            lbfgs.run(self, settings, objective, x, y, weight)
            return
        rows = held_out = None
        if settings.early_stopping:
            rows, held_out = self._split(settings, y, random)
        batches = Batches(x, y, weight, settings.batch_size, settings.shuffle, rows)
        score = None
        if held_out is not None:
            of_them = None if weight is None else weight[held_out]
            score = self._scored(x[held_out], y[held_out], of_them)
        trainer = self._trainer_for(objective, settings.alpha, batches, incremental)
        try:
            training.run(
                self,
                settings,
                trainer,
                batches,
                as_rows(x, "X"),
                y,
                random,
                score=score,
                lacking=self._lacking(y),
                epochs=1 if incremental else None,
            )
        finally:
            trainer.release()

    def _begin(
        self, settings: Settings, objective: Objective, random: np.random.RandomState
    ) -> None:
        """Net with initial weights."""
        sizes = (self.n_features_in_, *settings.hidden_layer_sizes, objective.outputs)
        self.model_ = new_model(sizes, settings.activation, objective.activation, random)
        self.n_iter_ = self.t_ = 0
        self.n_layers_ = len(sizes)
        self.n_outputs_ = objective.outputs
        self.out_activation_ = _AS_SCIKIT_LEARN_SAYS[objective.activation]
        if settings.solver != "lbfgs":
            training.Progress(self, settings).begin()
        self._best_weights = self.model_.get_weights()

    def _split(
        self, settings: Settings, y: NDArray[Any], random: np.random.RandomState
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Row numbers for training, and for validation."""
        from sklearn.model_selection import train_test_split

        rows, held_out = train_test_split(
            np.arange(len(y)),
            test_size=settings.validation_fraction,
            random_state=random,
            stratify=self._stratified(y),
        )
        if len(held_out) < 2:
            raise ValueError(
                f"The validation set is too small, {len(held_out)} of n_samples = {len(y)}. "
                "Increase 'validation_fraction' or the size of your dataset."
            )
        return rows, held_out

    def _trainer_for(
        self, objective: Objective, alpha: float, batches: Batches, incremental: bool
    ) -> Trainer:
        """Trainer for the data; that of the last `partial_fit` if it fits."""
        key = (id(self.model_), id(self._optimizer), alpha, batches.size, batches.weighted)
        kept = self._trainer
        if kept is not None and kept[0] == key:
            trainer: Trainer = kept[1]
        else:
            trainer = Trainer(
                self.model_, self._optimizer, objective, alpha, batches.size, batches.weighted
            )
        self._trainer = (key, trainer) if incremental else None
        return trainer

    # State after training

    def _outputs(self, x: Any) -> NDArray[Any]:
        """Outputs of the net for rows: in float64, except for rows of float32."""
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self)
        x = self._validated(x, None, False)
        return self._outputs_for(x)

    def _outputs_for(self, x: Any) -> NDArray[Any]:
        with shared_threads():
            outputs: NDArray[Any] = self.model_.predict(x, verbose=0)
        if x.dtype in (np.float32, np.float16):
            return outputs
        return outputs.astype(np.float64)

    @property
    def coefs_(self) -> list[NDArray[np.float32]]:
        """Kernels, one a layer, of shape (inputs, outputs); fresh arrays."""
        return [layer.kernel.numpy() for layer in self._fitted_model().layers]

    @coefs_.setter
    def coefs_(self, values: Any) -> None:
        for layer, value in zip(self._fitted_model().layers, values, strict=True):
            layer.kernel.assign(value)

    @property
    def intercepts_(self) -> list[NDArray[np.float32]]:
        """Biases, one a layer; fresh arrays."""
        return [layer.bias.numpy() for layer in self._fitted_model().layers]

    @intercepts_.setter
    def intercepts_(self, values: Any) -> None:
        for layer, value in zip(self._fitted_model().layers, values, strict=True):
            layer.bias.assign(value)

    def _fitted_model(self) -> Any:
        try:
            return vars(self)["model_"]
        except KeyError:
            raise AttributeError(
                f"{type(self).__name__} has no weights: call fit() first"
            ) from None


_AS_SCIKIT_LEARN_SAYS = {
    "softmax": "softmax",
    "sigmoid": "logistic",
    "linear": "identity",
    "exponential": "exp",
}


def sample_weights(owner: str, given: Any, rows: int) -> NDArray[np.float64] | None:
    """Sample weights, none below 0 and not all 0; None for none, or for one for all."""
    if given is None:
        return None
    if isinstance(given, Real):
        given = np.full(rows, given)
    weight = as_numeric(given, f"{owner}: sample_weight")
    if weight.shape != (rows,):
        raise ValueError(
            f"{owner}: sample_weight must have shape ({rows},), one weight for each row of X, "
            f"got {weight.shape}"
        )
    weight = weight.astype(np.float64)
    if not np.isfinite(weight).all() or (weight < 0).any():
        raise ValueError(f"{owner}: sample_weight must be finite numbers >= 0")
    if not weight.any():
        raise ValueError(
            f"{owner}: sample_weight must hold a weight that is not zero, got {rows} zeros"
        )
    return summable(weight)


def summable(weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights in the same proportions, whose sum float64 holds."""
    with np.errstate(over="ignore"):
        return weight if np.isfinite(weight.sum()) else weight / weight.max() / len(weight)
