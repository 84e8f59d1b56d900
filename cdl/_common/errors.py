"""Errors and warnings at the user's line, with hints at the right name."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import FunctionType
from typing import Any, ClassVar, ParamSpec, TypeVar, cast

from cdl._common.near_names import nearest
from cdl._common.overriding import is_users

Function = TypeVar("Function", bound=Callable[..., Any])
P = ParamSpec("P")
R = TypeVar("R")

settings = {"traceback_filtering": True}  # which cdl.config sets

# cdl's own files, and one that stands between them.
_INNER = (
    os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), ""),
    contextlib.__file__,
)


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
        except BaseException as error:
            step_aside(error)
            if isinstance(error, TypeError):
                _say(function, args, kwargs, error)
            if isinstance(error, (TypeError, ValueError)):
                _shorten(error)
            raise

    return cast(Function, call)


def cause(error: BaseException) -> BaseException | None:
    """Cause to raise a more specific error from: None, unless tracebacks are unfiltered.

    Python else shows the other one's traceback first, unless
    `config.disable_traceback_filtering()` asks for all of it.
    """
    return None if settings["traceback_filtering"] else error


def step_aside(error: BaseException) -> None:
    """Take the frame that has caught an error off its traceback; a bare `raise` keeps it off.

    For decorators, which else stand between the user's line and what it calls, unless
    `config.disable_traceback_filtering()` asks for all frames.
    """
    trace = error.__traceback__
    if trace is not None and settings["traceback_filtering"]:
        error.__traceback__ = trace.tb_next


def _shorten(error: BaseException) -> None:
    """Leave of the traceback the user's lines, and of each way through cdl the place where it ends.

    For errors of arguments and shapes: what cdl had called before it found one is of no use. Others
    may be faults of cdl, and keep all.
    """
    if not settings["traceback_filtering"]:
        return
    traces, trace = [], error.__traceback__
    while trace is not None:
        traces.append(trace)
        trace = trace.tb_next
    if not traces:
        return
    inner = [is_cdls(each.tb_frame.f_code.co_filename) for each in traces]
    kept = [
        each
        for k, each in enumerate(traces)
        if not inner[k] or not all(inner[k : k + 2]) or k == len(traces) - 1
    ]
    for each, following in zip(kept, [*kept[1:], None], strict=True):
        each.tb_next = following
    error.__traceback__ = kept[0]


def _say(
    function: Callable[..., Any], args: tuple[Any, ...], given: Mapping[str, Any], error: TypeError
) -> None:
    """Say the hint, and a name that the user knows, where Python refuses the arguments."""
    text, name = str(error), function.__name__
    start = f"{function.__qualname__}() "
    # Errors of this call itself, not of anything that it does; each says it once.
    if not text.startswith(start):
        return
    text = text.partition(". Did you mean ")[0]  # Python 3.13's own hint; what follows is ours
    shown = f"{type(args[0]).__name__}.__init__" if name == "__init__" and args else name
    near = "" if "; " in text else _elsewhere(args, given) or _near(function, given, text)
    error.args = (f"{shown}() {text.removeprefix(start)}{near}",)


def name_plainly(mixin: type) -> None:
    """Set the qualified names of methods to their plain names, for Python's errors.

    For bases that users do not know: not `Trainer.compile()` but `compile()`. A method without a
    docstring gets that of its base here, as `help` finds bases by the qualified name.
    """
    for name, thing in vars(mixin).items():
        method = getattr(thing, "__func__", thing)
        if isinstance(method, FunctionType) and method.__doc__ is None:
            texts = (getattr(vars(base).get(name), "__doc__", None) for base in mixin.__mro__[1:])
            method.__doc__ = next(filter(None, texts), None)
        while isinstance(method, FunctionType):
            method.__qualname__ = name
            method = getattr(method, "__wrapped__", None)


def shown_as(shown: Callable[P, R]) -> Callable[[Callable[..., Any]], Callable[P, R]]:
    """A decorator: editors, type checkers and `help` show the parameters of another function."""

    def decorate(function: Callable[..., Any]) -> Callable[P, R]:
        import inspect

        vars(function)["__signature__"] = inspect.signature(shown)
        return function

    return decorate


def _elsewhere(args: tuple[Any, ...], given: Mapping[str, Any]) -> str:
    """`; for 'a' give 'b'` for names that other libraries have for what the class takes."""
    names = getattr(type(args[0]), "_names_elsewhere", {}) if args else {}
    told = [f"for {each!r} give {names[each]}" for each in given if each in names]
    return f"; {', '.join(told)}" if told else ""


def _near(function: Callable[..., Any], given: Mapping[str, Any], text: str) -> str:
    import inspect

    named = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    known = {each.name for each in parameters if each.kind in named}
    unknown = [name for name in given if name not in known]
    near = hint(unknown, known - given.keys() - {"self"})
    said = all(repr(name) in text for name in unknown)
    return near if said else f"; got {', '.join(map(repr, unknown))}{near}"


def is_cdls(path: str) -> bool:
    """Whether a file is skipped in the search for the user's line."""
    return path.startswith(_INNER)


