"""Kinds of columns of a FeatureSpace: their layers, missing values and learning."""

from __future__ import annotations

import contextlib
import numbers
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from cdl import layers, ops
from cdl._common.naming import unique
from cdl._common.validation import flag, one_of
from cdl._configs.serialization import deserialize, register_public, serialize
from cdl.data.named_columns import is_categorical, is_missing, listed, numeric
from cdl.layers.preprocessing.normalization import Moments

MISSING = "[MISSING]"  # the text in the place of one that is missing


def preprocessor_name(name: str | None, kind: str) -> str:
    """Name of a column's layer, as in Keras."""
    return f"{name or unique(kind)}_preprocessor"


class Cross:
    """Crossed columns: see `FeatureSpace.cross`."""

    def __init__(
        self, feature_names: Iterable[str], crossing_dim: int, output_mode: str = "one_hot"
    ) -> None:
        one_of("Cross", "output_mode", output_mode, ("int", "one_hot"))
        self.feature_names = tuple(feature_names)
        self.crossing_dim, self.output_mode = crossing_dim, output_mode

    @property
    def name(self) -> str:
        """Names of the columns, with `_X_` between them."""
        return "_X_".join(self.feature_names)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments as a dict, for configs."""
        return {
            "feature_names": self.feature_names,
            "crossing_dim": self.crossing_dim,
            "output_mode": self.output_mode,
        }


class Feature:
    """Column: its dtype, the layer that reads it, and the encoding of that layer's output."""

    def __init__(self, dtype: str, preprocessor: Any, output_mode: str) -> None:
        one_of("Feature", "output_mode", output_mode, ("int", "one_hot", "float"))
        if isinstance(preprocessor, dict):
            preprocessor = deserialize(preprocessor)
        self.dtype, self.preprocessor, self.output_mode = dtype, preprocessor, output_mode

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments as a dict, for configs."""
        return {
            "dtype": self.dtype,
            "preprocessor": serialize(self.preprocessor),
            "output_mode": self.output_mode,
        }


class TFDIdentity(layers.Identity):
    """Identity layer for numbers, under the name in Keras's files."""


for _each in (Cross, Feature, TFDIdentity):
    register_public("keras.src.layers.preprocessing.feature_space", _each)


