"""SKLearnClassifier, SKLearnRegressor and SKLearnTransformer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl.sklearn.versions import (
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    RegressorMixin,
    TransformerMixin,
)
from cdl.wrappers.wrapper import Wrapper


class SKLearnClassifier(ClassifierMixin, Wrapper):
    """Wrapper of a model as a scikit-learn classifier.

    The labels y may have any dtype. The model gets them as columns of 0 and 1, one for each class,
    also if there are only two, and puts out as many numbers; the largest is the answer.

    Attributes:
        classes_: the sorted labels.
        model_: the fitted model.
        history_: its History.
    """

    classes_: NDArray[Any]

    def predict(self, X: Any) -> NDArray[Any]:
        """Label of each row's largest output."""
        largest = self._outputs(X).argmax(axis=1)
        labels: NDArray[Any] = self.classes_[largest]
        return labels

    def decision_function(self, X: Any) -> NDArray[Any]:
        """Outputs of the model for each row; of two classes the second less the first.

        Keras gives both outputs of two classes, which scikit-learn's scorers do not take.
        """
        outputs = self._outputs(X)
        if len(self.classes_) > 2:
            return outputs
        difference: NDArray[Any] = outputs[:, 1] - outputs[:, 0]
        return difference

    def _encoded(self, y: NDArray[Any], sample_weight: Any) -> NDArray[Any]:
        from sklearn.utils.multiclass import check_classification_targets, type_of_target

        check_classification_targets(y)
        kind = type_of_target(y)
        if kind not in ("binary", "multiclass"):
            raise ValueError(
                f"Only binary and multiclass target types are supported. Target type: {kind}"
            )
        classes, numbers = np.unique(y, return_inverse=True)
        if len(classes) == 1:
            raise ValueError("Classifier can't train when only one class is present.")
        if sample_weight is not None:
            weights = np.asarray(sample_weight)
            if weights.shape == y.shape and len(np.unique(y[weights != 0])) < 2:
                raise ValueError(
                    "Classifier can't train when only one class is present: sample_weight is zero "
                    "for all rows of the others."
                )
        self.classes_ = classes
        columns: NDArray[Any] = np.eye(len(classes), dtype=np.float32)[numbers]
        return columns

    def _more_tags(self) -> dict[str, Any]:
        return {"poor_score": True}

    def __sklearn_tags__(self) -> Any:
        """Tags of scikit-learn: a custom model of unknown quality."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True
        return tags


class SKLearnRegressor(RegressorMixin, Wrapper):
    """Wrapper of a model as a scikit-learn regressor.

    The model gets y in columns, also if it is only one.

    Attributes:
        model_: the fitted model.
        history_: its History.
    """

    _in_columns: bool  # whether y was

    def predict(self, X: Any) -> NDArray[Any]:
        """Outputs of the model in the shape of y; in float64, except for float32 X."""
        outputs = self._outputs(X)
        if getattr(X, "dtype", None) != np.float32:
            outputs = outputs.astype(np.float64)
        return outputs if self._in_columns else outputs.reshape(len(outputs))

    def _accepts(self) -> dict[str, Any]:
        return {"y_numeric": True, "multi_output": True}

    def _encoded(self, y: NDArray[Any], sample_weight: Any) -> NDArray[Any]:
        from sklearn.utils import column_or_1d

        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        self._in_columns = y.ndim > 1
        return y if y.ndim > 1 else y[:, None]

    def _more_tags(self) -> dict[str, Any]:
        return {"poor_score": True, "multioutput": True}

    def __sklearn_tags__(self) -> Any:
        """Tags of scikit-learn: several outputs, and a custom model of unknown quality."""
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True
        tags.target_tags.multi_output = True
        return tags


class SKLearnTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Wrapper):
    """Wrapper of a model as a scikit-learn transformer: `transform` gives its outputs.

    Attributes:
        model_: the fitted model.
        history_: its History.
    """

    def transform(self, X: Any) -> NDArray[Any]:
        """Outputs of the model for each row."""
        return self._outputs(X)

    def _encoded(self, y: NDArray[Any], sample_weight: Any) -> NDArray[Any]:
        return y[:, None] if y.ndim == 1 else y

    def _accepts(self) -> dict[str, Any]:
        return {"y_numeric": True, "multi_output": True}

    @property
    def _n_features_out(self) -> int:
        width: int = self.model_.output_shape[-1]
        return width

    def _more_tags(self) -> dict[str, Any]:
        return {"preserves_dtype": []}

    def __sklearn_tags__(self) -> Any:
        """Tags of scikit-learn: outputs in float32."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags
