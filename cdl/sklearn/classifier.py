"""CDLClassifier: MLPClassifier's parameters and attributes on the compiled core."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from cdl.losses import BinaryCrossentropy, SparseCategoricalCrossentropy
from cdl.sklearn.base import FORMATS, Perceptron
from cdl.sklearn.labels import Labels
from cdl.sklearn.mlp import Objective
from cdl.sklearn.parameters import has_partial_fit, keep
from cdl.sklearn.versions import ClassifierMixin, available_if, validated


class CDLClassifier(ClassifierMixin, Perceptron):
    """Multi-layer perceptron classifier, like scikit-learn's MLPClassifier.

    It minimizes ``(sum w l + alpha / 2 |coefs|^2) / sum w`` over batches of rows, where l is the
    crossentropy. Parameters, defaults and attributes are MLPClassifier's (1.9); with the same
    `random_state` it starts from the same weights and takes the rows in the same order. It computes
    in float32.

    Args:
        early_stopping: whether to hold out rows, and to stop, and go back, by the accuracy there.
        class_weight: {label: weight}, "balanced" or None; not a parameter of MLPClassifier.

    Attributes:
        classes_: the sorted labels.
        model_: the net, a compiled `cdl.Sequential`, that can be saved and exported.
        coefs_: its kernels.
        intercepts_: its biases.
        n_iter_: epochs of the last `fit`.
        t_: rows seen in all epochs.
        loss_: the last epoch's loss.
        loss_curve_: the loss of each epoch.
        best_loss_: the smallest of them; None with early stopping.
        validation_scores_: with early stopping the accuracy after each epoch, otherwise None.
        best_validation_score_: the largest of them.
        n_features_in_: columns of X.
        feature_names_in_: their names, if X had names.
        n_layers_: layers, with that of the input.
        n_outputs_: numbers that the net puts out for a row.
        out_activation_: "softmax" or "logistic".
    """

    class_weight: Any

    def __init__(
        self,
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
        class_weight: Any = None,
    ) -> None:
        keep(locals())

    _labels: Labels

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on rows X with labels y.

        Args:
            X: array, sparse matrix or data frame of shape (rows, features).
            y: a label for each row, of any dtype; or columns of 0 and 1, for several labels a row.
            sample_weight: a weight for each row; 2 is the same as the row twice, 0 as if it were
                not there.

        Raises:
            ValueError: a parameter or data that do not fit.
        """
        return self._fit(X, y, sample_weight, False)

    @available_if(has_partial_fit)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """Train for one epoch, from the current weights.

        Args:
            X: as in `fit`.
            y: as in `fit`; any of the classes.
            sample_weight: as in `fit`.
            classes: all labels that will ever come: needed in the first call, unless y has columns
                of 0 and 1.

        Raises:
            ValueError: a parameter or data that do not fit.
        """
        return self._fit(X, y, sample_weight, True, classes)

    def predict(self, X: Any) -> NDArray[Any]:
        """Most probable label of each row; columns of 0 and 1 for several labels a row."""
        outputs = self._outputs(X)
        return self._labels.decode(outputs)

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Probability of each class, in the order of `classes_`."""
        outputs = self._outputs(X)
        return self._labels.probabilities(outputs)

    def predict_log_proba(self, X: Any) -> NDArray[Any]:
        """Logarithms of the probabilities of `predict_proba`."""
        with np.errstate(divide="ignore"):
            logarithms: NDArray[Any] = np.log(self.predict_proba(X))
        return logarithms

    # Methods that the base calls

    def _validated(self, x: Any, y: Any, first: bool) -> Any:
        if y is None and not first:
            return validated(self, x, accept_sparse=FORMATS, reset=False)
        return validated(self, x, y, accept_sparse=FORMATS, multi_output=True, reset=first)

    def _weights_of_classes(self, y: Any, incremental: bool) -> NDArray[Any] | None:
        if self.class_weight is None:
            return None
        if incremental and self.class_weight == "balanced":
            raise ValueError(
                "CDLClassifier: class_weight must be a dict or None for partial_fit, which does "
                "not know how often each class will come, got 'balanced'"
            )
        from sklearn.utils.class_weight import compute_sample_weight

        weight: NDArray[Any] = compute_sample_weight(self.class_weight, y)
        return weight

    def _targets(self, y: Any, first: bool, incremental: bool, classes: Any) -> NDArray[Any]:
        if classes is not None:
            classes = np.unique(np.asarray(classes))
        if first:
            if incremental and classes is None and y.ndim == 1:
                raise ValueError("classes must be passed on the first call to partial_fit.")
            labels = Labels.of(y)
            if classes is not None and not labels.several:
                labels = Labels(classes, False)
        else:
            labels = self._labels
            if classes is not None and not np.array_equal(classes, labels.classes):
                raise ValueError(
                    f"`classes={classes!r}` is not the same as on last call to partial_fit, was: "
                    f"{labels.classes!r}"
                )
            if not incremental and not labels.several:
                labels.check_same(y)
        codes = labels.encode(y)
        self._labels = labels
        self.classes_ = labels.classes
        return codes

    def _objective(self) -> Objective:
        labels = self._labels
        loss = (
            SparseCategoricalCrossentropy if labels.activation == "softmax" else BinaryCrossentropy
        )
        width = 1 if labels.activation == "softmax" else labels.outputs
        return Objective(labels.activation, labels.outputs, loss(), float(width))

    def _stratified(self, y: NDArray[Any]) -> NDArray[Any] | None:
        return y if self._labels.outputs == 1 else None

    def _scored(self, x: Any, y: NDArray[Any], weight: Any) -> Callable[[], float]:
        def accuracy() -> float:
            outputs = self._outputs_for(x)
            if not np.isfinite(outputs).all():
                return np.nan
            return float(np.average(self._labels.are_right(outputs, y), weights=weight))

        return accuracy

    def _more_tags(self) -> dict[str, Any]:
        return {"multilabel": True}

    def __sklearn_tags__(self) -> Any:
        """Tags of scikit-learn: several labels a row, sparse X."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        tags.input_tags.sparse = True
        return tags
