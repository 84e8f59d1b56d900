"""Ownership of classes and methods: those of users, written outside of cdl.

Classes of cdl's own override one another's methods, so that comparing with the method of one base
would not tell whose a method is. The class that defines it does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from cdl._common.weak_cache import weak_cache

# Modules of cdl whose classes are written as users write theirs.
_AS_USERS = ("cdl.applications", "cdl.distillation", "cdl.scripts.tf_module")


R = TypeVar("R")


def of_any_names(method: Callable[..., R]) -> Callable[..., R]:
    """Tell type checkers that methods which override this one may name their arguments freely."""
    return method


def is_users(thing: Any) -> bool:
    """Whether a class or function was written outside of cdl, and so may do anything."""
    return _is_users_module(thing.__module__ or "")


@functools.lru_cache(4096)  # each layer that is made asks
def _is_users_module(name: str) -> bool:
    return not name.startswith("cdl.") or name.startswith(_AS_USERS)


@weak_cache  # every call with one batch asks, and the answer is always the same
def overrides(cls: type, *names: str) -> bool:
    """Whether objects of a class have a method or property of one of these names from the user."""
    found = (next((each for each in cls.__mro__ if name in vars(each)), None) for name in names)
    return any(definer is not None and is_users(definer) for definer in found)


def cdl_base(cls: type) -> type:
    """The nearest class of cdl's own among the bases of a class, or the class itself."""
    return next(each for each in cls.__mro__ if not is_users(each))
