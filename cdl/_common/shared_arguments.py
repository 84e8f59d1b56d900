"""Docstrings of classes with the arguments that their bases describe, completed when they are read.

Each argument is described once: a class describes those that its bases do not, or that are others.
`The further arguments are those of `LSTMCell`.`, a paragraph of its own, names a class or function
of the module beside the bases. `help` and the pages of the reference show all of them.
"""

from __future__ import annotations

import functools
import re
import sys
from typing import Any

_SENTENCE = re.compile(r"^The further arguments are those of ((?:.|\n)+?)\.(?:\n\n|\Z)", re.M)
_SECTION = re.compile(r"^Args:\n((?:    .*(?:\n|\Z))+)", re.M)
_ARGUMENT = re.compile(r"^    (\w+(?:, \w+)*): .*(?:\n     .*)*", re.M)
_BEHIND = re.compile(r"^(?:Attributes|Returns|Raises|Weights|Examples?)\b.*:|\Z", re.M)


class _Docstring(str):
    """Docstring of a class: `cls.__doc__` has all arguments, `vars(cls)['__doc__']` its own."""

    __slots__ = ()

    def __get__(self, thing: Any, owner: type) -> str:
        return _completed(owner, self)


def share_arguments(thing: Any) -> Any:
    """Return a public name; if it is a class of cdl, its docstring shows its bases' arguments.

    Args:
        thing: a public name.
    """
    if isinstance(thing, type) and thing.__module__.startswith("cdl."):
        text = vars(thing)["__doc__"]
        if type(text) is str:
            thing.__doc__ = _Docstring(text)
    return thing


@functools.cache
def _completed(cls: type, docstring: str) -> str:
    from inspect import cleandoc, signature

    text = cleandoc(docstring)
    own, told = _arguments(text), _described(cls)
    if sentence := _SENTENCE.search(text):
        text = text.replace(sentence[0], "").rstrip()
        for name in re.findall(r"`(\w+)`", sentence[1]):
            told = {**_described(getattr(sys.modules[cls.__module__], name)), **told}
    names = [name for name in signature(cls).parameters if name in told]
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
