"""Names of Keras 2 that Keras 3 still ships under `tensorflow.keras`, for scripts alone."""

from __future__ import annotations

import importlib
from typing import Any

# Modules of cdl that scripts see more in, and what has that: all of it, or these names.
_MORE: dict[str, tuple[str, tuple[str, ...]]] = {
    "cdl.backend": ("backend", ()),
    "cdl.layers": ("layers", ("ThresholdedReLU",)),
    "cdl.losses": ("layers", ("Reduction",)),
    "cdl.preprocessing.image": ("image", ()),
    "cdl.preprocessing.sequence": ("sequence", ()),
    "cdl.preprocessing.text": ("text", ()),
}
# A module that is not in cdl at all.
TEXT = "cdl.preprocessing.text"


def module(home: str) -> str:
    """The module in which all else of a place is."""
    return "cdl.scripts.legacy.text" if home == TEXT else home


def names(home: str) -> list[str]:
    """What scripts see in a module beside what cdl has there."""
    if home not in _MORE:
        return []
    module, chosen = _MORE[home]
    return list(chosen or importlib.import_module(f"cdl.scripts.legacy.{module}").__all__)


def find(home: str, name: str) -> Any:
    """A name of Keras 2; None if it is none.

    Args:
        home: the module of cdl where a script looks for it.
        name: its own.
    """
    if name not in names(home):
        return None
    return getattr(importlib.import_module(f"cdl.scripts.legacy.{_MORE[home][0]}"), name)
