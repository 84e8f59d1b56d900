"""Submodules of `cdl.ops` with Keras's names: `cdl.ops.nn.relu`."""

from collections.abc import Callable
from typing import Any

from cdl._tracing import operation


def lookups(submodule: str, *others: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Create `__getattr__` and `__dir__` of a submodule, which look functions up in `cdl.ops`.

    Args:
        submodule: the submodule: "numpy", "nn".
        others: functions of other submodules that Keras has in this one too.
    """

    def is_here(name: str) -> bool:
        from cdl import ops

        function = vars(ops).get(name)
        row = operation.OP_DEFS.get(getattr(function, "__name__", ""))
        return name in others or (row is not None and row.submodule == submodule)

    def get(name: str) -> Any:
        from cdl import ops

        if not is_here(name):
            raise AttributeError(name)
        return getattr(ops, name)

    def names() -> list[str]:
        from cdl import ops

        return [name for name in dir(ops) if is_here(name)]

    return get, names