class FilledNormalization(layers.Layer):
    """Normalization to mean 0 and variance 1; 0, the mean, for a missing one (NaN).

    Args:
        indicator: whether a second column says with 1 which were missing.
    """

    takes_missing = True

    def __init__(self, indicator: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.indicator = flag("FilledNormalization", "indicator", indicator)
        self.normalization = layers.Normalization(axis=-1, name="normalization")

    def build(self, input_shape: Any) -> None:
        """Create the weights of mean and variance."""
        if not self.normalization.built:
            self.normalization.build(input_shape)
        super().build(input_shape)

    def adapt(self, data: Any) -> None:
        """Learn mean and variance; missing values are left out."""
        moments = Moments(self.normalization, fills=True)
        moments.add(data)
        moments.finish()

    def call(self, x: Any) -> Any:
        """Columns: the filled numbers, and the indicator if there is one."""
        missing = ops.isnan(x)
        filled = ops.where(missing, ops.zeros_like(x), self.normalization(x))
        if not self.indicator:
            return filled
        return ops.concatenate([filled, ops.cast(missing, filled.dtype)], axis=-1)


class FilledLookup(layers.StringLookup):
    """`StringLookup` that reads "[MISSING]" where a text is None or NaN."""

    takes_missing = True

    def _tokens_of(self, values: Any, name: str) -> tuple[list[bytes], tuple[int, ...]]:
        if not isinstance(values, (str, bytes)):
            array = np.asarray(values, object)
            gone = [is_missing(each) for each in array.ravel().tolist()]
            if any(gone):
                values = array.copy()
                values[np.reshape(gone, array.shape)] = MISSING
        return super()._tokens_of(values, name)


for _filled in (FilledNormalization, FilledLookup):
    register_public("cdl.preprocessing.feature_kinds", _filled)


def learns(layer: Any) -> bool:
    """Whether a layer learns from data, and was not given its state."""
    if isinstance(layer, layers.Discretization):
        return layer.num_bins is not None
    given = ("input_mean", "input_vocabulary")
    inner = getattr(layer, "_lookup_layer", layer)  # of a TextVectorization
    return hasattr(layer, "adapt") and all(getattr(inner, each, None) is None for each in given)


def knows(layer: Any) -> bool:
    """Whether a layer was given, or has learned, its state."""
    if not learns(layer):
        return True
    if isinstance(layer, layers.Normalization):
        learned = layer.mean is not None and layer.variance is not None
        return learned and bool(np.any(layer.mean != 0) or np.any(layer.variance != 1))
    if isinstance(layer, layers.Discretization):
        return layer.bin_boundaries not in (None, [])
    inner = getattr(layer, "_lookup_layer", layer)
    return getattr(inner, "_vocabulary", None) is not None


class Learner:
    """Adapter of a layer to batches of a column: all at the end, or nothing after an error."""

    def __init__(self, layer: Any) -> None:
        self._layer = layer
        self._moments: Moments | None = None
        self._batches: list[Any] | None = None
        if isinstance(layer, layers.Normalization):
            self._moments = Moments(layer)
        elif isinstance(layer, FilledNormalization):
            self._moments = Moments(layer.normalization, fills=True)
        elif all(hasattr(layer, f"{each}_state") for each in ("reset", "update", "finalize")):
            layer.reset_state()
        else:  # of a class of the user's: it has but adapt
            self._batches = []

    def add(self, column: Any) -> None:
        """Add a batch, an array of shape (n, ...)."""
        if self._moments is not None:
            self._moments.add(column)
        elif self._batches is not None:
            self._batches.append(column)
        else:
            self._layer.update_state(column)

    def finish(self) -> None:
        """Load the learned state into the layer."""
        if self._moments is not None:
            self._moments.finish()
        elif self._batches is not None:
            self._layer.adapt(np.concatenate(self._batches))
        else:
            self._layer.finalize_state()


def learn(preprocessors: dict[str, Any], batches: Iterable[dict[str, Any]]) -> None:
    """Adapt layers to columns of their names, batch by batch.

    Args:
        preprocessors: a layer by the name of its column.
        batches: dicts of columns.
    """
    learners = {name: Learner(layer) for name, layer in preprocessors.items()}
    for batch in batches:
        for name, learner in learners.items():
            with _named(name):
                learner.add(batch[name])
    for name, learner in learners.items():
        with _named(name):
            learner.finish()


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValueError(f"FeatureSpace.adapt: column {name!r}: {error}") from None


def depth_of(layer: Any, name: str) -> int:
    """Length of a one-hot vector for the indices of a layer.

    Args:
        layer: of a column or a cross.

    Raises:
        ValueError: of such a layer it is not known.
    """
    depth: int
    if isinstance(layer, (layers.IntegerLookup, layers.StringLookup)):
        depth = layer.vocabulary_size()
    elif isinstance(layer, layers.CategoryEncoding):
        depth = layer.num_tokens
    elif isinstance(layer, layers.Discretization):
        depth = layer.num_bins or len(layer.bin_boundaries) + 1
    elif isinstance(layer, (layers.HashedCrossing, layers.Hashing)):
        depth = layer.num_bins
    else:
        raise ValueError(
            f"Feature '{name}' has `output_mode='one_hot'`. However it isn't a standard "
            "feature and the dimensionality of its output space is not known, thus it "
            "cannot be one-hot encoded. Try using `output_mode='int'`."
        )
    return depth


def kind_of(column: Any, name: str) -> tuple[str, bool]:
    """Kind of values in a frame's column, and whether some are missing.

    It is "number", "truth", "text" or "nothing".

    Args:
        column: of any library.

    Raises:
        ValueError: dates or other things, which have no place in a net as they are.
    """
    array = numeric(column)
    if array is not None:
        gaps = np.isnan(array) if array.dtype.kind == "f" else np.zeros(1, bool)
        return "nothing" if gaps.all() else "number", bool(gaps.any())
    given = listed(column)
    values = [each for each in given if each is not None]
    lacks = len(values) < len(given)
    if not values:
        return "nothing", lacks
    if is_categorical(column) or all(isinstance(each, (str, bytes)) for each in values):
        return "text", lacks
    if all(isinstance(each, (bool, np.bool_)) for each in values):
        return "truth", lacks
    if all(isinstance(each, numbers.Real) for each in values):
        return "number", lacks
    other = next(each for each in values if not isinstance(each, (str, bytes, numbers.Real)))
    dated = hasattr(other, "year") or hasattr(other, "total_seconds")
    remedy = (
        "make dates into numbers first, such as days since a start" if dated else "leave it out"
    )
    raise ValueError(
        f"{name} must hold numbers, truths or texts, got {type(other).__name__} {other!r}: {remedy}"
    )
