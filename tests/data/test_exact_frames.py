"""Integers of frames come through as they are, whatever stands beside them."""

import datetime

import numpy as np
import pytest

import cdl
from cdl import layers
from cdl.data import as_numeric

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")

IDS = np.array([16777217, 16777219, 16777216, 2**31 + 1])
SMALL = np.arange(4)


def frames(columns):
    """A frame of each library."""
    yield pd.DataFrame(columns)
    yield pl.DataFrame(columns)
    yield pa.table(columns)


BESIDE = {
    "int32": SMALL.astype("int32"),
    "uint8": SMALL.astype("uint8"),
    "uint64": SMALL.astype("uint64"),
    "bool": SMALL > 1,
    "float32": SMALL.astype("float32") / 2,
    "float64": SMALL / 2,
}


@pytest.mark.parametrize("beside", BESIDE)
def test_ids_are_not_rounded_beside_other_columns(beside):
    for frame in frames({"id": IDS, "b": BESIDE[beside]}):
        array = as_numeric(frame, "x")
        assert array[:, 0].astype("int64").tolist() == IDS.tolist(), type(frame)
        np.testing.assert_array_equal(array[:, 1], BESIDE[beside])


@pytest.mark.parametrize("dtype", ["Int64", "UInt64", "object", "int64[pyarrow]", "Int64 frame"])
def test_ids_of_other_kinds_of_pandas_are_not_rounded(dtype):
    column = pd.Series(IDS.tolist(), dtype=dtype.removesuffix(" frame"))
    if dtype.endswith("frame"):
        array = as_numeric(pd.DataFrame({"id": column, "b": column}), "x")
    else:
        array = as_numeric(pd.DataFrame({"id": column, "b": SMALL.astype("int8")}), "x")
        alone = as_numeric(column, "x")
        assert alone.dtype.kind in "iu" and alone.tolist() == IDS.tolist()
    assert array.dtype.kind in "iu" and array[:, 0].tolist() == IDS.tolist()


def test_a_lookup_finds_the_ids_of_a_frame():
    vocabulary = [16777216, 16777217, 16777219, 1, 2]
    inputs = cdl.Input((2,), dtype="int64")
    model = cdl.Model(inputs, layers.IntegerLookup(vocabulary=vocabulary)(inputs))
    ids, small = np.array([16777217, 16777219]), np.array([1, 2], "int32")
    for frame in frames({"a": ids, "b": small}):
        assert model.predict(frame, verbose=0).tolist() == [[2, 4], [3, 5]]


def test_small_numbers_beside_floats_stay_float32():
    for frame in frames({"a": SMALL, "b": SMALL / 2}):
        assert as_numeric(frame, "x").dtype == np.float32


def test_integers_without_floats_have_the_least_dtype_of_all():
    frame = {"a": SMALL.astype("int16"), "b": SMALL.astype("uint8"), "c": SMALL > 1}
    for each in frames(frame):
        assert as_numeric(each, "x").dtype == np.int16


def test_unsigned_beyond_int64():
    large = np.array([2**63 + 1, 2**64 - 1, 0, 1], "uint64")
    for frame in frames({"id": large, "b": SMALL}):
        array = as_numeric(frame, "x")
        assert array.dtype == np.uint64 and array[:, 0].tolist() == large.tolist()
    for frame in frames({"id": large, "b": -SMALL}):
        with pytest.raises(ValueError, match=r"fit: x must have integers .*'id'"):
            as_numeric(frame, "fit: x")


def test_integers_that_no_float_has_are_refused_beside_floats():
    for frame in frames({"id": np.array([2**53 + 1] * 4), "b": SMALL / 2}):
        with pytest.raises(ValueError, match=r"fit: x must have integers up to 2\^53.*'id'"):
            as_numeric(frame, "fit: x")
    with pytest.raises(ValueError, match="'id' must hold integers of 64 bits"):
        as_numeric(pd.DataFrame({"id": pd.Series([2**70 + 1] * 4, dtype=object), "b": SMALL}), "x")


@pytest.mark.parametrize(
    "column",
    [
        pd.Series([datetime.date(2020, 1, i + 1) for i in range(4)]),
        pd.date_range("2020-01-01", periods=4),
        pd.date_range("2020-01-01", periods=4, tz="Europe/Berlin"),
    ],
    ids=["objects", "dates", "zones"],
)
def test_dates_are_refused_by_name(column):
    with pytest.raises(ValueError, match=r"'day'.*days since"):
        as_numeric(pd.DataFrame({"a": SMALL, "day": column}), "x")
    for frame in frames({"a": SMALL, "day": list(column)}):
        with pytest.raises(ValueError, match="'day'"):
            as_numeric(frame, "x")


def test_parts_of_a_table_have_one_dtype_whatever_their_values():
    frame = pl.DataFrame({"id": np.r_[SMALL, IDS], "x": np.arange(8.0)})
    inputs = cdl.Input((2,), dtype="float64")
    model = cdl.Model(inputs, layers.IntegerLookup(vocabulary=IDS)(inputs))
    found = model.predict(frame.lazy(), verbose=0, batch_size=2)
    assert found[:, 0].tolist() == [0, 0, 0, 0, 1, 2, 3, 4]
