"""Arguments that classes share with their bases: other default values, and docstrings of all.

Docstrings are completed when they are read. Each argument is described once: a class describes
those that its bases do not, or that are others. `The further arguments are those of `LSTMCell`.`,
a paragraph of its own, names a class or function of the module beside the bases. `help` and the
pages of the reference show all of them.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable, Iterable
from types import FunctionType
from typing import Any, TypeVar

from cdl._common.errors import hinted

Class = TypeVar("Class", bound=type)
Function = TypeVar("Function", bound=Callable[..., Any])

_SENTENCE = re.compile(r"^The further arguments are those of ((?:.|\n)+?)\.(?:\n\n|\Z)", re.M)
_SECTION = re.compile(r"^Args:\n((?:    .*(?:\n|\Z))+)", re.M)
_ARGUMENT = re.compile(r"^    (\w+(?:, \w+)*): .*(?:\n     .*)*", re.M)
_BEHIND = re.compile(r"^(?:Attributes|Returns|Raises|Weights|Examples?)\b.*:|\Z", re.M)


def with_defaults(**defaults: Any) -> Callable[[Class], Class]:
    """Decorator that gives a class the constructor of its base with other default values.

    Args:
        defaults: values of arguments by name.
    """

    def give(cls: Class) -> Class:
        base: Any = cls.__init__.__wrapped__  # type: ignore[misc]
        init = FunctionType(base.__code__, base.__globals__, "__init__", None, base.__closure__)
        names = base.__code__.co_varnames[: base.__code__.co_argcount]
        of_base = base.__defaults__ or ()
        values = dict(zip(names[len(names) - len(of_base) :], of_base, strict=True)) | defaults
        init.__defaults__ = tuple(values[name] for name in names if name in values)
        init.__kwdefaults__ = base.__kwdefaults__
        init.__annotations__ = base.__annotations__
        init.__qualname__ = f"{cls.__qualname__}.__init__"
        init.__module__ = cls.__module__
        cls.__init__ = hinted(init)  # type: ignore[misc]
        return cls

    return give


class _Docstring(str):
    """Docstring of a class: `cls.__doc__` has all arguments, `vars(cls)['__doc__']` its own."""

    __slots__ = ()

    def __get__(self, thing: Any, owner: type) -> str:
        return _completed(owner, self)


def share_arguments(thing: Any) -> Any:
    """Return a public name; if it is a class of cdl, its docstring shows its bases' arguments."""
    if isinstance(thing, type) and thing.__module__.startswith("cdl."):
        text = vars(thing)["__doc__"]
        if type(text) is str:
            thing.__doc__ = _Docstring(text)
    return thing


def described_by(*others: Any) -> Callable[[Function], Function]:
    """Decorator that adds arguments which a function shares with others to its docstring.

    Args:
        others: functions and classes that describe them; the last one counts.
    """

    def describe(function: Function) -> Function:
        from inspect import cleandoc

        if function.__doc__:  # there is none with python -OO
            code = function.__code__
            names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
            told = {name: line for each in others for name, line in _described(each).items()}
            function.__doc__ = _with_arguments(cleandoc(function.__doc__), names, told)
        return function

    return describe


@functools.cache
def _completed(cls: type, docstring: str) -> str:
    from inspect import cleandoc, signature

    text, told = cleandoc(docstring), _described(cls)
    if sentence := _SENTENCE.search(text):
        text = text.replace(sentence[0], "").rstrip()
        for name in re.findall(r"`(\w+)`", sentence[1]):
            told = {**_described(getattr(sys.modules[cls.__module__], name)), **told}
    return _with_arguments(text, signature(cls).parameters, told)


def _with_arguments(text: str, parameters: Iterable[str], told: dict[str, str]) -> str:
    """Docstring with all parameters that it or `told` describes, in their order."""
    own = _arguments(text)
    told = {**told, **own}
    names = [name for name in parameters if name in told]
    if not set(names) - set(own):
        return text
    section = "Args:\n" + "\n".join(dict.fromkeys(told[name] for name in (*names, *own))) + "\n"
    if found := _SECTION.search(text):
        return text[: found.start()] + section + text[found.end() :]
    start = next(_BEHIND.finditer(text)).start()
    return f"{text[:start].rstrip()}\n\n{section}\n{text[start:]}".rstrip()


def _described(thing: Any) -> dict[str, str]:
    """Lines that describe arguments of a function, or of a class and its bases, by name."""
    from inspect import cleandoc

    if isinstance(thing, type):
        bases = [base for base in reversed(thing.__mro__) if base.__module__.startswith("cdl.")]
        texts = [vars(base)["__doc__"] for base in bases]
    else:
        texts = [thing.__doc__]
    return {name: line for text in texts for name, line in _arguments(cleandoc(text or "")).items()}


def _arguments(text: str) -> dict[str, str]:
    section = _SECTION.search(text)
    found = _ARGUMENT.finditer(section[1] if section else "")
    return {name: each[0] for each in found for name in each[1].split(", ")}
