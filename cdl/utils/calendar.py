"""Calendar features of dates, and train and test splits of time series."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl._common.validation import count, one_of, positive_int

Array = NDArray[Any]

_PARTS = ("day", "week", "month", "year")


def calendar_features(dates: Any, parts: Sequence[str] = ("week", "year")) -> Array:
    """Cyclic calendar features: sine and cosine of the position in the day, week, month or year.

    A net sees by them that December and January are near, which it does not by numbers of months.

    Args:
        dates: an array of dtype datetime64, a list of dates, or a column of pandas, Polars or
            Arrow, of shape (n,); of those with a time zone the local time counts.
        parts: "day", "week" (from Monday), "month" and "year", any of them.

    Returns:
        float32 of shape (n, 2 * len(parts)): ``sin(2 pi f), cos(2 pi f)`` for each part, where f
        is how much of it is over.

    Raises:
        ValueError: an unknown part, or something else than dates, or missing ones.
    """
    owner = "calendar_features"
    wanted = [parts] if isinstance(parts, str) else list(parts)
    for each in wanted:
        one_of(owner, "parts", each, _PARTS)
    times = _times(dates, owner)
    days = times.astype("datetime64[D]")
    found = []
    for part in wanted:
        if part in ("month", "year"):
            unit = f"datetime64[{part[0].upper()}]"
            start = days.astype(unit)
            first, after = (each.astype(times.dtype) for each in (start, start + 1))
            over = (times - first) / (after - first)
        else:
            of_day = (times - days.astype(times.dtype)) / np.timedelta64(1, "D")
            weekday = (days.astype(np.int64) + 3) % 7  # the first of 1970 was a Thursday
            over = of_day if part == "day" else (weekday + of_day) / 7
        found += [np.sin(2 * np.pi * over), np.cos(2 * np.pi * over)]
    return np.stack(found, axis=-1).astype(np.float32) if found else np.zeros((len(times), 0), "f4")


def _times(dates: Any, owner: str) -> Array:
    """Dates as datetime64 in microseconds."""
    accessor = getattr(dates, "dt", dates)
    if getattr(accessor, "tz", None) is not None:  # of pandas
        dates = accessor.tz_localize(None)
    if hasattr(dates, "to_pylist"):
        dates = [each if each is None else each.replace(tzinfo=None) if hasattr(each, "hour")
                 else each for each in dates.to_pylist()]  # fmt: skip
    elif hasattr(dates, "to_list") and hasattr(getattr(dates, "dtype", None), "time_zone"):
        dates = dates.dt.replace_time_zone(None)
    array = np.asarray(dates)
    try:
        if array.dtype.kind not in "MO" or array.ndim != 1:
            raise ValueError(f"shape {array.shape} of {array.dtype}")
        times: Array = array.astype("datetime64[us]")
    except (ValueError, TypeError) as error:
        raise ValueError(f"{owner}: dates must be dates of shape (n,), got {error}") from None
    missing = int(np.isnat(times).sum())
    if missing:
        raise ValueError(f"{owner}: dates must not be missing, got {missing} that are")
    return times


def rolling_origins(
    steps: int, horizon: int, origins: int = 3, *, stride: int | None = None, gap: int = 0
) -> Iterator[tuple[slice, slice]]:
    """Train and test parts of a time series for forecasts from several origins.

    The last test ends with the series, each former one `stride` steps before; nothing of a test is
    learned from. ``for past, test in rolling_origins(len(series), 12): ...``

    Args:
        steps: of the series.
        horizon: steps of a test.
        origins: how many tests.
        stride: steps from one test to the next; None for `horizon`, so that none overlap.
        gap: steps between what is learned from and the test.

    Returns:
        An iterator of two slices each.

    Raises:
        ValueError: nothing would be left to learn from at the first origin.
    """
    owner = "rolling_origins"
    counts = {"steps": steps, "horizon": horizon, "origins": origins}
    steps, horizon, origins = (positive_int(owner, name, n) for name, n in counts.items())
    every = horizon if stride is None else positive_int(owner, "stride", stride)
    first = steps - horizon - (origins - 1) * every
    if first - count(owner, "gap", gap) < 1:
        raise ValueError(
            f"{owner}: steps must be more than horizon + gap + (origins - 1) * stride = "
            f"{steps - first + gap}, got {steps}"
        )
    starts = range(first, first + origins * every, every)
    return ((slice(0, at - gap), slice(at, at + horizon)) for at in starts)
