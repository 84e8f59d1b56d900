"""Configs in Keras 2's form, also in whole-model `.h5` files.

There a class is named without its module, a layer without Input holds the shape of the model's
input, and what a model was compiled with stands apart. `modern` and `modern_compile` bring such
configs into today's form, `modern_file` those of `.keras` files of Keras 2.12 to 2.15, which name
modules that are gone. `legacy` and `legacy_compile` go the other way.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from cdl._configs import custom_objects
from cdl.saving import keras2_ops

_MODELS = ("Sequential", "Functional", "Model")
_LAMBDA_ARGUMENTS = ("module", "function_type", "output_shape_type", "output_shape_module")
_OPTIMIZER_ARGUMENTS = ("is_legacy_optimizer", "jit_compile")
_SHORT = {
    "mse": "mean_squared_error",
    "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error",
    "msle": "mean_squared_logarithmic_error",
    "kld": "kl_divergence",
}
_WRAPPERS = ("MeanMetricWrapper", "LossFunctionWrapper")
# Classes whose names are not just those of their functions without the underscores.
_METRICS = {"kl_divergence": "KLDivergence", "logcosh": "LogCoshError", "log_cosh": "LogCoshError"}
# Arguments without an effect that Keras 2 wrote, since the base class has them.
_UNUSED = {
    r"DepthwiseConv\dD|Conv\dDTranspose": ("groups",),
    r"SeparableConv\dD": (
        "groups",
        "kernel_initializer",
        "kernel_regularizer",
        "kernel_constraint",
    ),
    r"SimpleRNN(Cell)?|ConvLSTM\dD": ("implementation",),
    r"MultiHeadAttention": ("query_shape", "key_shape", "value_shape", "softmax_robust_masking"),
    r"Random\w+|.*Dropout|GaussianNoise": ("rng_type",),
}
# Layers of cuDNN, of which there were only some arguments.
_CUDNN = {"CuDNNLSTM": "LSTM", "CuDNNGRU": "GRU"}
_KERNELS = "keras.initializers"  # the only objects of which Keras 2 wrote a dtype that is gone
_PACKAGES = re.compile(r"(tf_keras|tensorflow\.(python\.)?keras|keras)(?=\.|$)")
_GONE = re.compile(r"(keras\.optimizers)\.(legacy|experimental)$")


def modern(config: Mapping[str, Any]) -> Any:
    """Config of a model or layer in the form that `_serial.deserialize` reads."""
    if not isinstance(config, Mapping) or "class_name" not in config:
        return config
    name, inner = config["class_name"], config.get("config")
    own = isinstance(name, str) and name in custom_objects.all_custom_objects()
    if name in _MODELS and not own:
        if name == "Model" and isinstance(inner, Mapping) and "input_layers" in inner:
            config = {**config, "class_name": "Functional"}  # its name up to Keras 2.2
        return _named(config, "keras", _modern_model(inner))
    if not isinstance(inner, Mapping):
        return dict(config)
    if own and isinstance(inner.get("layers"), list):  # a subclass of a model
        return _named(config, "keras", _modern_model(inner))
    if name in keras2_ops.CLASSES and not own:
        return keras2_ops.modern(config)
    if keras2_ops.is_operation(config) and not own:
        return {**config, "module": "keras.src.ops.numpy"}
    if name in _CUDNN and not own:
        name = _CUDNN[name]
        config = {**config, "class_name": name}
        inner = {**inner, "reset_after": True} if name == "GRU" else inner
    return _named(config, "keras.layers", _modern_layer(name, inner))


def modern_file(config: Mapping[str, Any]) -> dict[str, Any]:
    """Config of a `.keras` file of Keras 2: that of a model, built and compiled."""
    config = _with_modules_of_today(config)
    whole: dict[str, Any] = modern(config)
    training = config.get("compile_config")
    if isinstance(training, Mapping) and training:
        whole["compile_config"] = modern_compile(training)
    return whole


def _with_modules_of_today(part: Any) -> Any:
    """Config with today's names of Keras's modules."""
    if isinstance(part, list):
        return list(map(_with_modules_of_today, part))
    if not isinstance(part, Mapping):
        return part
    found = {key: _with_modules_of_today(each) for key, each in part.items()}
    module = found.get("module")
    if isinstance(module, str) and "class_name" in found and _PACKAGES.match(module):
        module = _GONE.sub(r"\1", _PACKAGES.sub("keras", module, count=1))
        if module.startswith(("keras.engine.", "keras.src.engine.")):
            module = "keras"
        found["module"] = module
    return found


def _named(config: Mapping[str, Any], module: str, inner: Any) -> dict[str, Any]:
    """Config with the module of its class, unless it has one or is a custom one."""
    named = {**config, "config": inner}
    name = config["class_name"]
    if isinstance(name, str) and name in custom_objects.all_custom_objects():
        named.setdefault("registered_name", name)
    else:
        named.setdefault("module", module)
        if module == "keras.layers":  # the calls of the model build it
            named.pop("build_config", None)
    return named


def _modern_model(inner: Any) -> Any:
    if isinstance(inner, list):  # of the layers alone
        inner = {"name": "sequential", "layers": inner}
    if not isinstance(inner, Mapping) or not isinstance(inner.get("layers"), list):
        return inner
    layers = list(inner["layers"])
    first = layers[0] if layers else None
    if isinstance(first, Mapping) and first.get("class_name") != "InputLayer":
        given = first.get("config")
        if isinstance(given, Mapping) and given.get("batch_input_shape") is not None:
            before = {
                "batch_shape": given["batch_input_shape"],
                "name": f"{given.get('name')}_input",
            }
            layers.insert(0, {"class_name": "InputLayer", "config": before})
    return _counted_from_zero({**inner, "layers": [modern(layer) for layer in layers]})


def _counted_from_zero(model: dict[str, Any]) -> dict[str, Any]:
    """Config in which the calls of each Sequential within are counted from 0.

    In Keras 2 its own graph was number 0, as that of a functional model still is.
    """
    within = {
        each.get("name") or dict(each["config"]).get("name")
        for each in model["layers"]
        if isinstance(each, Mapping) and each.get("class_name") == "Sequential"
    }
    places = ("input_layers", "output_layers")
    nodes = [each.get("inbound_nodes") for each in model["layers"] if isinstance(each, Mapping)]
    parts = [*nodes, *(model.get(name) for name in places)]
    numbers: dict[str, int] = {}

    def count(name: str, number: int) -> int:
        numbers[name] = min(number, numbers.get(name, number))
        return number

    _renumbered(parts, within, count)
    late = {name for name, number in numbers.items() if number == 1}
    if not late:
        return model

    def less(name: str, number: int) -> int:
        return number - 1

    layers = [
        {**each, "inbound_nodes": _renumbered(each["inbound_nodes"], late, less)}
        if isinstance(each, Mapping) and "inbound_nodes" in each
        else each
        for each in model["layers"]
    ]
    ends = {name: _renumbered(model[name], late, less) for name in places if name in model}
    return {**model, **ends, "layers": layers}


def _renumbered(part: Any, names: set[Any], number: Callable[[str, int], int]) -> Any:
    """Part of a graph's config with other numbers for the calls of some layers."""
    if isinstance(part, Mapping):
        return {key: _renumbered(each, names, number) for key, each in part.items()}
    if not isinstance(part, list):
        return part
    if len(part) >= 3 and isinstance(part[0], str) and type(part[1]) is int:
        if part[0] not in names:
            return [*part[:3], *(_renumbered(each, names, number) for each in part[3:])]
        more = (_renumbered(each, names, number) for each in part[3:])
        return [part[0], number(part[0], part[1]), part[2], *more]
    return [_renumbered(each, names, number) for each in part]