class StandsInError(Exception):
    """End of a run that stands in for another one, as that is to warn of something."""


class _Runs(threading.local):
    stand_in = False


_runs = _Runs()


@contextlib.contextmanager
def standing_in() -> Iterator[None]:
    """Context of a run that is done again, from the start, if there is anything to warn of."""
    _runs.stand_in = True
    try:
        yield
    finally:
        _runs.stand_in = False


def leave_to_other(message: str) -> None:
    """StandsInError with that message if this run stands in for one that is to warn."""
    if _runs.stand_in:
        raise StandsInError(message)


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """A warning that shows the nearest line which is not cdl's.

    Raises:
        StandsInError: a run that stands in for the one that is to warn.
    """
    leave_to_other(message)
    warn_in_any_run(message, category)


def warn_in_any_run(message: str, category: type[Warning]) -> None:
    """A warning as of `warn`, also in a run that stands in for another one."""
    level, frame = 2, sys._getframe(1)
    while is_cdls(frame.f_code.co_filename) and frame.f_back is not None:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def _listed(thing: Any) -> list[str]:
    """Names for `dir`, without those that classes keep for cdl."""
    inner: set[str] = set()
    users: set[str] = set()
    for each in type(thing).__mro__:
        inner.update(vars(each).get("_inner", ()))
        if is_users(each):
            users.update(vars(each))
    return [name for name in object.__dir__(thing) if name not in inner or name in users]


class Listed:
    """Mixin: `dir` and completion hide the names that classes keep for cdl (`_inner`).

    What a class of the user's defines is shown under any name.
    """

    __slots__ = ()
    _inner: tuple[str, ...] = ()  # names of a class that are for cdl itself
    __dir__ = _listed


class Hinting:
    """Mixin: the constructors of cdl's own subclasses say which argument is near; see `Listed`."""

    _inner: tuple[str, ...] = ()
    _names_elsewhere: ClassVar[
        Mapping[str, str]
    ] = {}  # what to give for other libraries' arguments
    __dir__ = _listed

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls) and not is_users(cls):
            setattr(cls, "__init__", hinted(vars(cls)["__init__"]))  # noqa: B010


class BothError(Exception):
    """Base of such errors; users see the name of the kind that stands first.

    Args:
        args: the message.
    """

    _kinds: ClassVar[dict[str, type[BothError]]] = {}
    _key: ClassVar[str]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._key, shown = cls.__name__, cls.__bases__[1]
        BothError._kinds[cls._key] = cls
        cls.__name__ = cls.__qualname__ = shown.__name__
        cls.__module__ = shown.__module__

    def __reduce__(self) -> Any:
        return _again, (self._key, self.args)


def _again(key: str, args: tuple[Any, ...]) -> BothError:
    """One out of a pickle, which could not find the class by the name that it shows."""
    return BothError._kinds[key](*args)
