"""Functions of `ops` on arrays: the table of calls, and what Keras gives for them."""

import numpy as np
import ops_table  # noqa: F401 - enters the calls
from ops_calls import CALLS, N, Samples, named
from registry import add, config_of


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
        return seen(named(k.ops, name)(*args, **kwargs))

    return run


def area(name):
    """The area of a case: functions of images have their own."""
    return "image_ops" if name.startswith("image.") else "ops"


for _name, _calls in CALLS.items():
    for _i, _call in enumerate(_calls):
        add(area(_name), f"{_name} {_i}", of(_name, _call))


# Functions over samples, which cdl does not trace, or with defaults that Keras alone writes.
WITHOUT = {
    *("erfinv", "nanmedian", "prod", "median", "cumsum", "nanprod", "nanargmax", "nanargmin"),
    *("nancumsum", "nancumprod", "slice", "convert_to_tensor", "layer_normalization", "isclose"),
    *("linspace", "logspace", "geomspace", "nanpercentile"),  # samples are not in front
    *("image.extract_patches", "image.extract_patches_3d"),
}


def tensors_for(k, part, made):
    """The arguments of a call with a symbolic tensor for each array of samples."""
    if isinstance(part, Samples):
        if id(part) not in made:
            made[id(part)] = k.Input(part.array.shape[1:], dtype=part.array.dtype.name)
        return made[id(part)]
    if isinstance(part, (list, tuple)):
        return type(part)(tensors_for(k, p, made) for p in part)
    return part


def config(name, call):
    def run(k):
        made = {}
        args = tensors_for(k, call.args, made)
        kwargs = {key: tensors_for(k, arg, made) for key, arg in call.kwargs.items()}
        model = k.Model(list(made.values()), named(k.ops, name)(*args, **kwargs), name="m")
        again = k.Model.from_config(model.get_config())
        return {"config": config_of(model), "same": config_of(again) == config_of(model)}

    return run


def first_for_samples(calls):
    """The first call whose result is one for each sample, and that hands no array of its own."""
    for call in calls:
        parts = [*call.args, *call.kwargs.values()]
        flat = [p for part in parts for p in (part if isinstance(part, list) else [part])]
        arrays = any(isinstance(p, np.ndarray) for p in flat)
        if any(isinstance(p, tuple) and N in p for p in flat):
            continue
        axes = call.kwargs.get("axis", call.args[1] if len(call.args) > 1 else -1)
        if any(isinstance(p, Samples) for p in flat) and not arrays and axes not in (0, None):
            return call
    return None


for _name, _calls in CALLS.items():
    _call = first_for_samples(_calls)
    if _call is not None and _name not in WITHOUT:
        add(area(_name), f"config {_name}", config(_name, _call))
