"""Common base of the wrappers: a model, or a function that makes one, fitted and kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from numpy.typing import NDArray

from cdl._common.errors import Hinting
from cdl.callbacks import CallbackList, History
from cdl.models import Model, clone_model
from cdl.random import seeded
from cdl.sklearn.meeting_backend import register
from cdl.sklearn.thread_share import is_one_of_many, shared_threads
from cdl.sklearn.versions import BaseEstimator, validated
from cdl.trainers.many import meeting
from cdl.trainers.many.own_callbacks import copies

_SEEDS = 2**31

register()


class Wrapper(BaseEstimator, Hinting):
    """Base of the wrappers, with `fit` and its checks.

    Args:
        model: a compiled Model, of which `fit` trains a clone, or a function
            ``f(X, y, **model_kwargs)`` that gives one; the function sees y in columns.
        warm_start: whether `fit` goes on with the model of the last `fit`; a Model is then trained
            itself, not a clone.
        model_kwargs: arguments of the function.
        fit_kwargs: arguments of `Model.fit`; those that `fit` is given go before them.
        random_state: seed or generator of initial weights, dropout and shuffling; None takes what
            `set_random_seed` has seeded. Keras has no such argument.

    Attributes:
        model_: the fitted model.
        history_: its History.
        n_features_in_: columns of X.
        feature_names_in_: their names, if X had names.
    """

    model_: Model
    history_: History
    n_features_in_: int

    def __init__(
        self,
        model: Model | Callable[..., Any] | None = None,
        warm_start: bool = False,
        model_kwargs: dict[str, Any] | None = None,
        fit_kwargs: dict[str, Any] | None = None,
        random_state: Any = None,
    ) -> None:
        self.model = model
        self.warm_start = warm_start
        self.model_kwargs = model_kwargs
        self.fit_kwargs = fit_kwargs
        self.random_state = random_state

    def fit(self, X: Any, y: Any, **kwargs: Any) -> Self:
        """Train the model, or the one that a function makes.

        Args:
            X: array, sparse matrix or data frame of shape (rows, features).
            y: targets.
            kwargs: arguments of `Model.fit`, such as `epochs` or `sample_weight`.

        Raises:
            ValueError: data that do not fit.
            TypeError: `model` is neither a Model nor a function.
            RuntimeError: the model is not compiled with a loss and an optimizer.
        """
        options = {**(self.fit_kwargs or {}), **kwargs}
        X, y = validated(self, X, y, accept_sparse=("csr",), **self._accepts())
        y = self._encoded(y, options.get("sample_weight"))
        seed = self._seed()
        with seeded(seed), shared_threads():
            model = self._model_for(X, y)
            if not model.compiled or not model.loss or not model.optimizer:
                raise RuntimeError(
                    f"{type(self).__name__}: model must be compiled with a loss and an optimizer"
                )
            if is_one_of_many() and options.get("callbacks"):
                given = CallbackList(options["callbacks"]).callbacks
                options["callbacks"] = copies(given, (), type(self).__name__)
            self.history_ = meeting.fit(model, X, y, seed, options)
        self.model_ = model
        return self

    def _accepts(self) -> dict[str, Any]:
        """Keyword arguments of scikit-learn's check of the data."""
        return {}

    def _encoded(self, y: NDArray[Any], sample_weight: Any) -> NDArray[Any]:
        """Targets in the form that the model takes."""
        raise NotImplementedError

    def _seed(self) -> int | None:
        if self.random_state is None:
            return None
        from sklearn.utils import check_random_state

        return int(check_random_state(self.random_state).randint(_SEEDS))

    def _model_for(self, x: Any, y: Any) -> Model:
        if self.warm_start and hasattr(self, "model_"):
            return self.model_
        if isinstance(self.model, Model):
            return self.model if self.warm_start else clone_model(self.model)
        if not callable(self.model):
            raise TypeError(
                f"{type(self).__name__}: model must be a Model or a function that makes one, got "
                f"{self.model!r}"
            )
        made = self.model(X=x, y=y, **(self.model_kwargs or {}))
        if not isinstance(made, Model):
            raise TypeError(
                f"{type(self).__name__}: model must be a function that returns a Model, got "
                f"{made!r} from it"
            )
        return made

    def _outputs(self, x: Any) -> NDArray[Any]:
        """Outputs of the model for rows."""
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self)
        x = validated(self, x, accept_sparse=("csr",), reset=False)
        with shared_threads():
            outputs: NDArray[Any] = self.model_.predict(x, verbose=0)
        return outputs

    @property
    def epoch_(self) -> int:
        """Number of epochs of the last `fit`."""
        return len(self.history_.epoch) if hasattr(self, "history_") else 0

    def __sklearn_tags__(self) -> Any:
        """Tags of scikit-learn: sparse X."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def set_fit_request(self, **kwargs: Any) -> Self:
        """Request arguments of `fit` from a meta-estimator: `sample_weight=True`.

        Args:
            kwargs: name of the argument; True, False, None or the name under which it comes.

        Raises:
            RuntimeError: scikit-learn's metadata routing is off.
        """
        from sklearn import get_config

        if not get_config().get("enable_metadata_routing", False):
            raise RuntimeError(
                "set_fit_request: metadata routing must be on: "
                "sklearn.set_config(enable_metadata_routing=True)"
            )
        requests = self._get_metadata_request()
        for name, alias in kwargs.items():
            requests.fit.add_request(param=name, alias=alias)
        self._metadata_request = requests
        return self
