"""Symbolic shapes that Keras's functions of `ops` give where an axis is open: keras_shapes.json.

`python tests/ops/keras_cases.py` in an environment with Keras 3 records them: of the calls of
tests/golden/ops_table.py, with the axis behind that of the samples open. What Keras refuses is left
out: JAX cannot trace many functions for a size that it does not know.
"""

import json
import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[0:0] = [] if __package__ else [str(HERE.parent / "golden"), str(HERE.parent / "helpers")]

import ops_table  # noqa: F401 - enters the calls
from ops_calls import CALLS, Samples, named


def opened(K, part):
    """The arguments of a call with an open tensor for each array of samples."""
    if isinstance(part, Samples):
        samples, *sizes = part.array.shape
        del samples
        return K.KerasTensor((None, *([None] * len(sizes[:1])), *sizes[1:]), str(part.array.dtype))
    if isinstance(part, (list, tuple)):
        return type(part)(opened(K, each) for each in part)
    return part


def is_open(part):
    if isinstance(part, (list, tuple)):
        return any(map(is_open, part))
    return isinstance(part, Samples) and part.array.ndim > 1


def shapes(result):
    if isinstance(result, (list, tuple)):
        return [shapes(each) for each in result]
    return list(result.shape) if hasattr(result, "shape") else repr(result)


def calls():
    """Names of calls, functions and arguments."""
    return {
        f"{name} {i}": (name, call)
        for name, calls in CALLS.items()
        for i, call in enumerate(calls)
        if is_open([list(call.args), list(call.kwargs.values())])
    }


def shapes_of(K, name, call):
    """The shapes of the symbolic results of a call."""
    kwargs = {key: opened(K, each) for key, each in call.kwargs.items()}
    return shapes(named(K.ops, name)(*opened(K, call.args), **kwargs))


def main():
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras

    found = {}
    for key, (name, call) in calls().items():
        try:
            found[key] = shapes_of(keras, name, call)
        except Exception as error:
            print(f"{key}: {type(error).__name__}")
    lines = (f"{json.dumps(key)}: {json.dumps(value)}" for key, value in found.items())
    (HERE / "keras_shapes.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
