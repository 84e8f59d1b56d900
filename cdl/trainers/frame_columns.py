"""Column names of the training data, compared with those of later data.

A net knows its inputs by their places: a frame whose columns stand in another order gives other
numbers without an error. So the names that training saw are remembered, and others are told of.
"""

from collections.abc import Sequence
from typing import Any

from cdl._common.errors import warn
from cdl.data.frames import names_of
from cdl.trainers.signature import TrainableModel

Names = tuple[str, ...]
_SHOWN = 5  # names in a list


class Columns:
    """Column names of each input in the last training.

    Attributes:
        names: by the number of the input.
    """

    def __init__(self) -> None:
        self.names: dict[int, Names] = {}
        self._told: set[tuple[int, Names]] = set()

    def compare(self, number: int, names: Names, part: str) -> None:
        """Warn once if column names differ from those of the training.

        Args:
            number: of the input.
            names: of its columns now.
            part: what errors call it, such as "predict: x".
        """
        known = self.names.get(number, names)
        if names == known or (number, names) in self._told:
            return
        self._told.add((number, names))
        warn(f"{part} has other columns than in fit: {_difference(names, known)}")


def notice(
    model: TrainableModel, flat: Sequence[Any], parts: Sequence[str], call: str, trains: bool
) -> None:
    """Compare the columns of frames with those of the training; store them if it is one.

    Args:
        model: whose inputs they are.
        flat: what was given for each input.
        parts: what errors call these.
        call: the place, such as "predict".
        trains: whether it is a call that trains.
    """
    for i, given in enumerate(flat):
        names = names_of(given)
        if names is not None:
            notice_names(model, i, names, f"{call}: {parts[i]}", trains)


def notice_names(model: TrainableModel, number: int, names: Names, part: str, trains: bool) -> None:
    """Compare the column names of one input, as `notice` does.

    Args:
        model: whose input it is.
        number: of the input.
        names: of its columns.
        part: what errors call it, such as "predict: x".
        trains: whether it is a call that trains.
    """
    if model._columns is None:
        model._columns = Columns()
    model._columns.compare(number, names, part)
    if trains:
        model._columns.names[number] = names


def _difference(names: Names, known: Names) -> str:
    if sorted(names) == sorted(known):
        now, then = next(pair for pair in zip(names, known, strict=True) if pair[0] != pair[1])
        return (
            f"they stand in another order, such as {now!r} in the place of {then!r}, and a net "
            "goes by places: choose the columns by a list of their names"
        )
    new = [name for name in names if name not in known]
    missing = [name for name in known if name not in names]
    parts = [f"{len(names)} instead of {len(known)}"] if len(names) != len(known) else []
    parts += [f"{_listed(new)} new"] if new else []
    parts += [f"{_listed(missing)} missing"] if missing else []
    return ", ".join(parts)


def _listed(names: Sequence[str]) -> str:
    more = [f"{len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    return " and ".join([", ".join(map(repr, names[:_SHOWN])), *more])
