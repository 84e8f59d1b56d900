"""Bytecode of functions: names that are loaded, and attributes that are read from them.

An attribute of `super()` is one instruction, `SUPER`, whichever version of Python compiled it.
"""

import dis
import types
from typing import Any

EFFECTS = (
    "STORE_GLOBAL", "DELETE_A", "DELETE_D", "DELETE_G", "DELETE_N", "DELETE_S", "IMPORT_",
    "LOAD_BUILD_CLASS", "LOAD_NAME", "LOAD_LOCALS",
)  # fmt: skip  # `del` of a local variable has none
SUPER = "SUPER"
# f-strings show values of any object; super() finds methods that are not analysed.
TEXTS_AND_SUPER = ("FORMAT_", "CONVERT_VALUE", SUPER)
READS_ATTRIBUTE = ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR")
READS_CELL = ("LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF")


Chain = tuple[str, Any, list[str], str]


def chains(code: types.CodeType, first: str | None) -> list[Chain]:
    """Instructions as (operation, name, attributes read from it one after the other, place).

    Args:
        code: of a function.
        first: name of the first argument of the method that this is, or is in; None for others.
    """
    found: list[Chain] = []
    for each in dis.get_instructions(code):
        if each.opname in ("CACHE", "EXTENDED_ARG", "PRECALL", "NOP"):
            continue
        is_pair = isinstance(each.argval, tuple) and "_FAST" in each.opname
        names = each.argval if is_pair else [each.argval]
        loads = bool(found) and found[-1][0].startswith("LOAD_")
        if each.opname in ("LOAD_ATTR", "LOAD_METHOD") and loads and not each.is_jump_target:
            found[-1][2].append(each.argval)
            continue
        for name in names if each.opname.startswith(("LOAD_", "STORE_", "DELETE_")) else [None]:
            line = each.positions.lineno if each.positions else None
            found.append((each.opname, name, [], f"{code.co_filename}:{line}"))
    return _with_super(found, first)


def _with_super(found: list[Chain], first: str | None) -> list[Chain]:
    """Instructions with one in place of those that read an attribute of `super()`."""
    for i in reversed([k for k, each in enumerate(found) if each[:2] == ("LOAD_GLOBAL", "super")]):
        end = i + 1
        while end < len(found) and found[end][0].startswith("LOAD_") and end < i + 3:
            end += 1
        is_called = end < len(found) and found[end][0] == "CALL"  # before Python 3.12
        reader = found[end + is_called : end + is_called + 1]
        given = [name for _, name, _, _ in found[i + 1 : end]]
        is_own = not given or (len(given) == 2 and given[1] == first)  # super(), super(A, self)
        if is_own and reader and reader[0][0] in READS_ATTRIBUTE:
            found[i : end + is_called + 1] = [(SUPER, *reader[0][1:])]
    return found
