"""Parameters of CDLClassifier and CDLRegressor, checked when `fit` begins.

scikit-learn wants constructors that store what they are given and check nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from cdl import activations
from cdl._common.validation import expected, flag, number, one_of, positive_int

_ACTIVATIONS = {"identity": "linear", "logistic": "sigmoid", "tanh": "tanh", "relu": "relu"}


class Parameters:
    """Types of the parameters of both estimators."""

    hidden_layer_sizes: Any
    activation: str
    solver: str
    alpha: float
    batch_size: Any
    learning_rate: str
    learning_rate_init: float
    power_t: float
    max_iter: int
    shuffle: bool
    random_state: Any
    tol: float
    verbose: bool
    warm_start: bool
    momentum: float
    nesterovs_momentum: bool
    early_stopping: bool
    validation_fraction: float
    beta_1: float
    beta_2: float
    epsilon: float
    n_iter_no_change: float
    max_fun: int


class Settings(Parameters):
    """Parameters as training uses them.

    `activation` is as cdl calls it, `hidden_layer_sizes` a tuple, `batch_size` None for "auto".

    Args:
        checked: all of them by name.
    """

    def __init__(self, **checked: Any) -> None:
        vars(self).update(checked)


def keep(scope: dict[str, Any]) -> None:
    """Set an attribute for each argument of an estimator's constructor, as scikit-learn wants.

    Args:
        scope: what `locals()` is in its only line.
    """
    estimator = scope.pop("self")
    for name, value in scope.items():
        setattr(estimator, name, value)


def checked(estimator: Any) -> Settings:
    """Checked parameters of an estimator.

    Raises:
        ValueError: one of them is not what it may be; the message names it.
    """
    owner = type(estimator).__name__
    get = vars(estimator).__getitem__

    def ranged(name: str, low: float = -math.inf, high: float = math.inf, **open_: float) -> float:
        return number(owner, name, get(name), low, high, **open_)

    def rate_of_mean(name: str) -> float:
        return ranged(name, 0.0, below=1.0)

    batch = get("batch_size")
    patience = get("n_iter_no_change")
    endless = isinstance(patience, float) and patience == math.inf
    return Settings(
        hidden_layer_sizes=_sizes(owner, get("hidden_layer_sizes")),
        activation=_activation(owner, get("activation")),
        solver=one_of(owner, "solver", get("solver"), ("adam", "sgd", "lbfgs")),
        alpha=ranged("alpha", 0.0),
        batch_size=None if _is(batch, "auto") else positive_int(owner, "batch_size", batch),
        learning_rate=one_of(
            owner, "learning_rate", get("learning_rate"), ("constant", "invscaling", "adaptive")
        ),
        learning_rate_init=ranged("learning_rate_init", above=0.0),
        power_t=ranged("power_t", 0.0),
        max_iter=positive_int(owner, "max_iter", get("max_iter")),
        shuffle=flag(owner, "shuffle", get("shuffle")),
        tol=ranged("tol", 0.0),
        verbose=bool(ranged("verbose", 0.0)) if not _is_bool(get("verbose")) else get("verbose"),
        warm_start=flag(owner, "warm_start", get("warm_start")),
        momentum=ranged("momentum", 0.0, 1.0),
        nesterovs_momentum=flag(owner, "nesterovs_momentum", get("nesterovs_momentum")),
        early_stopping=flag(owner, "early_stopping", get("early_stopping")),
        validation_fraction=rate_of_mean("validation_fraction"),
        beta_1=rate_of_mean("beta_1"),
        beta_2=rate_of_mean("beta_2"),
        epsilon=ranged("epsilon", above=0.0),
        n_iter_no_change=patience if endless else positive_int(owner, "n_iter_no_change", patience),
        max_fun=positive_int(owner, "max_fun", get("max_fun")),
    )


def _sizes(owner: str, given: Any) -> tuple[int, ...]:
    name = "hidden_layer_sizes"
    if isinstance(given, Iterable) and not isinstance(given, (str, bytes)):
        return tuple(positive_int(owner, f"each of {name}", size) for size in given)
    if isinstance(given, (int, np.integer)) and not isinstance(given, bool):
        return (positive_int(owner, name, given),)
    raise expected(owner, name, "a positive int or a sequence of them", given)


def _activation(owner: str, given: Any) -> str:
    if isinstance(given, str):
        if given in _ACTIVATIONS:
            return _ACTIVATIONS[given]
        try:
            activations.get(given)
            return given
        except ValueError:
            pass
    known = ", ".join(map(repr, _ACTIVATIONS))
    raise expected(owner, "activation", f"one of {known} or a name of cdl.activations", given)


def _is(given: Any, word: str) -> bool:
    return isinstance(given, str) and given == word


def _is_bool(given: Any) -> bool:
    return isinstance(given, (bool, np.bool_))


def has_partial_fit(estimator: Any) -> bool:
    """Whether the solver takes a step a batch; AttributeError, which hides the method, if not."""
    if estimator.solver == "lbfgs":
        raise AttributeError(
            "partial_fit is only available for stochastic optimizers. lbfgs is not stochastic."
        )
    return True
