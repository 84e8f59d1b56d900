"""RowValues: values of one row, of a dict, list, array or frame, in microseconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class RowValues:
    """Values of X in the order of the columns in `fit`, if X is one row.

    Args:
        names: of the columns, if `fit` has seen some.
        width: number of columns.
    """

    def __init__(self, names: Array | None, width: int) -> None:
        self._given = names, width
        self._names: list[str] | None = None if names is None else names.tolist()
        self._width, self._index = width, None
        self._frame: Any = None  # the class of frames of pandas
        self._seen: Any = None  # the last Index that has the names
        self._places: dict[int, tuple[Any, list[int]]] = {}  # of values of a block, by its id
        self._categories: dict[int, tuple[Any, dict[int, Any]]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return RowValues, self._given

    def __call__(self, x: Any) -> Sequence[Any] | None:
        """Values of a dict by names, a frame of pandas or Polars, a list of one list, or an array.

        None says that X must be read column by column, which tells also what is wrong with it.
        """
        kind, names, width = type(x), self._names, self._width
        if kind is dict:
            if names is None or len(x) != width:
                return None
            try:
                return [x[name] for name in names]
            except KeyError:
                return None
        if kind is np.ndarray:
            plain = names is None and x.dtype.char in "fdO" and x.shape == (1, width)
            return x[0].tolist() if plain else None
        if kind is list:
            plain = names is None and len(x) == 1 and type(x[0]) in (list, tuple)
            return x[0] if plain and len(x[0]) == width else None
        if names is None or (kind is not self._frame and len(getattr(x, "shape", ())) != 2):
            return None
        if kind is self._frame or hasattr(x, "iloc"):
            self._frame = kind  # to ask it is a tenth of a microsecond less
            if len(x.index) != 1 or not self._has_names(x.columns):
                return None
            values = self._of_blocks(x)
            return values if values is not None else list(x.iloc[0].tolist())
        return x.row(0) if hasattr(x, "row") and len(x) == 1 and list(x.columns) == names else None

    def _has_names(self, columns: Any) -> bool:
        """Whether an Index of pandas, which compares faster than lists do, has the names.

        That of the row before, as rows of one frame have it, is not compared again.
        """
        if self._seen is not None and self._seen.is_(columns):
            return True
        if self._index is None:
            import pandas

            self._index = pandas.Index(self._names)
        if not columns.equals(self._index):
            return False
        self._seen = columns  # which never changes
        return True

    def _of_blocks(self, x: Any) -> list[Any] | None:
        """Values of a frame of pandas by the blocks it is kept in, which no public call shows.

        None, for `iloc` to read them, where pandas keeps them otherwise. Dates give no value that
        counts as one.
        """
        values: list[Any] = [None] * self._width
        places = self._places
        try:
            for block in x._mgr.blocks:
                part, where = block.values, block.mgr_locs
                at = places.get(id(where))
                if at is None or at[0] is not where:
                    if len(places) > self._width:  # those of frames before
                        places.clear()
                    at = places[id(where)] = where, where.as_array.tolist()
                kind = type(part)
                if kind is np.ndarray:
                    if part.dtype.kind not in "biufO":
                        return None
                    if len(at[1]) > 1:
                        for i, value in zip(at[1], part.ravel().tolist(), strict=True):
                            values[i] = value
                        continue
                    values[at[1][0]] = part.item()
                    continue
                (i,) = at[1]
                if (name := kind.__name__) == "Categorical":
                    values[i] = self._category(i, part.dtype, part._ndarray.item())
                elif name.startswith("Arrow"):  # of which one by one takes 5 us
                    (values[i],) = part.__arrow_array__().to_pylist()
                else:
                    (values[i],) = part.tolist()
        except (AttributeError, TypeError, ValueError):
            return None
        return values

    def _category(self, i: int, dtype: Any, code: int) -> Any:
        """Category of a code in column i, kept since pandas takes 2 us to tell it."""
        kept = self._categories.get(i)
        if kept is None or kept[0] is not dtype:
            kept = self._categories[i] = dtype, {-1: None}
        known: dict[int, Any] = kept[1]
        if code not in known:
            known[code] = dtype.categories[code]
        return known[code]
