"""`utils.windows`: windows of series with the steps that follow; and windows that do not fit."""

import numpy as np
import pytest

import cdl
from cdl.utils import timeseries_dataset_from_array, windows

SERIES = np.arange(30.0)
TABLE = np.stack([SERIES, SERIES + 100, SERIES + 200], 1)


@pytest.mark.parametrize("gap", [0, 2])
@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("horizon", [1, 4])
def test_windows_are_followed_by_their_targets(horizon, stride, gap):
    x, y = windows(SERIES, 6, horizon, stride=stride, gap=gap)
    starts = [s for s in range(0, 30, stride) if s + 6 + gap + horizon <= 30]
    assert x.tolist() == [SERIES[s : s + 6].tolist() for s in starts]
    assert y.tolist() == [SERIES[s + 6 + gap :][:horizon].tolist() for s in starts]


def test_all_windows_are_there_and_no_more():
    x, y = windows(np.arange(10), 7, 3)
    assert x.tolist() == [list(range(7))] and y.tolist() == [[7, 8, 9]]
    with pytest.raises(ValueError, match=r"at least input \+ gap \+ horizon = 11 steps, got"):
        windows(np.arange(10), 7, 4)


@pytest.mark.parametrize(
    ("targets", "columns"), [(None, [0, 1, 2]), (1, 1), ([2, 0], [2, 0]), ([1], [1])]
)
def test_targets_are_chosen_by_column(targets, columns):
    x, y = windows(TABLE, 5, 2, targets=targets)
    assert x.shape == (24, 5, 3)
    np.testing.assert_array_equal(x[3], TABLE[3:8])
    np.testing.assert_array_equal(y[3], TABLE[8:10, columns])


def test_columns_of_frames_have_names():
    pd, pl, pa = (pytest.importorskip(each) for each in ("pandas", "polars", "pyarrow"))
    columns = {"sales": SERIES, "price": SERIES + 100, "day": SERIES + 200}
    for frame in (pd.DataFrame(columns), pl.DataFrame(columns), pa.table(columns)):
        for targets, at in (("price", 1), (["day", "sales"], [2, 0])):
            x, y = windows(frame, 5, 2, targets=targets)
            np.testing.assert_array_equal(x[1], TABLE[1:6])
            np.testing.assert_array_equal(y[1], TABLE[6:8, at])
        with pytest.raises(ValueError, match=r"targets must be columns of the series, .*'sale'"):
            windows(frame, 5, 2, targets="sale")
    np.testing.assert_array_equal(windows(pd.Series(SERIES), 5)[0], windows(SERIES, 5)[0])


def test_no_window_goes_from_one_series_into_the_next():
    x, y = windows([SERIES, SERIES[:8] + 1000], 5, 2)
    assert len(x) == 24 + 2
    assert ((x > 900).all(1) == (y > 900).all(1)).all() and (
        (x > 900).all(1) | (x < 900).all(1)
    ).all()
    np.testing.assert_array_equal(x[-1], SERIES[1:6] + 1000)
    with pytest.raises(ValueError, match=r"series\[1\] must have .* = 7 steps, got \(3,\)"):
        windows([SERIES, SERIES[:3]], 5, 2)
    with pytest.raises(ValueError, match="as many columns"):
        windows([TABLE, TABLE[:, :2]], 5, 2)


@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_are_the_windows_again_and_again(shuffle):
    x, y = windows(TABLE, 5, 3, targets=0)
    data = windows(TABLE, 5, 3, targets=0, batch_size=4, shuffle=shuffle, seed=1)
    passes = [[np.concatenate(part) for part in zip(*data, strict=True)] for _ in range(2)]
    for left, right in passes:
        order = np.argsort(left[:, 0, 0])
        np.testing.assert_array_equal(left[order], x)
        np.testing.assert_array_equal(right[order], y)
    assert len(data) == -(-len(x) // 4)
    assert np.array_equal(passes[0][0], passes[1][0]) is not shuffle


def test_a_model_learns_from_arrays_and_from_batches_alike():
    def trained(*data):
        cdl.utils.set_random_seed(0)
        model = cdl.Sequential([cdl.layers.LSTM(4), cdl.layers.Dense(3)])
        model.compile("sgd", "mse")
        model.fit(*data, batch_size=None if len(data) < 2 else 8, shuffle=False, verbose=0)
        return model.get_weights()

    table = TABLE / 200
    arrays = trained(*windows(table, 5, 3, targets=1))
    batches = trained(windows(table, 5, 3, targets=1, batch_size=8))
    for left, right in zip(arrays, batches, strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"input": 0}, "input"),
        ({"horizon": 0}, "horizon"),
        ({"stride": 0}, "stride"),
        ({"gap": -1}, "gap"),
        ({"batch_size": 0}, "batch_size"),
        ({"shuffle": True}, "shuffle must be False unless batch_size"),
        ({"targets": 3}, "targets"),
        ({"targets": "a"}, "targets"),
        ({"targets": [0, 9]}, "targets"),
        ({"targets": True}, "targets"),
    ],
    ids=str,
)
def test_numbers_that_do_not_fit_are_refused(given, text):
    with pytest.raises(ValueError, match=text):
        windows(TABLE, **{"input": 5, "horizon": 2, **given})
    with pytest.raises(ValueError, match=r"\(steps,\) or \(steps, columns\)"):
        windows(np.zeros((9, 2, 2)), 3)


@pytest.mark.parametrize(
    "given",
    [
        {"sequence_length": 31},
        {"sequence_length": 16, "sampling_rate": 2},
        {"sequence_length": 5, "start_index": 27},
        {"sequence_length": 5, "end_index": 4},
    ],
    ids=str,
)
def test_windows_longer_than_the_series_are_refused(given):
    for targets in (None, SERIES):
        with pytest.raises(ValueError, match="timeseries_dataset_from_array: sequence_length must"):
            timeseries_dataset_from_array(SERIES, targets, **given)
    with pytest.raises(ValueError, match="targets must not be empty"):
        timeseries_dataset_from_array(SERIES, SERIES[:3], 3, start_index=5)


def test_a_window_of_the_whole_series_is_one():
    (batch,) = timeseries_dataset_from_array(SERIES, None, 30)
    assert batch.tolist() == [SERIES.tolist()]
