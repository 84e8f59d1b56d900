"""How operations are found in the modules in which Keras has them as well."""

from collections.abc import Callable
from typing import Any

from cdl._tracing import operation


def lookups(home: str, *others: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """A module's `__getattr__` and `__dir__`: they find the operations of that home in `cdl.ops`.

    Args:
        home: of the rows: "numpy", "nn".
        others: functions of another home that Keras has in this one too.
    """

    def is_here(name: str) -> bool:
        from cdl import ops

        function = vars(ops).get(name)
        row = operation.OP_DEFS.get(getattr(function, "__name__", ""))
        return name in others or (row is not None and row.home == home)

    def get(name: str) -> Any:
        from cdl import ops

        if not is_here(name):
            raise AttributeError(name)
        return getattr(ops, name)

    def names() -> list[str]:
        from cdl import ops

        return [name for name in dir(ops) if is_here(name)]

    return get, names
