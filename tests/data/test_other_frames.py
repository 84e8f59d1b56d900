"""Frames of Polars, PyArrow and, by the interchange protocol, of others."""

import numpy as np
import pytest

import cdl
from cdl.data import as_numeric, is_stream

pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")


class Exchanged:
    """A frame with nothing but the interchange protocol."""

    def __init__(self, frame):
        self._frame = frame

    def __dataframe__(self, nan_as_null=False, allow_copy=True):
        return self._frame.__dataframe__()


COLUMNS = {
    "int": [3, 1, 2, 5],
    "float": [0.5, float("nan"), -1.5, 2.0],
    "bool": [True, False, True, True],
}
EXPECTED = np.array([*COLUMNS.values()], np.float32).T
TEXT, DATES = ["a", "b", "a", "c"], np.array(["2020-01-01"] * 4, "M8[ms]")


def polars(columns):
    return pl.DataFrame(columns, strict=False)


def batch(columns):
    return pa.RecordBatch.from_pydict(columns)


def exchanged(columns):
    return Exchanged(pa.table(columns))


def chunks(columns):
    """A table of which each column comes in two parts."""
    table = pa.table(columns)
    return pa.concat_tables([table.slice(0, 1), table.slice(1)])


def exchanged_chunks(columns):
    return Exchanged(chunks(columns))


MAKERS = [polars, pa.table, batch, chunks, exchanged, exchanged_chunks]


@pytest.mark.parametrize("make", MAKERS)
def test_columns_of_numbers_become_float32(make):
    frame = make(COLUMNS)
    assert not is_stream(frame)
    array = as_numeric(frame, "x")
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, EXPECTED)


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int64", "float32", "float64"])
@pytest.mark.parametrize("make", MAKERS)
def test_types_of_all_sizes_are_read(make, dtype):
    column = np.arange(4).astype(dtype)
    array = as_numeric(make({"a": column, "b": column[::-1]}), "x")
    np.testing.assert_array_equal(array, np.stack([column, column[::-1]], axis=1))


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(
    ("column", "advice"),
    [(TEXT, "OneHotEncoder"), (DATES, "days since")],
    ids=["text", "dates"],
)
def test_column_without_numbers_is_refused_by_its_name(make, column, advice):
    with pytest.raises(ValueError, match="fit: x must have columns of real numbers") as caught:
        as_numeric(make({"age": [1, 2, 3, 4], "city": column}), "fit: x")
    assert "'city' (" in str(caught.value)
    assert "'age'" not in str(caught.value)
    assert advice in str(caught.value)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("column", [[1, None, 2, None], [True, None, None, False]])
def test_missing_values_are_counted_by_column(make, column):
    with pytest.raises(ValueError, match="fit: x must have no missing values, got 2 in 'b'"):
        as_numeric(make({"a": [1, 2, 3, 4], "b": column}), "fit: x")


def test_categories_and_lists_are_refused():
    frame = pl.DataFrame({"a": pl.Series(TEXT, dtype=pl.Categorical), "b": [[1]] * 4})
    with pytest.raises(ValueError, match=r"'a' \(Categorical.*'b' \(List\(Int64\)\)"):
        as_numeric(frame, "x")
    table = pa.table({"a": pa.array(TEXT).dictionary_encode()})
    with pytest.raises(ValueError, match=r"'a' \(dictionary"):
        as_numeric(table, "x")


@pytest.mark.parametrize(
    "column",
    [pl.Series("y", [1, 0, 1]), pa.array([1, 0, 1]), pa.chunked_array([[1], [0, 1]])],
    ids=["Series", "Array", "ChunkedArray"],
)
def test_columns_by_themselves_are_read(column):
    array = as_numeric(column, "y")
    assert array.dtype == np.int64
    np.testing.assert_array_equal(array, [1, 0, 1])


@pytest.mark.parametrize(
    "column", [pl.Series("y", TEXT), pa.array(TEXT), pl.Series("y", [1, None])], ids=str
)
def test_columns_by_themselves_are_refused(column):
    with pytest.raises(ValueError, match="fit: y must have"):
        as_numeric(column, "fit: y")


def test_memory_is_shared_where_it_can_be():
    base = np.asfortranarray(np.arange(12.0).reshape(6, 2))
    series, frame = pl.Series(base[:, 0]), pl.from_numpy(base)
    assert np.shares_memory(as_numeric(series, "y"), series.to_numpy())
    if frame.to_numpy().base is not None:  # Polars may have copied the columns apart
        assert np.shares_memory(as_numeric(frame, "x"), frame.to_numpy(allow_copy=False))
    array = pa.array(base[:, 0])
    assert np.shares_memory(as_numeric(array, "y"), array.to_numpy())


@pytest.mark.parametrize("make", [polars, pa.table, exchanged])
def test_frames_train_and_predict(make):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((64, 3)), rng.integers(0, 2, 64)
    frame = make({name: x[:, j] for j, name in enumerate("abc")})
    model = cdl.Sequential([cdl.Input((3,)), cdl.layers.Dense(1, "sigmoid")])
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    model.fit(frame, pl.Series(y), epochs=1, verbose=0)
    np.testing.assert_array_equal(
        model.predict(frame, verbose=0), model.predict(x.astype(np.float32), verbose=0)
    )
