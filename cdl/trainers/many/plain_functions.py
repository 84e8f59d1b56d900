"""Plain functions: pure ones, whose results depend on arguments alone, without effects.

A stand-in may call them more often than the job alone would, and while another model than the job's
own is trained.
"""

from __future__ import annotations

import builtins
import dis
import functools
import math
from types import CodeType, FunctionType
from typing import Any

import numpy as np

_CONSTANTS = (bool, int, float, str, type(None), np.number)
_BUILTINS = (abs, bool, float, int, len, max, min, pow, range, round, sum)
_CHANGING = ("STORE_GLOBAL", "STORE_DEREF", "STORE_ATTR", "STORE_SUBSCR", "STORE_SLICE")
_OTHERS = ("DELETE_", "IMPORT_", "YIELD_", "LOAD_CLASS", "LOAD_NAME")


def is_plain(function: Any) -> bool:
    """Whether a function is pure Python over arguments, local values and constant globals.

    It may call other such functions, `math`, and `numpy` except its random numbers.
    """
    return _is_plain(function, set())


def _is_plain(function: Any, seen: set[int]) -> bool:
    if type(function) is not FunctionType:
        return False
    if id(function) in seen:
        return True
    seen.add(id(function))
    names = _read_names(function.__code__)
    held = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    try:
        held += [cell.cell_contents for cell in function.__closure__ or ()]
    except ValueError:  # of a name that has no value yet
        return False
    if names is None:
        return False
    for name in names:
        found = function.__globals__.get(name, function)
        held.append(getattr(builtins, name, None) if found is function else found)
    return all(_is_known(each, seen) for each in held)


def _is_known(thing: Any, seen: set[int]) -> bool:
    """Whether a value that a function reads is a constant, or may be used in plain functions."""
    if isinstance(thing, tuple):
        return all(isinstance(each, _CONSTANTS) for each in thing)
    known = isinstance(thing, _CONSTANTS) or thing is math or thing is np
    return known or any(thing is each for each in _BUILTINS) or _is_plain(thing, seen)


@functools.lru_cache(256)
def _read_names(code: CodeType) -> frozenset[str] | None:
    """Globals that code reads; None if it may change more than its own names."""
    names: set[str] = set()
    for each in dis.get_instructions(code):
        if each.opname in _CHANGING or each.opname.startswith(_OTHERS):
            return None
        if each.opname == "LOAD_GLOBAL":
            names.add(each.argval)
        elif each.argval == "random" or isinstance(each.argval, CodeType):
            return None
    return frozenset(names)
