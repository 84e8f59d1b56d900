"""_hints.py - errors and warnings at the user's place: what may have been meant, and which line."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ParamSpec, TypeVar

from cdl._near import nearest

Function = TypeVar("Function", bound=Callable[..., Any])
P = ParamSpec("P")
R = TypeVar("R")

# cdl's own files, and one that stands between them.
_INNER = (os.path.join(os.path.dirname(os.path.abspath(__file__)), ""), contextlib.__file__)


def hint(names: Iterable[object], known: Iterable[str]) -> str:
    """`; did you mean 'a'?` for the nearest known name of each, "" if there is none."""
    pool = sorted(known)
    hints = " and ".join(repr(found) for name in names if (found := nearest(name, pool)))
    return f"; did you mean {hints}?" if hints else ""


def hinted(function: Function) -> Function:
    """A decorator: a call with an argument that there is not says which one is near."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except TypeError as error:
            # Of this call itself, not of anything that it does; each says it once.
            here = str(error).startswith(f"{function.__qualname__}() ")
            found = _near(function, kwargs) if here and "; did you" not in str(error) else ""
            if not found:
                raise
            text = f"{error}{found}"
        raise TypeError(text)

    return call  # type: ignore[return-value]


def shown_as(shown: Callable[P, R]) -> Callable[[Callable[..., Any]], Callable[P, R]]:
    """A decorator: editors, type checkers and `help` show the parameters of another function.

    Args:
        shown: that function.
    """

    def decorate(function: Callable[..., Any]) -> Callable[P, R]:
        import inspect

        function.__signature__ = inspect.signature(shown)  # type: ignore[attr-defined]
        return function

    return decorate


def _near(function: Callable[..., Any], given: Mapping[str, Any]) -> str:
    import inspect

    named = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    known = {each.name for each in parameters if each.kind in named}
    return hint([name for name in given if name not in known], known - given.keys() - {"self"})


def is_cdls(path: str) -> bool:
    """Whether a file stands between what cdl has to say and the user's line."""
    return path.startswith(_INNER)


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """A warning that shows the nearest line which is not cdl's."""
    level, frame = 2, sys._getframe(1)
    while is_cdls(frame.f_code.co_filename) and frame.f_back is not None:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


class Hinting:
    """Mixin: the constructors of cdl's own subclasses say which argument is near."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls) and cls.__module__.startswith("cdl."):
            setattr(cls, "__init__", hinted(vars(cls)["__init__"]))  # noqa: B010
