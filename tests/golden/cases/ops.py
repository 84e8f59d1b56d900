"""ops.py - functions of `ops` on arrays: the table of calls, and what Keras gives for them."""

import numpy as np
from ops_table import CALLS, Samples
from registry import add


def plain(part):
    """The arguments of a call with arrays for samples."""
    if isinstance(part, Samples):
        return part.array
    if isinstance(part, (list, tuple)) and any(isinstance(p, Samples) for p in part):
        return [plain(p) for p in part]
    return part


def seen(result):
    """The arrays of a result, and their dtypes."""
    if isinstance(result, (list, tuple)):
        return {f"y{i}": value for i, part in enumerate(result) for value in [part]} | {
            "dtypes": [str(np.asarray(part).dtype) for part in result]
        }
    return {"y": result, "dtype": str(np.asarray(result).dtype)}


def of(name, call):
    def run(k):
        args = [plain(arg) for arg in call.args]
        kwargs = {key: plain(arg) for key, arg in call.kwargs.items()}
        return seen(getattr(k.ops, name)(*args, **kwargs))

    return run


for _name, _calls in CALLS.items():
    for _i, _call in enumerate(_calls):
        add("ops", f"{_name} {_i}", of(_name, _call))
