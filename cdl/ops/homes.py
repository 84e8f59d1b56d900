"""homes.py - how operations are found in the modules in which Keras has them as well."""

from collections.abc import Callable
from typing import Any

from cdl import _operation


def lookups(
    home: str, there: dict[str, Any]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """A module's `__getattr__` and `__dir__`: they find the operations of that home in `cdl.ops`.

    Args:
        home: of the rows: "numpy", "nn".
        there: what the module has by itself, its `globals()`.
    """

    def is_here(name: str) -> bool:
        from cdl import ops

        row = _operation.ROWS.get(name)
        return row is not None and row.home == home and hasattr(ops, name)

    def get(name: str) -> Any:
        from cdl import ops

        if not is_here(name):
            raise AttributeError(f"module {there['__name__']!r} has no attribute {name!r}")
        return getattr(ops, name)

    def names() -> list[str]:
        return sorted({*there, *filter(is_here, _operation.ROWS)})

    return get, names
