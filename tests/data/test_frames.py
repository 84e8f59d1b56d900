"""Pandas objects: views where there is one block, names of columns in errors."""

import numpy as np
import pytest

from cdl.data import as_numeric

pd = pytest.importorskip("pandas")

BASE = np.arange(12, dtype=np.float64).reshape(6, 2)


def test_frame_of_one_dtype_is_not_copied():
    frame = pd.DataFrame(BASE, columns=["a", "b"])
    array = as_numeric(frame, "x")
    assert np.shares_memory(array, frame.to_numpy())
    np.testing.assert_array_equal(array, BASE)


def test_order_of_rows_and_not_the_index_counts():
    frame = pd.DataFrame(BASE, index=[5, 3, 1, 0, 2, 4])
    np.testing.assert_array_equal(as_numeric(frame, "x"), BASE)


@pytest.mark.parametrize(
    "column",
    [
        np.arange(6),
        np.arange(6) > 2,
        np.arange(6, dtype=np.uint8),
        pd.array(np.arange(6), dtype="Int64"),
        pd.array(np.arange(6) > 2, dtype="boolean"),
        pd.array(np.arange(6) / 2, dtype="Float32"),
        np.array([1, 2.5, True, 3, 4, 5], object),
    ],
    ids=lambda column: str(column.dtype),
)
def test_columns_of_several_dtypes_become_float32(column):
    array = as_numeric(pd.DataFrame({"a": BASE[:, 0], "b": column}), "x")
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array[:, 1], np.asarray(column, np.float32))


def test_missing_values_are_counted_by_column():
    frame = pd.DataFrame(
        {
            "age": pd.array([1, None, None], dtype="Int64"),
            "size": [1.0, 2.0, 3.0],
            "ok": pd.array([True, None, False], dtype="boolean"),
            "any": pd.Series([1, None, 2.5], dtype=object),
        }
    )
    with pytest.raises(ValueError, match="fit: x must have no missing values") as caught:
        as_numeric(frame, "fit: x")
    assert "got 2 in 'age' (Int64), 1 in 'ok' (boolean), 1 in 'any' (object): " in str(caught.value)
    assert "fillna" in str(caught.value)


def test_nan_in_a_column_of_floats_is_a_number_like_others():
    frame = pd.DataFrame({"a": [1.0, np.nan], "b": [1, 2]})
    np.testing.assert_array_equal(as_numeric(frame, "x"), [[1, 1], [np.nan, 2]])


def test_series_and_index_are_read():
    np.testing.assert_array_equal(as_numeric(pd.Series([1, 2, 3]), "y"), [1, 2, 3])
    np.testing.assert_array_equal(as_numeric(pd.Index([1, 2, 3]), "y"), [1, 2, 3])
    nullable = as_numeric(pd.Series([1, 0, 1], dtype="Int64"), "y")
    np.testing.assert_array_equal(nullable, [1, 0, 1])
    assert nullable.dtype == np.int64


@pytest.mark.parametrize(
    ("column", "advice"),
    [
        (["x", "y", "z"], "get_dummies"),
        (pd.Categorical([1, 2, 3]), "get_dummies"),
        (pd.to_datetime(["2020-01-01"] * 3), "days since"),
        (pd.to_timedelta([1, 2, 3], unit="s"), "total_seconds"),
        ([1j, 2j, 3j], "complex"),
    ],
    ids=["text", "category", "dates", "durations", "complex"],
)
def test_column_without_numbers_is_refused_by_its_name(column, advice):
    with pytest.raises(ValueError, match="fit: x must have columns of real numbers") as caught:
        as_numeric(pd.DataFrame({"age": [1, 2, 3], "city": column}), "fit: x")
    assert "'city'" in str(caught.value)
    assert "'age'" not in str(caught.value)
    assert advice in str(caught.value)


def test_series_of_text_is_refused():
    with pytest.raises(ValueError, match="fit: y must have columns of real numbers, got 'label'"):
        as_numeric(pd.Series(["a", "b"], name="label"), "fit: y")


def test_frames_of_derived_classes_are_read():
    class Places(pd.DataFrame):
        pass

    frame = Places({"a": pd.array([1, 2], dtype="Int64"), "b": [1.5, 2.5]})
    np.testing.assert_array_equal(as_numeric(frame, "x"), [[1, 1.5], [2, 2.5]])
    with pytest.raises(ValueError, match="'c'"):
        as_numeric(Places({"a": [1], "c": ["text"]}), "x")
