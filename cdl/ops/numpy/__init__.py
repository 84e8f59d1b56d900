"""__init__.py - operations that NumPy has as well; `cdl.ops` lists them.

They are found here too, as `cdl.ops.numpy.NAME`.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    from cdl import _operation, ops

    row = _operation.ROWS.get(name)
    if row is None or row.home != "numpy" or not hasattr(ops, name):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(ops, name)


def __dir__() -> list[str]:
    from cdl import _operation, ops

    here = (name for name, row in _operation.ROWS.items() if row.home == "numpy")
    return sorted({*globals(), *(name for name in here if hasattr(ops, name))})
