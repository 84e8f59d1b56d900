"""Functions that depend on their arguments alone, and those that are of users."""

from __future__ import annotations

import functools
import types
from typing import Any

import numpy as np

from cdl._common.overriding import is_users
from cdl.losses import Loss
from cdl.trainers.custom.contents import NESTING

# Modules whose functions give the same for the same arguments.
_PURE_MODULES = ("cdl.ops", "cdl.random.draws", "cdl.activations", "cdl.losses", "cdl.tree")
# Functions that give derivatives of what they are given, and the module of what these are.
DERIVING = ("cdl.trainers.derivatives", "cdl.trainers.jvp", "cdl.trainers.custom.structures")
WRAPPING = (
    "cdl.scripts.tf_function",
    "cdl.scripts.tf_math",
    "cdl.taping.hooks",
)  # modules that wrap functions
_IMPURE_NUMPY = ("load", "save", "from", "genfrom", "memmap", "mem", "get", "set", "put", "copyto")
_MADE_BY_NUMPY = ("array", "asarray", "zeros", "ones", "full", "arange", "eye", "linspace")
_CALLABLES = (types.FunctionType, types.MethodType, types.BuiltinFunctionType, functools.partial)


def is_pure(function: Any) -> bool:
    """Whether a function is known to depend on its arguments alone."""
    if getattr(function, "__name__", "") in ("get", "deserialize"):  # of what users registered
        return False
    if isinstance(function, types.FunctionType):
        # A wrapper has the module of what it wraps, and one of cdl may hold code of the user's.
        parts = [function, *(cell.cell_contents for cell in function.__closure__ or ())]
        called = (e for e in parts if callable(e) and not isinstance(e, type))
        is_ours = not any(map(is_users_function, parts)) and not any(map(is_of_users, called))
        if function.__module__ in DERIVING:
            return is_ours and function.__closure__ is None
        return is_ours and str(function.__module__).startswith(_PURE_MODULES)
    name = getattr(function, "__name__", "")
    if type(function).__module__.startswith(_PURE_MODULES):
        return not isinstance(function, Loss)
    if isinstance(function, types.BuiltinFunctionType):
        is_numpys = name in _MADE_BY_NUMPY and getattr(np, name) is function
        return is_numpys or function.__module__ in ("math", "_operator", "cmath")
    if isinstance(function, np.ufunc) or type(function) is type(np.sum):
        homes = (np, np.linalg, np.fft)
        is_numpys = any(getattr(home, name, None) is function for home in homes)
        return is_numpys and not name.startswith(_IMPURE_NUMPY)
    return False


def is_of_users(thing: Any) -> bool:
    """Whether an object is of a class of the user's, with no base of cdl, NumPy or Python."""
    is_ours = not all(map(is_users, type(thing).__mro__[:-1]))
    return not (is_ours or isinstance(thing, (*NESTING, np.ndarray, np.generic, *_CALLABLES)))


def is_users_function(thing: Any) -> bool:
    """Whether a value is a function of the user's, or a partial one of any."""
    function = getattr(thing, "__func__", thing)
    if isinstance(function, types.FunctionType):
        home = str(function.__globals__.get("__name__"))
        return home == WRAPPING[0] or not home.startswith("cdl.")
    return isinstance(function, functools.partial)
