"""Elements of datasets: nested tuples and dicts of arrays, their specs and their padding."""

from __future__ import annotations

from typing import Any

import numpy as np

from cdl import tree
from cdl.scripts.tensor import TensorShape


class TensorSpec:
    """`tf.TensorSpec`: shape and dtype of a tensor.

    Args:
        shape: the shape, with None for unknown sizes; None if the number of axes is unknown.
        dtype: the dtype.
        name: a name, which is only stored.
    """

    def __init__(self, shape: Any, dtype: Any = "float32", name: str | None = None) -> None:
        self.shape = shape if shape is None else TensorShape(shape)
        self.dtype, self.name = dtype, name

    def __eq__(self, other: object) -> bool:
        return repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    def __repr__(self) -> str:
        return f"TensorSpec(shape={self.shape}, dtype={self.dtype}, name={self.name!r})"


class Options:
    """`tf.data.Options`: an object that takes any attribute, all without effect."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        vars(self)[name] = Options()
        return vars(self)[name]


def rows_of(arrays: Any, rows: Any) -> Any:
    """Index the rows of nested arrays."""
    return tree.map_structure(lambda leaf: np.asarray(leaf[rows]), arrays)


def element_of(structure: Any, types: Any = None) -> Any:
    """Convert the leaves of nested tuples and dicts to arrays.

    Python numbers become float32 and int32, unless `types` has nested dtypes.
    """
    if isinstance(structure, tuple):
        of_parts = types if isinstance(types, tuple) else [types] * len(structure)
        return tuple(element_of(part, each) for part, each in zip(structure, of_parts, strict=True))
    if isinstance(structure, dict):
        of_keys = types if isinstance(types, dict) else dict.fromkeys(structure, types)
        return {key: element_of(part, of_keys[key]) for key, part in structure.items()}
    if hasattr(structure, "as_numpy_iterator"):
        return structure
    if types is not None and str(types) != "string":
        return np.asarray(structure, types)
    if isinstance(structure, (list, bool, int, float)):
        array = np.asarray(structure)
        plain = not any(hasattr(leaf, "dtype") for leaf in tree.flatten(structure))
        if plain and array.dtype in (np.float64, np.int64):
            return array.astype(np.float32 if array.dtype.kind == "f" else np.int32)
        return array
    return np.asarray(structure)


def shapes_of(given: Any) -> list[Any]:
    """Flatten nested shapes in the order of the arrays of an element."""
    if isinstance(given, dict):
        return [each for key in sorted(given) for each in shapes_of(given[key])]
    sizes = isinstance(given, tuple) and all(n is None or isinstance(n, int) for n in given)
    if isinstance(given, tuple) and not (sizes and given):
        return [each for part in given for each in shapes_of(part)]
    return [given]


def filled(leaves: tuple[Any, ...], shape: Any, value: Any) -> Any:
    """Stack arrays, padded at the end of each axis to a shape or to the largest sizes."""
    arrays = [np.asarray(leaf) for leaf in leaves]
    most = [max(sizes) for sizes in zip(*(array.shape for array in arrays), strict=True)]
    if shape is not None:
        wanted = [n if m in (None, -1) else int(m) for n, m in zip(most, shape, strict=True)]
        if any(n > m for n, m in zip(most, wanted, strict=True)):
            raise ValueError(
                f"padded_batch: padded_shapes must hold every element, got {shape} for {most}"
            )
        most = wanted
    dtype = np.result_type(*arrays)
    fill = value if value is not None else "" if dtype.kind in "US" else 0
    whole = np.full((len(arrays), *most), fill, dtype)
    for i, array in enumerate(arrays):
        at: Any = (i, *(slice(n) for n in array.shape))
        whole[at] = array
    return whole
