"""One pass of all members over rows, without training: predictions and evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl import _core
from cdl._common.errors import StandsInError, standing_in
from cdl._common.overriding import is_users
from cdl.trainers.data_adapter import Arrays
from cdl.trainers.epoch_iterator import DEFAULT_BATCH, for_step, in_order
from cdl.trainers.fit_loop import SLICE
from cdl.trainers.many.member_data import ByMember, MemberData, joined
from cdl.trainers.many.stand_in import Stacks, StandIn
from cdl.trainers.predictors import FEW, MANY

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Errors and warnings of data, which `predict` or `evaluate` is to give for the member alone.
_OF_DATA = TypeError, ValueError, ArithmeticError, StandsInError
_MOST_NUMBERS = 2**22  # numbers in the rows and orders of the members of a call


def predicted(stand_in: StandIn, stacks: Stacks, of: ByMember) -> Any:
    """Predictions of all members by one call of the core.

    Args:
        stand_in: the model that makes the program; it has predicted the rows of member 0.
        stacks: weights of the members.
        of: samples by member.

    Returns:
        Array (members, rows, ...), or a list of arrays for rows of several numbers; None if each
        member must call `predict`.
    """
    made, n = stand_in.model._predictors_made, len(stacks[0])
    if made is None or is_users(type(stand_in.model)):
        return None
    with suppress(*_OF_DATA):
        x, rows = joined(of, range(n))
        least, most = int(rows[1].min()), int(rows[1].max())
        if least < 1 or most > MANY or least <= FEW < most:
            return None
        executor = made.executor_for(of(0))
        places = stand_in.places_in(made.program)
        if type(executor) is not _core.Executor or x.shape[1:] != made.row_shape or places is None:
            return None
        parameters = [stand_in.storages[place] for place in places]
        own = [stacks[place] for place in places]
        found = _core.predict_members(executor, parameters, own, x, rows)
        if least == most:
            return found.reshape(n, most, *found.shape[1:])
        return np.split(found, np.cumsum(rows[1])[:-1])
    return None


def evaluated(
    stand_in: StandIn, stacks: Stacks, data: MemberData, batch: int | None
) -> dict[str, NDArray[Any]] | None:
    """Losses and metrics of all members, many in a call of the core.

    Args:
        stand_in: the model that makes the program; it has evaluated the rows of member 0.
        stacks: weights of the members.
        data: rows by member.
        batch: batch size.

    Returns:
        An array (members,) for each name; None if each member must call `evaluate`.
    """
    with suppress(*_OF_DATA), standing_in():
        rows, n = data.rows(0), len(stacks[0])
        own = [each(0) for each in data if each(0) is not None]
        if any(type(each) is not np.ndarray for each in own):
            return None
        width = sum(each.size for each in own)
        some = max(16, _MOST_NUMBERS // max(1, width + rows) // 16 * 16)
        parts = [
            _evaluated(stand_in, stacks, data, range(at, min(n, at + some)), batch)
            for at in range(0, n, some)
        ]
        logs = [each for part in parts for each in part]
        return {name: np.array([each[name] for each in logs]) for name in logs[0]}
    return None


def _evaluated(
    stand_in: StandIn, stacks: Stacks, data: MemberData, numbers: range, batch: int | None
) -> Sequence[dict[str, Any]]:
    """Losses and metrics of some members; TypeError or ArithmeticError if one must run alone."""
    given, first = _joined(data, numbers)
    model, rows = stand_in.model, data.rows(numbers[0])
    arrays = for_step(
        model, model._compiled, "test", given, None, "evaluate", batch or DEFAULT_BATCH
    )
    if not isinstance(arrays, Arrays):
        raise TypeError("rows that are no arrays")
    most = min(batch or DEFAULT_BATCH, rows)
    function = model._train_function(model._compiled, "test", arrays, most)
    try:
        host = stand_in.host(function)
        if host is None:
            raise TypeError("a program of which members have none")
        orders = np.ascontiguousarray(first[:, None, None] + np.arange(rows))
        members = _core.StackedMembers(
            host,
            [stacks[place] for place in stand_in.places_of(function)],
            np.array(numbers, np.int64),
            function._fed(arrays),
            orders,
            most,
            np.zeros(len(stacks[0]), np.float32),
            [0] * len(numbers),
            np.tile(np.array([0, *host.seeds], np.int64), (len(numbers), 1)),
        )
        try:
            while members.train(SLICE):
                pass
        finally:
            members.leave()
        if not all(members.done):  # such as for NaN, of which `evaluate` warns
            raise ArithmeticError("a member that is lost")
        losses = function.losses_of(members.found)
        if losses is not None:
            return [{"loss": loss} for loss in losses[:, 0].tolist()]
        passes = (members.passes(k)[0] for k in range(len(numbers)))
        return [in_order(function.logs_of(*each)) for each in passes]
    finally:
        model._release(function)


def _joined(data: MemberData, numbers: range) -> tuple[Any, NDArray[np.int64]]:
    """Rows of some members, all of one number, and the first of each."""
    found = [None if of(numbers[0]) is None else joined(of, numbers) for of in data]
    each = [rows for _, rows in filter(None, found)]
    if any((rows[1] != each[0][1, 0]).any() for rows in each):
        raise TypeError("members with several numbers of rows")
    apart = [rows for rows in each if rows[0].any()]
    if apart and len(apart) < len(each):  # shared by all: a copy for each
        pairs = zip(data, found, strict=True)
        found = [
            (np.concatenate([of(number) for number in numbers]), apart[0])
            if own is not None and not own[1][0].any()
            else own
            for of, own in pairs
        ]
    return tuple(None if own is None else own[0] for own in found), (apart or each)[0][0]