def _modern_layer(name: Any, inner: Mapping[str, Any]) -> dict[str, Any]:
    config = {key: _modern_part(value) for key, value in inner.items()}
    shape = config.pop("batch_input_shape", None)
    if name == "InputLayer" and shape is not None:
        config["batch_shape"] = shape
    axis = config.get("axis")
    if name == "BatchNormalization" and isinstance(axis, list) and len(axis) == 1:
        config["axis"] = axis[0]
    dtype = config.get("dtype")
    if isinstance(dtype, Mapping) and dtype.get("class_name") == "Policy":
        config["dtype"] = dict(dtype.get("config") or {}).get("name")
    if name == "LeakyReLU" and "alpha" in config:
        config["negative_slope"] = config.pop("alpha")
    for pattern, arguments in _UNUSED.items():
        if re.fullmatch(pattern, str(name)) and config.get("groups", 1) == 1:
            config = {key: value for key, value in config.items() if key not in arguments}
    if name == "Lambda":
        for argument in _LAMBDA_ARGUMENTS:
            config.pop(argument, None)
        if isinstance(config.get("function"), list):
            config["function"] = {"class_name": "__lambda__", "config": {}}
    if name in ("GRU", "GRUCell"):  # as it was before there was another way
        config.setdefault("reset_after", False)
    if config.get("time_major") is False:
        del config["time_major"]
    for part in ("layer", "backward_layer", "cell"):
        if part in config:
            config[part] = modern(config[part])
    if name == "StackedRNNCells" and isinstance(config.get("cells"), list):
        config["cells"] = [modern(cell) for cell in config["cells"]]
    return config


