"""Names of Keras 2 that Keras 3 still ships under `tensorflow.keras`, only for scripts."""

from __future__ import annotations

import importlib
from typing import Any

# Modules of cdl that have more names in scripts: the file with them, and which (all if empty).
_MORE: dict[str, tuple[str, tuple[str, ...]]] = {
    "cdl.backend": ("backend", ()),
    "cdl.layers": ("layers", ("ThresholdedReLU",)),
    "cdl.losses": ("layers", ("Reduction",)),
    "cdl.preprocessing.image": ("image", ()),
    "cdl.preprocessing.sequence": ("sequence", ()),
    "cdl.preprocessing.text": ("text", ()),
}
# A module that only scripts have.
TEXT = "cdl.preprocessing.text"


def module(home: str) -> str:
    """The module that implements a public one: itself, except for `preprocessing.text`."""
    return "cdl.scripts.legacy.text" if home == TEXT else home


def names(home: str) -> list[str]:
    """The names that a module has in scripts and lacks in cdl."""
    if home not in _MORE:
        return []
    module, chosen = _MORE[home]
    return list(chosen or importlib.import_module(f"cdl.scripts.legacy.{module}").__all__)


def find(home: str, name: str) -> Any:
    """An object of Keras 2 by name; None if there is none.

    Args:
        home: the module of cdl that a script takes it from.
        name: the name of the object.
    """
    if name not in names(home):
        return None
    return getattr(importlib.import_module(f"cdl.scripts.legacy.{_MORE[home][0]}"), name)
