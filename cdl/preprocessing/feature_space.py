"""FeatureSpace: columns of a table, each encoded by its kind, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from os import PathLike
from typing import Any

import numpy as np

from cdl import layers
from cdl._common.errors import hint, warn
from cdl._common.naming import unique
from cdl._common.validation import expected, one_of
from cdl._configs.serialization import deserialize, register_public, serialize
from cdl._tracing.keras_tensor import KerasTensor
from cdl.data import brief, frames
from cdl.data.named_columns import column_of, numbers, texts
from cdl.preprocessing.feature_kinds import (
    Cross,
    Feature,
    FilledLookup,
    FilledNormalization,
    TFDIdentity,
    depth_of,
    kind_of,
    knows,
    learn,
    learns,
    preprocessor_name,
)
from cdl.saving.keras_file import save_model


class FeatureSpace:
    """Encoder of a table's columns into one array, or into a dict of arrays.

    A column is "float", "float_rescaled", "float_normalized", "float_discretized",
    "integer_categorical", "string_categorical", "integer_hashed", "string_hashed", or what the
    methods of these names give. Columns stand in the order of their names, then crosses in that of
    theirs.

    Args:
        features: for each column its kind.
        output_mode: "concat" for an array, "dict" for a dict of them.
        crosses: lists of columns that are hashed together.
        crossing_dim: the number of bins of each cross.
        hashing_dim: the number of bins of a hashed column.
        num_discretization_bins: of a discretized one.
        name: of the space.

    Raises:
        ValueError: no columns, an unknown kind, or a cross of unknown columns.
    """

    def __init__(
        self,
        features: Mapping[str, Any],
        output_mode: str = "concat",
        crosses: Iterable[Any] | None = None,
        crossing_dim: int = 32,
        hashing_dim: int = 32,
        num_discretization_bins: int = 32,
        name: str | None = None,
    ) -> None:
        if not features:
            raise ValueError("The `features` argument cannot be None or empty.")
        one_of("FeatureSpace", "output_mode", output_mode, ("dict", "concat"))
        self.name = name or unique("feature_space")
        self.crossing_dim, self.hashing_dim = crossing_dim, hashing_dim
        self.num_discretization_bins, self.output_mode = num_discretization_bins, output_mode
        self.features = {each: self._feature(each, kind) for each, kind in features.items()}
        self.crosses = [self._cross(each) for each in crosses or ()]
        self.inputs = {
            each: layers.Input((1,), dtype=feature.dtype, name=each)
            for each, feature in self.features.items()
        }
        self.preprocessors = {each: f.preprocessor for each, f in self.features.items()}
        self.crossers = {
            cross.name: layers.HashedCrossing(cross.crossing_dim, name=cross.name)
            for cross in self.crosses
        }
        self.one_hot_encoders: dict[str, Any] = {}
        self.encoded_features: Any = None
        self._adapted = False

    # Attributes that files ask of a model: the preprocessors hold all that was learned.
    variables = weights = ()
    compiled = False

    @property
    def built(self) -> bool:
        """Whether it has learned from data, or needs none."""
        return self._adapted or self._all_know()

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        exclude: Iterable[str] = (),
        max_tokens: int = 100,
        output_mode: str = "concat",
        name: str | None = None,
    ) -> FeatureSpace:
        """Create a space for the columns of a frame, adapted to it.

        Numbers are normalized, truths are 0 and 1, texts and categories are vectors with a 1. A
        missing number becomes the mean; where the frame lacks some, a further column is 1 there.
        A missing text is one of its own. Columns without a value are left out, with a warning.

        Args:
            frame: of pandas, Polars, Arrow or another library: the rows for training alone.
            exclude: the names of columns that are no inputs, such as the target's.
            max_tokens: how many texts of a column have a place of their own, the most frequent
                ones, with one for all others among them.
            output_mode: "concat" for an array, "dict" for a dict of them.
            name: of the space.

        Raises:
            ValueError: no frame with names, no column of that name, or one that holds neither
                numbers nor texts, such as dates.
        """
        call, names = "FeatureSpace.from_frame", frames.names_of(frame)
        left_out = [exclude] if isinstance(exclude, str) else list(exclude)
        if names is None:
            raise ValueError(f"{call}: frame must be a frame with names, got {brief(frame)}")
        if not set(left_out) <= set(names):
            raise expected(call, "exclude", f"names among {list(names)}", left_out)
        kinds: dict[str, Any] = {}
        for each in names:
            if each in left_out:
                continue
            column = column_of(frame, each)
            kind, lacks = kind_of(column, f"{call}: column {each!r}")
            if kind == "text":
                kinds[each] = cls.string_categorical(max_tokens, name=each, missing="token")
            elif kind == "truth" and not lacks:
                kinds[each] = cls.float(name=each)
            elif kind == "nothing":
                warn(f"{call}: column {each!r} has no value, and is left out")
            else:
                how = "indicator" if lacks else "mean"
                kinds[each] = cls.float_normalized(name=each, missing=how)
        space = cls(kinds, output_mode, name=name)
        space.adapt(frame)
        return space

    # --- kinds of columns ---

    @classmethod
    def cross(cls, feature_names: Any, crossing_dim: int, output_mode: str = "one_hot") -> Cross:
        """Crossed columns, hashed together into so many bins, as "one_hot" or "int"."""
        return Cross(feature_names, crossing_dim, output_mode)

    @classmethod
    def feature(cls, dtype: str, preprocessor: Any, output_mode: str) -> Feature:
        """Column that a custom layer reads."""
        return Feature(dtype, preprocessor, output_mode)

    @classmethod
    def float(cls, name: str | None = None) -> Feature:
        """Numeric column, as it is."""
        name = preprocessor_name(name, "float")
        return Feature("float32", TFDIdentity(dtype="float32", name=name), "float")

    @classmethod
    def float_rescaled(
        cls, scale: Any = 1.0, offset: Any = 0.0, name: str | None = None
    ) -> Feature:
        """Numeric column times a constant, plus a constant."""
        name = preprocessor_name(name, "float_rescaled")
        return Feature("float32", layers.Rescaling(scale, offset, name=name), "float")

    @classmethod
    def float_normalized(cls, name: str | None = None, missing: str | None = None) -> Feature:
        """Numeric column normalized to mean 0 and variance 1.

        Args:
            name: of the column.
            missing: None, and a missing number (NaN) stays one; "mean" has 0, the mean, in its
                place; "indicator", too, and a second column that is 1 there. Keras knows None only.

        Raises:
            ValueError: another `missing`.
        """
        name = preprocessor_name(name, "float_normalized")
        one_of("FeatureSpace.float_normalized", "missing", missing, (None, "mean", "indicator"))
        if missing is not None:
            filled = FilledNormalization(missing == "indicator", name=name)
            return Feature("float32", filled, "float")
        return Feature("float32", layers.Normalization(axis=-1, name=name), "float")

    @classmethod
    def float_discretized(
        cls,
        num_bins: int,
        bin_boundaries: Any = None,
        output_mode: str = "one_hot",
        name: str | None = None,
    ) -> Feature:
        """Numeric column in bins; boundaries that are not given are quantiles."""
        name = preprocessor_name(name, "float_discretized")
        given = {"num_bins": num_bins, "bin_boundaries": bin_boundaries, "name": name}
        return Feature("float32", layers.Discretization(**given), output_mode)

    @classmethod
    def integer_categorical(
        cls,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        output_mode: str = "one_hot",
        name: str | None = None,
    ) -> Feature:
        """Categorical column of integers."""
        name = preprocessor_name(name, "integer_categorical")
        layer = layers.IntegerLookup(max_tokens, num_oov_indices, name=name)
        return Feature("int32", layer, output_mode)

    @classmethod
    def string_categorical(
        cls,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        output_mode: str = "one_hot",
        name: str | None = None,
        missing: str | None = None,
    ) -> Feature:
        """Categorical column of texts.

        Args:
            max_tokens: the most tokens of the vocabulary, None for any number.
            num_oov_indices: how many indices are for texts that are not in it.
            output_mode: "one_hot" or "int".
            name: of the column.
            missing: None, and a missing text (None, NaN) is an error; "token" has "[MISSING]" in
                its place, a text like others. Keras knows None only.

        Raises:
            ValueError: another `missing`.
        """
        name = preprocessor_name(name, "string_categorical")
        one_of("FeatureSpace.string_categorical", "missing", missing, (None, "token"))
        kind = layers.StringLookup if missing is None else FilledLookup
        layer = kind(max_tokens, num_oov_indices, name=name)
        return Feature("string", layer, output_mode)

    @classmethod
    def string_hashed(
        cls, num_bins: int, output_mode: str = "one_hot", name: str | None = None
    ) -> Feature:
        """Column of texts, hashed into bins."""
        name = preprocessor_name(name, "string_hashed")
        return Feature("string", layers.Hashing(num_bins, name=name), output_mode)

    @classmethod
    def integer_hashed(
        cls, num_bins: int, output_mode: str = "one_hot", name: str | None = None
    ) -> Feature:
        """Column of integers, hashed into bins."""
        name = preprocessor_name(name, "integer_hashed")
        return Feature("int32", layers.Hashing(num_bins, name=name), output_mode)

    def _feature(self, name: str, kind: Any) -> Feature:
        if isinstance(kind, Feature):
            return kind
        if isinstance(kind, dict):
            found = deserialize(kind)
            if isinstance(found, Feature):
                return found
        sized = {
            "float_discretized": self.num_discretization_bins,
            "integer_hashed": self.hashing_dim,
            "string_hashed": self.hashing_dim,
        }
        plain: tuple[str, ...] = ("float", "float_normalized", "float_rescaled")
        plain += ("integer_categorical", "string_categorical")
        if kind not in (*plain, *sized):
            kinds = (*plain, *sized)
            near = hint([kind], kinds)
            raise ValueError(
                f"Invalid feature type: {kind}{near or ';'} it must be one of {', '.join(kinds)}, "
                f"or what FeatureSpace.feature gives, for column {name!r}"
            )
        given = (sized[kind],) if kind in sized else ()
        made: Feature = getattr(self, kind)(*given, name=name)
        return made

    def _cross(self, cross: Any) -> Cross:
        if isinstance(cross, dict):
            cross = deserialize(cross)
        if isinstance(cross, Cross):
            return cross
        unknown = set(cross) - set(self.features)
        if unknown:
            raise ValueError(
                "All features referenced in the `crosses` argument should be present in the "
                f"`features` dict. Received unknown features: {cross}"
            )
        if not self.crossing_dim:
            raise expected("FeatureSpace", "crossing_dim", "given with crosses", self.crossing_dim)
        return Cross(cross, self.crossing_dim)

    # --- learning from data ---

    def adapt(self, dataset: Any) -> None:
        """Learn means, boundaries and vocabularies, and forget those of earlier data.

        Missing numbers (NaN) are left out, with a warning that names the column; missing texts are
        refused, but by columns that were told to take them. Batches are not kept.

        Args:
            dataset: a dict of columns or a frame; or batches of these, of which a tuple's first
                element counts.

        Raises:
            ValueError: neither, or a column that holds other things than its kind.
            KeyError: a column is missing.
        """
        learning = {name: each for name, each in self.preprocessors.items() if learns(each)}
        learn(learning, self._batches(dataset))
        self._adapted = True
        self.encoded_features = None
        self.one_hot_encoders = {}
        self.get_encoded_features()

    def _batches(self, dataset: Any) -> Iterator[dict[str, Any]]:
        """Columns of each batch of the data of `adapt`."""
        whole = isinstance(dataset, Mapping) or frames.names_of(dataset) is not None
        if not whole and (isinstance(dataset, (str, bytes)) or not isinstance(dataset, Iterable)):
            raise ValueError(
                "`adapt()` can only be called on batches of dicts or a dict of arrays/lists. "
                f"Received instead: {dataset!r} (of type {type(dataset)})"
            )
        for given in [dataset] if whole else dataset:
            batch = given[0] if isinstance(given, tuple) else given
            columns = self._columns(batch, "dataset" if whole else "a batch of dataset")
            if columns is None:
                raise ValueError("`adapt()` can only be called on batches that are dicts or frames")
            yield {k: c.reshape(len(c) if c.ndim else 1, -1) for k, c in columns.items()}

    def _columns(self, data: Any, call: str) -> dict[str, Any] | None:
        """Columns of a dict or frame as arrays; None for anything else."""
        if not isinstance(data, Mapping) and frames.names_of(data) is None:
            return None
        self._check_columns(data, call)
        found = {}
        for name, feature in self.features.items():
            column = column_of(data, name)
            if frames.is_frame(column) and feature.dtype == "string":
                column = texts(column)
            elif frames.is_frame(column):
                gaps = feature.dtype.startswith("float")
                column = numbers(column, f"FeatureSpace: {call}: column {name!r}", gaps)
            found[name] = np.asarray(column)
        return found

    def _all_know(self) -> bool:
        return all(map(knows, self.preprocessors.values()))

    def _check_adapted(self) -> None:
        if not self._adapted and not self._all_know():
            raise ValueError(
                "You need to call `.adapt(dataset)` on the FeatureSpace before you can start using "
                "it."
            )

    # --- use ---

    def get_inputs(self) -> dict[str, KerasTensor]:
        """Inputs of a model of raw columns."""
        self._check_adapted()
        return self.inputs

    def get_encoded_features(self) -> Any:
        """Symbolic encoding of the inputs.

        Raises:
            ValueError: `adapt` was not called.
        """
        self._check_adapted()
        if self.encoded_features is None:
            self.encoded_features = self._encoded(self.inputs)
        return self.encoded_features

    def __call__(self, data: Any) -> Any:
        """Encode columns.

        Args:
            data: a frame, or a dict of arrays of n values, (n, 1) or (n,); of single values for one
                row. It may have more columns.

        Raises:
            ValueError: neither, or `adapt` was not called.
            KeyError: a column is missing.
        """
        self.get_encoded_features()
        if isinstance(data, dict) and any(isinstance(v, KerasTensor) for v in data.values()):
            self._check_columns(data, "data")
            return self._encoded(data)
        arrays = self._columns(data, "data")
        if arrays is None:
            raise ValueError(
                f"A FeatureSpace can only be called with a dict or a frame. Received: data={data} "
                f"(of type {type(data)})"
            )
        one = any(each.ndim == 0 for each in arrays.values())
        columns = {
            name: each.reshape(-1, 1) if each.ndim < 2 else each for name, each in arrays.items()
        }
        found = self._encoded(columns)
        if one:
            return {k: v[0] for k, v in found.items()} if isinstance(found, dict) else found[0]
        return found

    def _check_columns(self, data: Any, call: str) -> None:
        names = list(data) if isinstance(data, Mapping) else frames.names_of(data)
        missing = [name for name in self.features if name not in (names or ())]
        if missing:
            raise KeyError(
                f"FeatureSpace: {call} must have the columns {list(self.features)}, got "
                f"{list(names or ())}, without {missing}"
            )

    def _encoded(self, data: Mapping[str, Any]) -> Any:
        read = {name: layer(data[name]) for name, layer in self.preprocessors.items()}
        specs: dict[str, Any] = {name: self.features[name] for name in sorted(read)}
        for cross in sorted(self.crosses, key=lambda each: each.name):
            read[cross.name] = self.crossers[cross.name]([read[n] for n in cross.feature_names])
            specs[cross.name] = cross
        found = {}
        for name, spec in specs.items():
            if spec.output_mode == "one_hot":
                read[name] = self._encoder(name)(read[name])
            elif self.output_mode == "concat" and spec.output_mode == "int":
                raise ValueError(
                    f"Cannot concatenate features because feature '{name}' has not been encoded. "
                    "Consider using `output_mode='dict'`."
                )
            found[name] = read[name]
        if self.output_mode == "dict":
            return found
        return layers.concatenate(list(found.values())) if len(found) > 1 else found.popitem()[1]

    def _encoder(self, name: str) -> Any:
        if name not in self.one_hot_encoders:
            layer = self.preprocessors.get(name) or self.crossers[name]
            tokens = depth_of(layer, name)
            self.one_hot_encoders[name] = layers.CategoryEncoding(tokens, "multi_hot")
        return self.one_hot_encoders[name]

    # --- configs and files ---

    def save(self, filepath: str | PathLike[str]) -> None:
        """Write a `.keras` file, which `saving.load_model` reads, here and in Keras.

        Args:
            filepath: a path that ends in `.keras`.

        Raises:
            ValueError: another suffix.
            OSError: the file cannot be written.
        """
        if not str(filepath).endswith(".keras"):
            raise expected("FeatureSpace.save", "filepath", "a path that ends in .keras", filepath)
        thing: Any = self
        save_model(thing, filepath)

    def get_build_config(self) -> dict[str, Any]:
        """Build config of each column's layer."""
        return {each: layer.get_build_config() for each, layer in self.preprocessors.items()}

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Build the layers from the result of `get_build_config`; their state is in the file."""
        for name, given in config.items():
            layer = self.preprocessors[name]
            if given and not layer.built:
                layer.build_from_config(given)
        self._adapted = True

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments as a dict, for `from_config`."""
        return {
            "features": serialize(self.features),
            "output_mode": self.output_mode,
            "crosses": serialize(self.crosses),
            "crossing_dim": self.crossing_dim,
            "hashing_dim": self.hashing_dim,
            "num_discretization_bins": self.num_discretization_bins,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> FeatureSpace:
        """Create a space from the dict that `get_config` returned."""
        return cls(**config)


register_public("keras.utils", FeatureSpace)
