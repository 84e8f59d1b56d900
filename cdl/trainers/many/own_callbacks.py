"""Callbacks of jobs: each job has a copy of shared ones.

A callback keeps a model, a best value, a file: two trainings at once would overwrite both. So the
caller's own stays as it is, and each job begins with a copy of that, made in the job's thread:
there are as many at a time as there are workers.
"""

from __future__ import annotations

import copy
import inspect
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from cdl.callbacks import Callback, CallbackList, History

_REMEDY = "give each one of its own; `callbacks` of train_many may be a function that makes them"


class OwnCallbacks:
    """Callbacks of one job.

    Args:
        given: the callbacks of the caller.
        shared: the ids, in this process, of those that other jobs have too.
        kept: objects that copies share with their originals: models and data of jobs.
    """

    def __init__(self, given: list[Callback], shared: set[int], kept: Sequence[Any]) -> None:
        self._given = given
        self._shared = [id(each) in shared for each in given]
        self._kept = kept

    @property
    def given(self) -> Sequence[Callback]:
        """Callbacks as the caller gave them."""
        return self._given

    def made(self) -> list[Callback]:
        """The callbacks, shared ones as copies; TypeError for one that cannot be copied."""
        if not any(self._shared):
            return self._given
        own = zip(self._given, self._shared, strict=True)
        others = [each for each, is_shared in own if not is_shared]
        return copies(self._given, [*self._kept, *others], "train_many")

    def __getstate__(self) -> dict[str, Any]:
        """Attributes to send to a worker: without the models and data of all jobs."""
        return {**vars(self), "_kept": []}


def copies(given: list[Callback], kept: Sequence[Any], owner: str) -> list[Callback]:
    """Copies of callbacks, for one of several trainings at once.

    Args:
        given: the callbacks.
        kept: objects that copies share with their originals.
        owner: name of the caller, for errors.

    Raises:
        TypeError: with the attribute that cannot be copied.
    """
    return copier(given, kept, owner)()


def copier(given: list[Callback], kept: Sequence[Any], owner: str) -> Callable[[], list[Callback]]:
    """Function that returns new copies in each call; see `copies`."""
    # Copies share modules, and models of earlier runs.
    kept = [*sys.modules.values(), *kept]
    kept += [each.model for each in given if each.model is not None]
    memo: dict[int, Any] = {id(each): each for each in kept}

    def made() -> list[Callback]:
        try:
            found = copy.deepcopy(given, dict(memo))
        except Exception as error:
            raise TypeError(f"{owner}: {_refusal(given, memo, error)}") from error
        for each in found:
            if id(each) not in memo:
                each._thread = None
                if isinstance(each, History):  # which adds up over the fits of one model
                    each.history, each.epoch = {}, []
        return found

    return made


def _refusal(given: list[Callback], memo: dict[int, Any], error: Exception) -> str:
    """Text of an error that names the attribute which cannot be copied."""
    for callback in given:
        for name, value in getattr(callback, "__dict__", {}).items():
            try:
                copy.deepcopy(value, dict(memo))
            except Exception as its_error:
                return (
                    f"callbacks: {type(callback).__name__} is given to several trainings at once, "
                    f"and its `{name}`, {_kind(value)}, cannot be copied ({its_error}): {_REMEDY}"
                )
    return f"callbacks cannot be copied for each of several trainings ({error}): {_REMEDY}"


def _kind(value: Any) -> str:
    return f"an object of type {type(value).__name__}"


def of_jobs(
    calls: Sequence[tuple[Any, dict[str, Any]]], common: Mapping[str, Any]
) -> list[OwnCallbacks]:
    """Callbacks of each job, all checked, removed from the options of the calls.

    Args:
        calls: model and options of each job.
        common: the options of all jobs.

    Raises:
        TypeError: something that is no callback, or that jobs share and cannot be copied.
        ValueError: a file or folder into which two jobs would write.
    """
    if all(options.get("callbacks") is None for _, options in calls):
        for _, options in calls:
            options.pop("callbacks", None)
        return [OwnCallbacks([], set(), [])] * len(calls)
    lists = [
        listed(options.pop("callbacks", None), number, f"train_many: in job {number}")
        for number, (_, options) in enumerate(calls)
    ]
    times = Counter(id(each) for given in lists for each in {id(e): e for e in given}.values())
    shared = {key for key, count in times.items() if count > 1}
    if not makes(common.get("callbacks")):
        shared |= {id(each) for each in CallbackList(common.get("callbacks")).callbacks}
    check_places(lists, "train_many")
    kept = [part for model, options in calls for part in _of_job(model, options)] if shared else []
    found = [OwnCallbacks(given, shared, kept) for given in lists]
    tried: set[tuple[int, ...]] = set()
    for given, own in zip(lists, found, strict=True):
        key = tuple(map(id, given))
        if key not in tried:  # before anything trains
            tried.add(key)
            own.made()
    return found


def listed(given: Any, number: int, note: str) -> list[Callback]:
    """Callbacks of a job, made by its function if there is one.

    Args:
        given: callbacks, or a function that makes them.
        number: the job's.
        note: what an error is told to be of.
    """
    try:
        return CallbackList(_made(given, number) if makes(given) else given).callbacks
    except Exception as error:
        error.add_note(note)
        raise


def makes(given: Any) -> bool:
    """Whether callbacks are given as a function that makes them."""
    return callable(given) and not isinstance(given, (Callback, type))


def _made(make: Callable[..., Any], number: int) -> Any:
    """Callback made by a function, which gets the job's number if it needs an argument."""
    try:
        parameters = inspect.signature(make).parameters.values()
    except (TypeError, ValueError):  # of a builtin, which does not say
        return make()
    by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needs = any(p.kind in by_place and p.default is inspect.Parameter.empty for p in parameters)
    return make(number) if needs else make()


def _of_job(model: Any, options: Mapping[str, Any]) -> list[Any]:
    """Parts of a job that a callback may hold without a copy of them."""
    optimizer = getattr(model, "optimizer", None)
    parts = [model, optimizer, *getattr(optimizer, "variables", ())]
    if getattr(model, "built", False):
        parts += model.variables
    for value in options.values():
        several = isinstance(value, (tuple, list)) and len(value) <= 3
        parts += [each for each in (value if several else [value]) if isinstance(each, np.ndarray)]
    return [part for part in parts if part is not None]


def check_places(lists: Sequence[Sequence[Callback]], owner: str) -> None:
    """Check that no two jobs write to one place."""
    writers: dict[str, int] = {}
    for number, given in enumerate(lists):
        for callback in given:
            place = getattr(callback, callback._writes_to) if callback._writes_to else None
            if place is None or "{job" in place:
                continue
            first = writers.setdefault(place, number)
            if first != number:
                raise ValueError(
                    f"{owner}: callbacks: jobs {first} and {number} would both write to "
                    f"{place!r} of {type(callback).__name__}: have {{job}}, the number of the "
                    "job, in the path"
                )
