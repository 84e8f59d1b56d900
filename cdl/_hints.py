"""_hints.py - what may have been meant: the near name, in errors about names of arguments."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


def hint(names: Iterable[str], known: Iterable[str]) -> str:
    """`; did you mean 'a'?` for the nearest known name of each, "" if there is none."""
    import difflib

    pool = sorted(known)
    near = [difflib.get_close_matches(name, pool, 1) for name in names]
    hints = " and ".join(repr(found[0]) for found in near if found)
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


def _near(function: Callable[..., Any], given: Mapping[str, Any]) -> str:
    import inspect

    named = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    known = {each.name for each in parameters if each.kind in named}
    return hint([name for name in given if name not in known], known - given.keys() - {"self"})


class Hinting:
    """Mixin: the constructors of cdl's own subclasses say which argument is near."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls) and cls.__module__.startswith("cdl."):
            setattr(cls, "__init__", hinted(vars(cls)["__init__"]))  # noqa: B010
