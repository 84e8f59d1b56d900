"""`tf.lookup`, `tf.ragged` and `tf.sparse`: tables, rows of different lengths, sparse matrices."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from cdl.data.texts import decoded
from cdl.scripts.tensor import tensors
from cdl.scripts.tf_elements import element_of
from cdl.scripts.tf_functions import function
from cdl.scripts.tf_strings import Ragged


class KeyValues(NamedTuple):
    """`tf.lookup.KeyValueTensorInitializer`: keys and values of a table."""

    keys: Any
    values: Any
    key_dtype: Any = None
    value_dtype: Any = None
    name: Any = None


class StaticHashTable:
    """`tf.lookup.StaticHashTable`: values by key, of texts or numbers.

    Args:
        initializer: a `KeyValues`.
        default_value: the value of all other keys.
        options: of TensorFlow, without effect.
    """

    def __init__(self, initializer: KeyValues, default_value: Any, **options: Any) -> None:
        values = element_of(initializer.values, initializer.value_dtype)
        self._dtype = "U" if values.dtype.kind in "US" else values.dtype
        keys = map(_key, np.asarray(initializer.keys).ravel().tolist())
        self._values = dict(zip(keys, values.ravel().tolist(), strict=True))
        self._default = default_value

    def lookup(self, keys: Any, name: Any = None) -> Any:
        """Return a tensor of the values of keys."""
        given = np.asarray(keys)
        found = [self._values.get(_key(each), self._default) for each in given.ravel().tolist()]
        return tensors(np.asarray(found, self._dtype).reshape(given.shape))

    __getitem__ = lookup

    def size(self, name: Any = None) -> Any:
        """The number of keys."""
        return tensors(np.int64(len(self._values)))


def _key(value: Any) -> Any:
    return decoded(value) if isinstance(value, bytes) else value


class SparseTensor:
    """`tf.SparseTensor`: the elements of a tensor that are not zero, in the order of rows.

    Args:
        indices: their places, a row each.
        values: their values.
        dense_shape: the shape of the tensor.
    """

    def __init__(self, indices: Any, values: Any, dense_shape: Any) -> None:
        self.indices = tensors(np.asarray(indices, np.int64))
        self.values = function("convert_to_tensor")(values)
        self.dense_shape = tensors(np.asarray(dense_shape, np.int64))

    @property
    def shape(self) -> Any:
        """The shape of the whole tensor."""
        return tensors(np.empty(self.dense_shape, bool)).shape

    @property
    def dtype(self) -> Any:
        """The dtype of the values."""
        return self.values.dtype


def _ordered(sp_input: SparseTensor, name: Any = None) -> SparseTensor:
    """`tf.sparse.reorder`: the elements in the order of rows."""
    order = np.lexsort(np.asarray(sp_input.indices).T[::-1])
    values = function("take")(sp_input.values, order, axis=0)
    return SparseTensor(sp_input.indices[order], values, sp_input.dense_shape)


def _to_dense(sp_input: SparseTensor, default_value: Any = None, **options: Any) -> Any:
    """`tf.sparse.to_dense`: the whole tensor."""
    shape = tuple(map(int, sp_input.dense_shape))
    dense = function("scatter")(sp_input.indices, sp_input.values, shape)
    if default_value is None:
        return dense
    there = np.zeros(shape, bool)
    there[tuple(np.asarray(sp_input.indices).T)] = True
    return function("where")(there, dense, default_value)


def _from_dense(tensor: Any, name: Any = None) -> SparseTensor:
    """`tf.sparse.from_dense`: the elements that are not zero."""
    array = element_of(tensor)
    places = np.argwhere(array)
    return SparseTensor(places, array[tuple(places.T)], array.shape)


def _matmul(sp_a: SparseTensor, b: Any, adjoint_a: bool = False, **options: Any) -> Any:
    """`tf.sparse.sparse_dense_matmul`: a sparse matrix by a dense one."""
    rows, columns = np.asarray(sp_a.indices).T[:: -1 if adjoint_a else 1]
    lines = function("take")(b, columns, axis=0)
    scaled = function("multiply")(lines, function("expand_dims")(sp_a.values, 1))
    return function("segment_sum")(scaled, rows, int(sp_a.dense_shape[int(adjoint_a)]))


def _distances(hypothesis: Any, truth: Any, normalize: bool = True, name: Any = None) -> Any:
    """`tf.edit_distance`: of the rows of two sparse matrices, relative to the truth's length."""
    rows = int(max(hypothesis.dense_shape[0], truth.dense_shape[0]))
    found = np.zeros(rows, np.float32)
    for i in range(rows):
        a, b = (np.asarray(s.values)[np.asarray(s.indices)[:, 0] == i] for s in (hypothesis, truth))
        line = np.arange(len(b) + 1)
        for k, each in enumerate(a):
            cost = np.minimum(line[1:] + 1, line[:-1] + (b != each))
            line = np.concatenate(([k + 1], cost)) - np.arange(len(b) + 1)
            line = np.minimum.accumulate(line) + np.arange(len(b) + 1)
        found[i] = line[-1] / len(b) if normalize and len(b) else line[-1]
    return tensors(found)


def _ragged(pylist: Any, dtype: Any = None, **options: Any) -> Ragged:
    """`tf.ragged.constant`: rows of different lengths, of texts or numbers."""
    whole = element_of([each for row in pylist for each in row], dtype).dtype
    return Ragged(np.asarray(row, whole) for row in pylist)


LOOKUP: dict[str, Any] = {
    "KeyValueTensorInitializer": KeyValues,
    "StaticHashTable": StaticHashTable,
}
RAGGED: dict[str, Any] = {"constant": _ragged}
SPARSE: dict[str, Any] = {
    "SparseTensor": SparseTensor,
    "from_dense": _from_dense,
    "reorder": _ordered,
    "sparse_dense_matmul": _matmul,
    "to_dense": _to_dense,
}
ROOT: dict[str, Any] = {"SparseTensor": SparseTensor, "edit_distance": _distances}
