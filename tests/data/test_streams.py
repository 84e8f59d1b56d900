"""Generators and other iterables of batches."""

import numpy as np
import pytest

from cdl.data import Stream, as_numeric, is_stream

X = np.zeros((2, 3))


def batches(n):
    for i in range(n):
        yield np.full((2, 3), i), np.zeros(2)


class Loader:
    """An iterable of batches with a length that can be read again."""

    def __iter__(self):
        return batches(2)

    def __len__(self):
        return 2


def first_numbers(stream):
    found = []
    while stream.ready():
        found.append(int(stream.take()[0][0, 0]))
    return found


@pytest.mark.parametrize("value", [batches(1), iter([(X,)]), Loader(), map(int, "1")])
def test_iterables_are_streams(value):
    assert is_stream(value)


@pytest.mark.parametrize("value", [X, [1], (1,), {"a": 1}, "a", None, 3, {1}])
def test_containers_and_arrays_are_not(value):
    assert not is_stream(value)


def test_frame_is_not():
    pd = pytest.importorskip("pandas")
    assert not is_stream(pd.DataFrame({"a": [1]}))
    assert not is_stream(pd.Series([1]))


def test_peeked_batch_stays_the_next():
    stream = Stream(batches(2), "x")
    assert stream.peek()[0][0, 0] == 0
    assert first_numbers(stream) == [0, 1]


def test_generator_goes_on_and_does_not_start_anew():
    stream = Stream(batches(3), "x")
    stream.take()
    stream.rewind()
    assert first_numbers(stream) == [1, 2]


def test_loader_starts_anew():
    stream = Stream(Loader(), "x")
    assert len(stream) == 2
    assert first_numbers(stream) == [0, 1]
    assert not stream.ready()
    stream.rewind()
    assert first_numbers(stream) == [0, 1]


def test_no_more_is_read_than_asked_for():
    read = []

    def endless():
        while True:
            read.append(1)
            yield (X,)

    stream = Stream(endless(), "x")
    stream.peek()
    stream.take()
    assert len(read) == 1


def test_empty_stream_is_refused():
    with pytest.raises(ValueError, match="fit: x must yield at least one batch"):
        Stream(batches(0), "fit: x").peek()


@pytest.mark.parametrize("batch", [X, (), (X, X, X, X), None, {"x": X}, [X], "abc"])
def test_batch_that_is_no_tuple_is_refused_by_number(batch):
    stream = Stream(iter([(X,), batch]), "fit: x")
    stream.take()
    with pytest.raises(ValueError, match=r"fit: x must yield tuples .* as batch 1"):
        stream.ready()


def test_list_of_arrays_is_a_tuple_as_data_loaders_yield_it():
    assert len(Stream(iter([[X, X]]), "x").take()) == 2


def test_error_in_a_generator_says_which_batch():
    def broken():
        yield (X,)
        raise OSError("disk")

    stream = Stream(broken(), "fit: x")
    stream.take()
    with pytest.raises(OSError, match="disk") as caught:
        stream.ready()
    assert caught.value.__notes__ == ["fit: x raised this instead of yielding batch 1"]


class Tensor:
    """A tensor as data loaders of other libraries yield it, convertible by `numpy()`."""

    def __init__(self, array):
        self.array = array

    def numpy(self):
        return self.array


@pytest.mark.parametrize(
    ("pack", "wrap"),
    [(list, Tensor), (tuple, Tensor), (list, np.asarray), (tuple, lambda array: array.tolist())],
)
def test_batches_of_data_loaders_are_read(pack, wrap):
    stream = Stream(iter([pack([wrap(np.zeros((4, 2))), wrap(np.zeros(4))])]), "x")
    x, y = stream.take()
    assert as_numeric(x, "x").shape == (4, 2)
    assert as_numeric(y, "y").shape == (4,)
