"""Bytecode of functions: names that are loaded, and attributes that are read from them."""

import dis
import types
from typing import Any

EFFECTS = (
    "STORE_GLOBAL", "DELETE_A", "DELETE_D", "DELETE_G", "DELETE_N", "DELETE_S", "IMPORT_",
    "LOAD_BUILD_CLASS", "LOAD_NAME", "LOAD_LOCALS",
)  # fmt: skip  # `del` of a local variable has none
# f-strings show values of any object; super() finds methods that are not analysed.
TEXTS_AND_SUPER = ("FORMAT_", "CONVERT_VALUE", "LOAD_SUPER_ATTR")
READS_ATTRIBUTE = ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR")
READS_CELL = ("LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF")


def chains(code: types.CodeType) -> list[tuple[str, Any, list[str], str]]:
    """Instructions as (operation, name, attributes read from it one after the other, place)."""
    found: list[tuple[str, Any, list[str], str]] = []
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
    return found
