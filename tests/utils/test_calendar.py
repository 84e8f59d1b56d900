"""Dates as sines and cosines, and origins of forecasts."""

import datetime

import numpy as np
import pytest

from cdl.utils import calendar_features, rolling_origins

DATES = np.array(["2024-01-01", "2024-07-01T12:00", "2023-12-31T23:59:59", "1968-02-29"], "M8[us]")
FRACTIONS = {
    "day": lambda d: (d - d.replace(hour=0, minute=0, second=0)).total_seconds() / 86400,
    "week": lambda d: (d.weekday() + FRACTIONS["day"](d)) / 7,
    "month": lambda d: (
        (d - d.replace(day=1, hour=0, minute=0, second=0))
        / (
            (d.replace(day=1) + datetime.timedelta(32)).replace(day=1, hour=0, minute=0, second=0)
            - d.replace(day=1, hour=0, minute=0, second=0)
        )
    ),
    "year": lambda d: (
        (d - datetime.datetime(d.year, 1, 1))
        / (datetime.datetime(d.year + 1, 1, 1) - datetime.datetime(d.year, 1, 1))
    ),
}


@pytest.mark.parametrize("part", FRACTIONS)
def test_each_part_is_where_the_date_lies_in_it(part):
    angles = 2 * np.pi * np.array([FRACTIONS[part](each) for each in DATES.tolist()])
    found = calendar_features(DATES, [part])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.stack([np.sin(angles), np.cos(angles)], 1), atol=1e-6)
    np.testing.assert_array_equal(calendar_features(DATES, part), found)


def test_parts_stand_side_by_side():
    both = calendar_features(DATES)
    assert both.shape == (4, 4)
    np.testing.assert_array_equal(both[:, 2:], calendar_features(DATES, ["year"]))


def test_columns_of_frames_are_dates():
    pd, pl, pa = (pytest.importorskip(each) for each in ("pandas", "polars", "pyarrow"))
    expected = calendar_features(DATES, FRACTIONS)
    series = pd.Series(DATES)
    zoned = series.dt.tz_localize("Europe/Berlin")
    for dates in (
        DATES.tolist(),
        series,
        zoned,
        pd.DatetimeIndex(DATES),
        pd.DatetimeIndex(zoned),
        pl.Series(DATES),
        pl.Series(DATES).dt.replace_time_zone("Europe/Berlin"),
        pa.array(DATES),
        pa.array(zoned),
    ):
        np.testing.assert_allclose(calendar_features(dates, FRACTIONS), expected, atol=1e-6)
    days = [each.date() for each in DATES.tolist()]
    for dates in (days, pl.Series(days), pa.array(days)):
        np.testing.assert_allclose(
            calendar_features(dates, "week"),
            calendar_features(DATES.astype("M8[D]"), "week"),
            atol=1e-6,
        )


@pytest.mark.parametrize(
    "dates", [np.arange(3), ["2024-01-01"], [["a"]], np.zeros((2, 2), "M8[D]"), 3, ["x", None]]
)
def test_what_is_no_date_is_refused(dates):
    with pytest.raises(ValueError, match="calendar_features: dates must be dates of shape"):
        calendar_features(dates)


def test_missing_dates_and_unknown_parts_are_refused():
    with pytest.raises(ValueError, match="must not be missing, got 1"):
        calendar_features(np.array(["2024-01-01", "NaT"], "M8[D]"))
    with pytest.raises(ValueError, match="parts must be one of"):
        calendar_features(DATES, ["hour"])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((10, 2), [(4, 4, 6), (6, 6, 8), (8, 8, 10)]),
        ((10, 2, 2), [(6, 6, 8), (8, 8, 10)]),
        ((10, 3, 1), [(7, 7, 10)]),
    ],
)
def test_the_last_test_ends_with_the_series(given, expected):
    found = [(p.stop, t.start, t.stop) for p, t in rolling_origins(*given)]
    assert found == expected
    assert all(past.start == 0 for past, _ in rolling_origins(*given))


def test_gaps_and_strides_of_origins():
    found = [(p.stop, t.start, t.stop) for p, t in rolling_origins(20, 4, 3, stride=1, gap=2)]
    assert found == [(12, 14, 18), (13, 15, 19), (14, 16, 20)]
    with pytest.raises(ValueError, match=r"steps must be more than .* = 6, got 6"):
        rolling_origins(6, 2)
    for wrong in ({"horizon": 0}, {"origins": 0}, {"stride": 0}, {"gap": -1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            rolling_origins(**{"steps": 20, "horizon": 2, **wrong})
