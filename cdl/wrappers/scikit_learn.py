"""`KerasClassifier` and `KerasRegressor`, the wrappers that Keras 2 had.

Scripts of that time import them from `keras.wrappers.scikit_learn`. New ones take
`SKLearnClassifier` and `SKLearnRegressor`, or those of `cdl.sklearn`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cdl._common.optional_imports import needed
from cdl.models import Model
from cdl.utils.labels import to_categorical

_BASE: Any = needed("sklearn.base", "sklearn", "keras.wrappers.scikit_learn")


class _Wrapper(_BASE.BaseEstimator):
    """Common base of the wrappers of Keras 2.

    Args:
        build_fn: a function that makes a compiled model; None if the class has a `__call__` that
            does.
        sk_params: arguments of that function, and of the model's `fit`, `predict` and `evaluate`.

    Raises:
        ValueError: an argument that none of them has.
    """

    def __init__(self, build_fn: Callable[..., Any] | None = None, **sk_params: Any) -> None:
        self.build_fn = build_fn
        self.sk_params = sk_params
        self._check(sk_params)

    def _builder(self) -> Callable[..., Any]:
        """Function that makes a model, with all its arguments but `self`."""
        made: Any = self if self.build_fn is None else self.build_fn
        is_function = inspect.isroutine(made) or inspect.isclass(made)
        function: Callable[..., Any] = made if is_function else made.__call__
        return function

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model")

    def _check(self, names: dict[str, Any]) -> None:
        known: list[Any] = [self._builder(), Model.fit, Model.predict, Model.evaluate]
        signatures = [inspect.signature(each).parameters for each in known]
        if any(each.kind is each.VAR_KEYWORD for each in signatures[0].values()):
            return
        for name in names:
            if name != "nb_epoch" and not any(name in each for each in signatures):
                raise ValueError(
                    f"{type(self).__name__}: {name} is not a legal parameter: neither of the "
                    "function that makes the model nor of fit, predict or evaluate"
                )

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """All arguments by name."""
        del deep
        return {**self.sk_params, "build_fn": self.build_fn}

    def set_params(self, **params: Any) -> Self:
        """Set arguments by name."""
        if "build_fn" in params:
            self.build_fn = params.pop("build_fn")
        self._check(params)
        self.sk_params.update(params)
        return self

    def _of(self, function: Callable[..., Any], given: dict[str, Any]) -> dict[str, Any]:
        """Stored arguments that a function has, updated by those of a call."""
        names = inspect.signature(function).parameters
        return {name: v for name, v in self.sk_params.items() if name in names} | given

    def fit(self, x: Any, y: Any, **kwargs: Any) -> Any:
        """Create a model and train it.

        Args:
            x: the samples.
            y: their targets.
            kwargs: arguments of the model's `fit`.

        Returns:
            The History, as in Keras 2.
        """
        builder = self._builder()
        self.model = builder(**self._of(builder, {}))
        y = np.asarray(y)
        loss = getattr(self.model.loss, "__name__", getattr(self.model.loss, "name", None))
        if (self.model.loss if isinstance(self.model.loss, str) else loss) == (
            "categorical_crossentropy"
        ) and y.ndim == 1:
            y = to_categorical(y)
        options = self._of(Model.fit, {})
        if "nb_epoch" in self.sk_params:
            options["epochs"] = self.sk_params["nb_epoch"]
        return self.model.fit(x, y, **(options | kwargs))

    def _outputs(self, x: Any, kwargs: dict[str, Any]) -> NDArray[Any]:
        options = {"verbose": 0} | self._of(Model.predict, kwargs)
        found: NDArray[Any] = self.model.predict(x, **options)
        return found

    def _evaluated(self, x: Any, y: Any, kwargs: dict[str, Any]) -> dict[str, float]:
        options = {"verbose": 0} | self._of(Model.evaluate, kwargs)
        found: dict[str, float] = self.model.evaluate(x, y, **options, return_dict=True)
        return found


class KerasClassifier(_BASE.ClassifierMixin, _Wrapper):
    """Classifier of Keras 2: `predict` returns labels.

    Attributes:
        model: the fitted model.
        classes_: the labels, in order; of targets in several columns their numbers.
    """

    def fit(self, x: Any, y: Any, **kwargs: Any) -> Any:
        """Create a model and train it; see `_Wrapper.fit`.

        Raises:
            ValueError: y of another shape than (n,), (n, 1) or (n, classes).
        """
        y = np.asarray(y)
        if y.ndim == 2 and y.shape[1] > 1:
            self.classes_ = np.arange(y.shape[1])
        elif y.ndim == 1 or (y.ndim == 2 and y.shape[1] == 1):
            self.classes_ = np.unique(y)
            y = np.searchsorted(self.classes_, y)
        else:
            raise ValueError(f"KerasClassifier: y must have shape (n,) or (n, k), got {y.shape}")
        return super().fit(x, y, **kwargs)

    def predict(self, x: Any, **kwargs: Any) -> NDArray[Any]:
        """Label of each row."""
        found = self._outputs(x, kwargs)
        several = found.shape[-1] > 1
        numbers = found.argmax(-1) if several else (found > 0.5).astype("int32")
        labels: NDArray[Any] = self.classes_[numbers]
        return labels

    def predict_proba(self, x: Any, **kwargs: Any) -> NDArray[Any]:
        """Probability of each class, in two columns for two classes."""
        found = self._outputs(x, kwargs)
        return np.hstack([1 - found, found]) if found.shape[1] == 1 else found

    def score(self, x: Any, y: Any, **kwargs: Any) -> float:
        """Accuracy, which the model must have among its metrics.

        Raises:
            ValueError: it has not.
        """
        y = np.asarray(y)
        if not (y.ndim == 2 and y.shape[1] > 1):
            y = np.searchsorted(self.classes_, y)
            if self.model.output_shape[-1] == len(self.classes_) > 1 and "sparse" not in str(
                getattr(self.model.loss, "name", self.model.loss)
            ):
                y = to_categorical(y, len(self.classes_))
        found = self._evaluated(x, y, kwargs)
        for name in ("accuracy", "acc"):
            if name in found:
                return found[name]
        raise ValueError(
            "KerasClassifier: the model is not configured to compute accuracy: pass "
            "metrics=['accuracy'] to its compile"
        )


class KerasRegressor(_BASE.RegressorMixin, _Wrapper):
    """Regressor of Keras 2: `predict` returns numbers.

    Attributes:
        model: the fitted model.
    """

    def predict(self, x: Any, **kwargs: Any) -> NDArray[Any]:
        """Number for each row."""
        return np.squeeze(self._outputs(x, kwargs), axis=-1)

    def score(self, x: Any, y: Any, **kwargs: Any) -> float:
        """Negative loss, so that more is better, as in Keras 2."""
        return -self._evaluated(x, y, kwargs)["loss"]
