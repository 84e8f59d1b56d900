"""What of TensorFlow itself the scripts around Keras call, by cdl's own: its modules.

Functions on tensors are those of `cdl.ops` under TensorFlow's names, so a loss written with them is
compiled. What is not here (`tf.lite`, `tf.distribute`) is an error that names it.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from cdl import KerasTensor, Variable, config, random, tree
from cdl.scripts import tf_arranging, tf_functions, tf_io, tf_nn
from cdl.scripts.imports import TENSORFLOW
from cdl.scripts.tensor import Tensor, TensorShape, tensors
from cdl.scripts.tf_data import Dataset
from cdl.scripts.tf_elements import TensorSpec
from cdl.scripts.tf_functions import function
from cdl.scripts.tf_image import IMAGE
from cdl.scripts.tf_sources import DATA, EXPERIMENTAL
from cdl.scripts.tf_strings import STRINGS

_DTYPES = (
    "float16 bfloat16 float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool string"
)


class _Attribute:
    """An attribute that is such an array when it is asked for."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, thing: Any, cls: type) -> Any:
        return self if thing is None else tensors(vars(thing).get(self.name))

    def __set__(self, thing: Any, value: Any) -> None:
        vars(thing)[self.name] = value


def _giving_tensors(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return tensors(function(*args, **kwargs))

    return call


def _giving_tensors_one_by_one(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(self: Any) -> Any:
        return map(tensors, function(self))

    return call


def _of_data_set(self: Any, name: str) -> Any:
    """An attribute of an iterable that a data set of `tf.data` would have in its place."""
    if name.startswith("_"):
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
    return getattr(Dataset(lambda: iter(self), len(self)), name)


@functools.cache
def have_data_sets() -> None:
    """Have what reads series and folders be a data set of `tf.data` to a script from now on."""
    from cdl.utils.directory_files import DirectoryFiles
    from cdl.utils.timeseries import Windows

    data_sets: tuple[Any, ...] = (Windows, DirectoryFiles)
    for each in data_sets:
        Dataset.register(each)
        each.__iter__ = _giving_tensors_one_by_one(each.__iter__)
        each.__getattr__ = _of_data_set
        each.map = lambda self, *args, **given: _of_data_set(self, "map")(*args, **given)


def _given_tensors(function: Callable[..., Any]) -> Callable[..., Any]:
    """A method to which arrays come as tensors."""

    @functools.wraps(function)
    def call(self: Any, *args: Any) -> Any:
        return function(self, *map(tensors, args))

    return call


class _Shape:
    """The shape of a symbolic tensor, which can say as much of itself as TensorFlow's."""

    def __get__(self, thing: Any, cls: type) -> Any:
        if thing is None:
            raise AttributeError("shape")
        return vars(thing)["shape"]

    def __set__(self, thing: Any, sizes: Any) -> None:
        vars(thing)["shape"] = TensorShape(sizes)


@functools.cache
def have_tensors() -> None:
    """Have a script see tensors from now on, where cdl has arrays.

    What layers, models, losses and metrics give has `numpy()`; what losses and steps of the
    script's own are given, too; and shapes of symbolic tensors are TensorFlow's.
    """
    from cdl._tracing.variable import Variable as TracedVariable
    from cdl._variables.state import State
    from cdl.layers import Layer, Normalization
    from cdl.layers.preprocessing.host_layer import HostLayer
    from cdl.losses import Loss
    from cdl.losses.python_loss import LossFunctionWrapper
    from cdl.metrics import Metric
    from cdl.models import Model
    from cdl.trainers.custom.steps import CustomSteps

    have_data_sets()
    symbolic: Any = KerasTensor
    symbolic.shape = _Shape()
    symbolic.get_shape = lambda self: self.shape
    symbolic.set_shape = lambda self, shape: None
    of_users: tuple[tuple[Any, str], ...] = ((LossFunctionWrapper, "call"), (CustomSteps, "step"))
    for cls, name in of_users:
        setattr(cls, name, _given_tensors(getattr(cls, name)))
    called: tuple[Any, ...] = (Layer, HostLayer, Model, Loss)
    for cls in called:
        cls.__call__ = _giving_tensors(cls.__call__)
    variables: tuple[Any, ...] = (TracedVariable, State)
    for cls in variables:
        cls.__getitem__ = _giving_slices(cls.__getitem__)
    for name in ("__array_ufunc__", "__array_function__"):
        setattr(TracedVariable, name, _giving_tensors(getattr(TracedVariable, name)))
    for name in ("mean", "variance"):
        setattr(Normalization, name, _Attribute(name))
    bases: tuple[Any, ...] = (Loss, Metric)
    for each in bases:
        for sub in _below(each):
            for name in {"__call__", "result"} & vars(sub).keys():
                setattr(sub, name, _giving_tensors(vars(sub)[name]))


def _below(cls: Any) -> list[Any]:
    return [each for sub in cls.__subclasses__() for each in (sub, *_below(sub))]


def _as_it_is(func: Any = None, **options: Any) -> Any:
    """`tf.function`: a decorator; cdl compiles what it trains without being told."""
    return func if callable(func) else _as_it_is


def _set_seed(seed: int | None) -> None:
    """`tf.random.set_seed`: the seed of all that cdl draws; None leaves it to chance."""
    if seed is not None:
        random.set_random_seed(int(seed))


# --- random numbers ---


def _drawn(draw: Callable[..., Any]) -> Callable[..., Any]:
    """A draw by TensorFlow's arguments: a tensor, from a seed that is a number."""

    @functools.wraps(draw)
    def call(shape: Any, *args: Any, **kwargs: Any) -> Any:
        kwargs.pop("name", None)
        seed = kwargs.get("seed")
        if seed is not None and np.ndim(seed):  # two numbers, of a stateless draw
            state = np.random.SeedSequence([int(n) for n in seed]).generate_state(1)
            kwargs["seed"] = int(state[0] >> 1)
        sizes = [shape] if np.ndim(shape) == 0 else shape
        return tensors(draw(tuple(int(n) for n in sizes), *args, **kwargs))

    return call


@_drawn
def _uniform(
    shape: Any, minval: Any = 0, maxval: Any = None, dtype: Any = "float32", seed: Any = None
) -> Any:
    """`tf.random.uniform`: of floats, or of whole numbers below `maxval`."""
    if "int" in str(dtype):
        return random.randint(shape, minval, maxval, str(dtype), seed)
    return random.uniform(shape, minval, 1.0 if maxval is None else maxval, str(dtype), seed)


@_drawn
def _normal(
    shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = "float32", seed: Any = None
) -> Any:
    """`tf.random.normal`."""
    return random.normal(shape, mean, stddev, str(dtype), seed)


def _shuffle(value: Any, seed: Any = None, name: Any = None) -> Any:
    """`tf.random.shuffle`: the rows in another order."""
    return tensors(random.shuffle(np.asarray(value), 0, seed))


def _categorical(
    logits: Any, num_samples: int, dtype: Any = None, seed: Any = None, name: Any = None
) -> Any:
    """`tf.random.categorical`."""
    return tensors(random.categorical(logits, num_samples, str(dtype or "int64"), seed))


# --- variables, dtypes and the rest ---


class TfVariable(Variable):
    """`tf.Variable`: one of cdl's, of which `isinstance` says that it is one of these too."""

    def __new__(
        cls,
        initial_value: Any = None,
        trainable: bool | None = True,
        validate_shape: bool = True,
        caching_device: Any = None,
        name: str | None = None,
        variable_def: Any = None,
        dtype: Any = None,
        import_scope: Any = None,
        constraint: Any = None,
        **options: Any,
    ) -> Any:
        """The variable; a value that can be called is what it gives."""
        value = initial_value() if callable(initial_value) else initial_value
        name = None if name is None else name.rpartition("/")[2]
        dtype = None if dtype is None else str(dtype)
        return Variable(
            value, dtype=dtype, trainable=trainable is not False, name=name, constraint=constraint
        )


class Slice(Tensor):
    """A part of a variable, which can be assigned to."""

    def _assigned(self, value: Any) -> Any:
        variable, key = self.__dict__["of"]
        whole = variable.numpy()
        whole[key] = value
        variable.assign(whole)
        return variable

    def assign(self, value: Any) -> Any:
        """Set the numbers of this part; gives the variable."""
        return self._assigned(value)

    def assign_add(self, delta: Any) -> Any:
        """Add to the numbers of this part; gives the variable."""
        return self._assigned(np.asarray(self) + np.asarray(delta))

    def assign_sub(self, delta: Any) -> Any:
        """Subtract from the numbers of this part; gives the variable."""
        return self._assigned(np.asarray(self) - np.asarray(delta))


def _giving_slices(get: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(get)
    def call(self: Any, key: Any) -> Any:
        found = get(self, key)
        if not isinstance(found, (np.ndarray, np.generic)):
            return found
        part = np.asarray(found).view(Slice)
        part.__dict__["of"] = (self, key)
        return part

    return call


class DType(str):
    """A dtype of TensorFlow's: its name, of which scripts ask a little more."""

    __slots__ = ()

    @property
    def name(self) -> str:
        """The name."""
        return str(self)

    @property
    def as_numpy_dtype(self) -> Any:
        """NumPy's type of such numbers."""
        return np.dtype(object if self == "string" else str(self)).type

    @property
    def is_floating(self) -> bool:
        """Whether its numbers are floats."""
        return "float" in self

    @property
    def is_integer(self) -> bool:
        """Whether its numbers are whole."""
        return "int" in self

    @property
    def max(self) -> Any:
        """The largest number."""
        return (np.finfo if self.is_floating else np.iinfo)(str(self)).max

    @property
    def min(self) -> Any:
        """The smallest number."""
        return (np.finfo if self.is_floating else np.iinfo)(str(self)).min


def _as_dtype(type_value: Any) -> DType:
    """`tf.as_dtype`."""
    return type_value if isinstance(type_value, DType) else DType(np.dtype(type_value).name)


def _print(*inputs: Any, **kwargs: Any) -> None:
    """`tf.print`: to the stream of errors, as TensorFlow does."""
    out = kwargs.get("output_stream", sys.stderr)
    shown = [str(each.numpy()) if isinstance(each, Tensor) else str(each) for each in inputs]
    text = kwargs.get("sep", " ").join(shown) + kwargs.get("end", "\n")
    if isinstance(out, str) and out.startswith("file://"):
        with open(out.removeprefix("file://"), "a", encoding="utf-8") as file:
            file.write(text)
    else:
        print(text, end="", file=out)


def _in_python(func: Callable[..., Any], inp: Any = (), Tout: Any = None, **options: Any) -> Any:
    """`tf.py_function` and `tf.numpy_function`: what a function of arrays gives, in dtypes."""
    found = func(*tensors([np.asarray(each) for each in inp]))
    if isinstance(Tout, (list, tuple)):
        return [tensors(np.asarray(a, str(t))) for a, t in zip(found, Tout, strict=True)]
    return tensors(np.asarray(found) if Tout in (None, "string") else np.asarray(found, str(Tout)))


def _devices(device_type: str | None = None) -> list[Any]:
    """`tf.config.list_physical_devices`: cdl knows no GPU."""
    return []


def _nothing(*args: Any, **kwargs: Any) -> None:
    """Settings of what cdl does not have."""


def _nowhere(*args: Any, **kwargs: Any) -> Any:
    """A scope of TensorFlow's graphs, which are not there."""
    return contextlib.nullcontext()


# Modules, and what each has beside the modules within it.
MODULES: dict[str, dict[str, Any]] = {
    "tensorflow": {
        **tf_functions.ROOT,
        **tf_arranging.ROOT,
        "__version__": TENSORFLOW,
        "get_logger": lambda: logging.getLogger("cdl"),
        "executing_eagerly": lambda: True,
        "inside_function": lambda: False,
        "device": config.device,
        "function": _as_it_is,
        "print": _print,
        "py_function": _in_python,
        "numpy_function": _in_python,
        "make_ndarray": tf_io.make_ndarray,
        "make_tensor_proto": tf_io.make_tensor_proto,
        **dict.fromkeys(("name_scope", "control_dependencies", "init_scope"), _nowhere),
        "no_op": _nothing,
        "group": _nothing,
        "Tensor": Tensor,
        "TensorShape": TensorShape,
        "Variable": TfVariable,
        "TensorSpec": TensorSpec,
        "DType": DType,
        "as_dtype": _as_dtype,
        **{name: DType(name) for name in _DTYPES.split()},
    },
    "tensorflow.dtypes": {
        "DType": DType,
        "as_dtype": _as_dtype,
        "cast": tf_functions.ROOT["cast"],
        **{name: DType(name) for name in _DTYPES.split()},
    },
    "tensorflow.math": {**tf_functions.MATH, **tf_arranging.MATH},
    "tensorflow.nn": {**tf_functions.NN, **tf_arranging.NN, **tf_nn.NN},
    "tensorflow.strings": dict(STRINGS),
    "tensorflow.linalg": tf_functions.LINALG,
    "tensorflow.image": {**IMAGE, **tf_io.CODECS},
    "tensorflow.io": dict(tf_io.IO),
    "tensorflow.io.gfile": dict(tf_io.GFILE),
    "tensorflow.errors": dict(tf_io.ERRORS),
    "tensorflow.debugging": dict(tf_io.DEBUGGING),
    "tensorflow.autograph": {},
    "tensorflow.autograph.experimental": {"do_not_convert": _as_it_is},
    "tensorflow.nest": {
        "flatten": tree.flatten,
        "map_structure": tree.map_structure,
        "pack_sequence_as": tree.pack_sequence_as,
        "assert_same_structure": tree.assert_same_structure,
        "is_nested": tree.is_nested,
    },
    "tensorflow.python": {},
    "tensorflow.random": {
        "set_seed": _set_seed,
        "normal": _normal,
        "uniform": _uniform,
        "truncated_normal": _drawn(random.truncated_normal),
        "stateless_normal": _normal,
        "stateless_uniform": _uniform,
        "categorical": _categorical,
        "shuffle": _shuffle,
    },
    "tensorflow.config": {
        "list_physical_devices": _devices,
        "list_logical_devices": _devices,
        "get_visible_devices": _devices,
        "set_visible_devices": _nothing,
        "run_functions_eagerly": _nothing,
        "functions_run_eagerly": lambda: True,
    },
    "tensorflow.config.experimental": {
        "list_physical_devices": _devices,
        "set_memory_growth": _nothing,
        "enable_op_determinism": _nothing,
    },
    "tensorflow.data": DATA,
    "tensorflow.data.experimental": EXPERIMENTAL,
    "tensorflow.experimental": {},
    "tensorflow.experimental.numpy": {"experimental_enable_numpy_behavior": _nothing},
    "tensorflow.compat": {
        "as_str": lambda text, encoding="utf-8": (
            text if isinstance(text, str) else text.decode(encoding)
        ),
        "as_bytes": lambda text, encoding="utf-8": (
            text if isinstance(text, bytes) else text.encode(encoding)
        ),
    },
    "tensorflow.compat.v1": {
        "set_random_seed": _set_seed,
        "disable_v2_behavior": _nothing,
        "disable_eager_execution": _nothing,
        "enable_eager_execution": _nothing,
    },
    "tensorflow.compat.v1.logging": {
        "set_verbosity": lambda level: logging.getLogger("cdl").setLevel(level),
        **{name: getattr(logging, name) for name in ("DEBUG", "INFO", "WARN", "ERROR", "FATAL")},
    },
    "tensorflow.test": {"is_gpu_available": lambda *_, **__: False},
    "tensorflow.version": {"VERSION": TENSORFLOW},
}
MODULES["tensorflow.compat"]["as_text"] = MODULES["tensorflow.compat"]["as_str"]


def names(module: str) -> dict[str, Any]:
    """What a module has."""
    have_tensors()
    found = dict(MODULES[module])
    if module == "tensorflow.experimental.numpy":
        found |= _of_numpy()
    return found


def _of_numpy() -> dict[str, Any]:
    """Functions of NumPy's that give tensors."""
    from cdl import ops

    return {name: function(name) for name in dir(ops) if callable(getattr(np, name, None))}
