"""Public names of a module, and the error for a missing one."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable
from types import FrameType, ModuleType
from typing import Any

from cdl._common.errors import name_plainly
from cdl._common.missing_names import explained
from cdl._common.near_names import nearest
from cdl._common.overriding import is_users
from cdl._common.shared_arguments import share_arguments

# Where a name is looked for that another module was asked for.
_OTHERS = (
    "models", "layers", "losses", "metrics", "optimizers", "optimizers.schedules", "callbacks",
    "initializers", "regularizers", "constraints", "activations", "utils", "saving", "random",
    "config", "ops",
)  # fmt: skip
# Where a module gets what it needs for itself.
_OF_PYTHON = ("__future__", "builtins", "collections.abc", "typing")
_CLASSES: set[type] = set()  # the public ones
# Python's own import machinery, by the names that it has before and after `importlib` is imported.
_IMPORTERS = ("_frozen_importlib", "importlib._bootstrap")


def publish(there: dict[str, Any], *modules: str, but: str = "") -> None:
    """Add a `__dir__` of public names to a module, and a `__getattr__` with a helpful error.

    Public is what `__all__` lists. A module without one only passes on what it imports: all but
    modules and private names is public. A `__getattr__` of its own is asked first; for what it does
    not find it raises an AttributeError of the bare name. A `__dir__` of its own stays.

    Args:
        there: the module's `globals()`, when all else is in them.
        modules: names of modules within that are public too, where there is no `__all__`.
        but: names that are not public, with blanks between, where there is no `__all__`.
    """
    module: str = there["__name__"]
    find: Callable[[str], Any] | None = there.get("__getattr__")
    if "__dir__" not in there:
        hidden = but.split()
        passed_on = [name for name in _passed_on(there) if name not in hidden]
        there.setdefault("__all__", [*passed_on, *modules])
        there["__dir__"] = lambda: sorted(there["__all__"])

    def get(name: str) -> Any:
        if find is not None:
            try:
                return share_arguments(find(name))
            except AttributeError as error:
                if str(error) != name:
                    raise
        raise missing(module, name, there["__dir__"], sys._getframe(1))

    there["__getattr__"] = get
    _describe(there)
    for name, value in there.items():
        if isinstance(value, ModuleType) and value.__name__ == f"{module}.{name}":
            value.__class__ = _Submodule


def _describe(there: dict[str, Any]) -> None:
    """Complete docstrings of classes; leave bases that are not public out of Python's errors."""
    names = there["__dir__"]()
    classes = [each for name, each in there.items() if isinstance(each, type) and name in names]
    for each in set(classes) - _CLASSES:
        share_arguments(each)
    _CLASSES.update(classes)
    for base in {base for each in classes for base in each.__mro__} - _CLASSES:
        if not is_users(base):
            name_plainly(base)


def _passed_on(there: dict[str, Any]) -> list[str]:
    return [
        name
        for name, value in there.items()
        if not name.startswith("_")
        and not isinstance(value, ModuleType)
        and getattr(value, "__module__", None) not in _OF_PYTHON
    ]


class _Submodule(ModuleType):
    """A module within a public one: it may bear the name of a class, `cdl.layers.dense`."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        parent, _, name = self.__name__.rpartition(".")
        near = nearest(name.replace("_", ""), dir(sys.modules[parent]))
        meant = f"; did you mean {parent}.{near}?" if near else ""
        raise TypeError(f"{self.__name__} is a module and cannot be called{meant}")


def missing(
    module: str, name: str, names: Callable[[], Iterable[str]], caller: FrameType
) -> AttributeError | ImportError:
    """The error for a name that a public module does not have.

    An AttributeError, so that `hasattr` is False. `from cdl.layers import Pipeline` hides the text
    of that one, so that statement gets an ImportError.

    Args:
        module: the module's name.
        name: what it was asked for.
        names: gives what it has.
        caller: the frame that asked.
    """
    if name.startswith("_") or caller.f_globals.get("__name__") in _IMPORTERS:
        # Asked by Python itself, before it looks for a module of that name: nobody reads the text.
        return AttributeError(f"module {module!r} has no attribute {name!r}")
    text = lacks(module, name, names())
    if _is_import(caller):
        return ImportError(text, name=module, path=getattr(sys.modules[module], "__file__", None))
    return AttributeError(text, name=None, obj=None)  # else Python adds what it thinks is near


def lacks(module: str, name: str, known: Iterable[str]) -> str:
    """Text of the error for a missing name of a public module, with alternatives.

    Args:
        module: the module's name, which begins with "cdl".
        name: what it was asked for.
        known: what it has.
    """
    text = explained(f"{module}.{name}".partition(".")[2])
    if text is not None:
        return text
    text = f"module {module!r} has no attribute {name!r}"
    near = nearest(name, known) or ""
    others = (importlib.import_module(f"cdl.{other}") for other in _OTHERS)
    homes = [f"{other.__name__}.{name}" for other in others if name in dir(other)]
    if homes and near.lower() != name.lower():
        return f"{text}: it is {' or '.join(homes[:3])}"
    return f"{text}; did you mean {near!r}?" if near else text


def _is_import(frame: FrameType) -> bool:
    """Whether a frame is at `from module import name`."""
    from opcode import opmap

    return frame.f_code.co_code[frame.f_lasti] == opmap["IMPORT_FROM"]