def _modern_part(part: Any) -> Any:
    """Config within that of a layer: of an initializer or the like."""
    if not isinstance(part, Mapping) or not isinstance(part.get("config"), Mapping):
        return part
    inner = dict(part["config"])
    if part.get("module", _KERNELS) == _KERNELS:
        inner.pop("dtype", None)
        if inner.get("distribution") == "normal":
            inner["distribution"] = "truncated_normal"
    return {**part, "config": inner}


def modern_compile(config: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `compile_from_config`, from the training config of an older file."""
    plain = ("loss_weights", "steps_per_execution")
    given = {name: config.get(name) for name in plain if config.get(name) is not None}
    optimizer = config.get("optimizer_config", config.get("optimizer", ...))
    given["optimizer"] = None if optimizer is None else _modern_optimizer(optimizer)
    for name, module in (
        ("loss", "keras.losses"),
        ("metrics", "keras.metrics"),
        ("weighted_metrics", "keras.metrics"),
    ):
        if config.get(name) is not None:
            given[name] = _modern_nested(config[name], module)
    return given


def _modern_optimizer(config: Any) -> Any:
    if isinstance(config, str):
        return config
    if not isinstance(config, Mapping) or not isinstance(config.get("config"), Mapping):
        raise ValueError("training_config must have the config of an optimizer")
    name = config.get("class_name")
    if isinstance(name, str) and name not in custom_objects.all_custom_objects():
        name = name.removeprefix("Custom>")
    inner = {
        key: value for key, value in config["config"].items() if key not in _OPTIMIZER_ARGUMENTS
    }
    if inner.get("epsilon", 1) is None:
        del inner["epsilon"]
    return _named({**config, "class_name": name}, "keras.optimizers", inner)


def _modern_nested(given: Any, module: str) -> Any:
    """Loss or metrics, in lists and dicts by output; names stay names."""
    if isinstance(given, list):
        return [_modern_nested(each, module) for each in given]
    if not isinstance(given, Mapping):
        return given
    if "class_name" not in given:
        return {name: _modern_nested(each, module) for name, each in given.items()}
    inner = given.get("config")
    if isinstance(inner, Mapping):
        inner = dict(inner)
        if inner.get("reduction") == "auto":
            inner["reduction"] = "sum_over_batch_size"
        function = inner.get("fn")
        if given["class_name"] not in _WRAPPERS:
            inner.pop("fn", None)  # what the class itself says
        elif isinstance(function, str) and function not in custom_objects.all_custom_objects():
            del inner["fn"]
            name = _METRICS.get(function) or function.title().replace("_", "")
            given = {**given, "class_name": name}
    return _named(given, module, inner)


# --- the other way ---


def legacy(config: Mapping[str, Any]) -> Any:
    """Config of a model or layer in an `.h5` file's form: without modules."""
    if not isinstance(config, Mapping) or "class_name" not in config:
        return config
    inner = config["config"]
    if isinstance(inner, Mapping) and isinstance(inner.get("layers"), (list, tuple)):
        inner = {**inner, "layers": [legacy(layer) for layer in inner["layers"]]}
    return {**_outer(config), "config": inner}


def _outer(config: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of a config that both forms share, beside the inner part."""
    known_as = config.get("registered_name") or config["class_name"]
    kept = ("name", "inbound_nodes", "shared_object_id")
    more = {key: config[key] for key in kept if key in config}
    return {"class_name": known_as, **more}


def legacy_compile(config: Mapping[str, Any]) -> dict[str, Any]:
    """Training config of an `.h5` file, from the result of `get_compile_config`."""
    written = {name: _legacy_nested(each) for name, each in config.items() if name != "optimizer"}
    optimizer = config["optimizer"]
    if isinstance(optimizer, Mapping):
        written["optimizer_config"] = {**_outer(optimizer), "config": optimizer["config"]}
    else:
        written["optimizer"] = optimizer
    return written


def _legacy_nested(given: Any) -> Any:
    if isinstance(given, (list, tuple)):
        return [_legacy_nested(each) for each in given]
    if isinstance(given, str):
        return _SHORT.get(given, given)  # Keras 3 does not find the short names again
    if not isinstance(given, Mapping):
        return given
    if given.get("class_name") == "function":
        return given["config"]
    if "class_name" not in given:
        return {name: _legacy_nested(each) for name, each in given.items()}
    return {**_outer(given), "config": given["config"]}
