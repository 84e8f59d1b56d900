"""__init__.py - operations of neural networks; `cdl.ops` lists them.

They are found here too, as `cdl.ops.nn.NAME`.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    from cdl import _operation, ops

    row = _operation.ROWS.get(name)
    if row is None or row.home != "nn" or not hasattr(ops, name):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(ops, name)


def __dir__() -> list[str]:
    from cdl import _operation, ops

    here = (name for name, row in _operation.ROWS.items() if row.home == "nn")
    return sorted({*globals(), *(name for name in here if hasattr(ops, name))})
