"""Optional packages, imported when they are first needed."""

from __future__ import annotations

import importlib
from typing import Any


def needed(module: str, extra: str, what: str) -> Any:
    """A module of a package that need not be there.

    Args:
        extra: the extra of cdl's that brings it.
        what: what needs it, for the error.

    Raises:
        ImportError: it is not there; says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ImportError(
            f"{what} needs the package {package!r}: pip install 'cdl-nn[{extra}]'", name=package
        ) from error
