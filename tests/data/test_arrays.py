"""Arrays of numbers are converted, passed on without a copy, or refused by name."""

from datetime import date
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from cdl.data import as_numeric

BASE = np.arange(24, dtype=np.float32).reshape(6, 4)
READ_ONLY = BASE.copy()
READ_ONLY.setflags(write=False)
AS_THEY_ARE = {
    "float32": BASE,
    "float16": BASE.astype(np.float16),
    "bool": BASE > 3,
    "uint8": BASE.astype(np.uint8),
    "int64": BASE.astype(np.int64),
    "longdouble": BASE.astype(np.longdouble),
    "big_endian": BASE.astype(">f8"),
    "fortran": np.asfortranarray(BASE),
    "reversed": BASE[::-1, ::-1],
    "broadcast": np.broadcast_to(BASE[:1], (6, 4)),
    "read_only": READ_ONLY,
}


@pytest.mark.parametrize("name", AS_THEY_ARE)
def test_numeric_array_goes_through_as_it_is(name):
    assert as_numeric(AS_THEY_ARE[name], "x") is AS_THEY_ARE[name]


def test_memmap_is_not_copied(tmp_path):
    memmap = np.memmap(tmp_path / "x", np.float32, "w+", shape=(6, 4))
    assert np.shares_memory(as_numeric(memmap, "x"), memmap)


def test_lists_of_lists_become_an_array():
    np.testing.assert_array_equal(as_numeric([[1, 2], [3, 4]], "x"), [[1, 2], [3, 4]])


def test_anything_with_array_protocol_is_read():
    class Tensor:
        def __array__(self, dtype=None, copy=None):
            return BASE

    np.testing.assert_array_equal(as_numeric(Tensor(), "x"), BASE)


def test_anything_that_shares_its_memory_is_read_there():
    class Tensor:
        def __dlpack__(self, **options):
            return BASE.__dlpack__(**options)

        def __dlpack_device__(self):
            return BASE.__dlpack_device__()

    assert np.shares_memory(as_numeric(Tensor(), "x"), BASE)


def test_anything_that_says_what_it_is_in_numpy_is_read():
    class Tensor:
        def numpy(self):
            return BASE

    assert as_numeric(Tensor(), "x") is BASE


def test_objects_that_are_all_real_numbers_become_float64():
    given = np.array([[1, 2.5], [True, Fraction(1, 2)], [np.float32(3), np.bool_(False)]], object)
    array = as_numeric(given, "x")
    assert array.dtype == np.float64
    np.testing.assert_array_equal(array, [[1, 2.5], [1, 0.5], [3, 0]])


def test_masked_array_without_masked_elements_is_read():
    np.testing.assert_array_equal(as_numeric(np.ma.array(BASE), "x"), BASE)


class Sparse:
    nnz = 1

    def toarray(self):
        return BASE


REFUSED = {
    "none": (None, TypeError, "got None"),
    "text": ("abc", TypeError, "got 'abc'"),
    "dict": ({"a": BASE}, TypeError, "a dict with the keys ['a']"),
    "set": ({1, 2}, TypeError, "type set"),
    "generator": ((i for i in range(3)), TypeError, "type generator"),
    "class": (np.ndarray, TypeError, "the class ndarray"),
    "number": (3, ValueError, "single number 3"),
    "strings": (np.array([["a", "b"]]), ValueError, "<U1"),
    "number_strings": (np.array([["1", "2"]]), ValueError, "<U1"),
    "bytes": (np.array([[b"a"]]), ValueError, "|S1"),
    "complex": (BASE.astype(complex), ValueError, "complex128"),
    "dates": (np.zeros((3, 2), "M8[D]"), ValueError, "datetime64[D]"),
    "durations": (np.zeros((3, 2), "m8[s]"), ValueError, "timedelta64[s]"),
    "records": (np.zeros(3, [("a", "f4")]), ValueError, "[('a', '<f4')]"),
    "object_text": (np.array([[1, "b"]], object), ValueError, "'b' at [0, 1]"),
    "object_none": (np.array([[1.0, None]], object), ValueError, "None at [0, 1]"),
    "object_complex": (np.array([[1j]], object), ValueError, "1j at [0, 0]"),
    "object_decimal": (np.array([[Decimal(1)]], object), ValueError, "Decimal"),
    "object_date": (np.array([date(2020, 1, 1)], object), ValueError, "type date"),
    "object_arrays": (
        np.array([BASE, None], object)[:1],
        ValueError,
        "an array of shape (6, 4) at [0]",
    ),
    "huge": ([10**400], ValueError, "float64's range"),
    "ragged": ([[1, 2], [3]], ValueError, "rows of one length"),
    "list_with_text": ([[1, "a"]], ValueError, "<U21"),
    "list_with_none": ([[1, None]], ValueError, "None at [0, 1]"),
    "masked": (np.ma.array(BASE, mask=BASE > 20), ValueError, "3 of them"),
    "sparse": (Sparse(), TypeError, "sparse Sparse"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_holds_no_real_numbers_is_refused_by_name(name):
    value, error, text = REFUSED[name]
    with pytest.raises(error) as caught:
        as_numeric(value, "fit: x")
    assert str(caught.value).startswith("fit: x must ")
    assert text in str(caught.value)


def test_error_of_an_array_protocol_is_passed_on():
    class Broken:
        def __array__(self, dtype=None, copy=None):
            raise RuntimeError("needs grad")

    with pytest.raises(TypeError, match=r"x must be an array, got a Broken .* needs grad"):
        as_numeric(Broken(), "x")
