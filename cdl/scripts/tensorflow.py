"""Modules of TensorFlow outside Keras, implemented by cdl.

Functions of tensors are those of `cdl.ops` under TensorFlow's names, so a loss written with them is
compiled. A missing module (`tf.lite`, `tf.tpu`) raises an error that names it.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from cdl import Variable, initializers, random, tree
from cdl._tracing import variable
from cdl._tracing.integer_variable import WholeNumbers
from cdl._variables.state import State
from cdl.scripts import (
    tf_arranging,
    tf_distributions,
    tf_function,
    tf_functions,
    tf_gathering,
    tf_io,
    tf_loops,
    tf_math,
    tf_nn,
    tf_random,
    tf_signal,
    tf_sparse,
    tf_train,
)
from cdl.scripts.imports import TENSORFLOW
from cdl.scripts.tape import GradientTape, gradients
from cdl.scripts.tensor import Tensor, TensorShape, tensors
from cdl.scripts.tf_elements import TensorSpec
from cdl.scripts.tf_functions import function
from cdl.scripts.tf_image import IMAGE
from cdl.scripts.tf_module import Module
from cdl.scripts.tf_sources import DATA, EXPERIMENTAL
from cdl.scripts.tf_strings import STRINGS, Ragged
from cdl.scripts.tf_summary import SUMMARY, SUMMARY_EXPERIMENTAL
from cdl.scripts.tf_tensors import have_tensors

_DTYPES = (
    "float16 bfloat16 float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool "
    "string complex64 complex128"
)


def _as_it_is(func: Any = None, **options: Any) -> Any:
    """`tf.autograph.experimental.do_not_convert`: return the function, which is not converted."""
    return func if callable(func) else _as_it_is


def _set_seed(seed: int | None) -> None:
    """`tf.random.set_seed`: set the seed of cdl's generators; None changes nothing."""
    if seed is not None:
        random.set_random_seed(int(seed))


# --- variables, dtypes and the rest ---


class TfVariable(Variable):
    """`tf.Variable`: constructs a `cdl.Variable` that has `value()`; any is an instance of it."""

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
        """Create the variable; a callable `initial_value` is called first."""
        value = initial_value() if callable(initial_value) else initial_value
        name = None if name is None else name.rpartition("/")[2]
        dtype = None if dtype is None else str(dtype)
        made = Variable(
            value, dtype=dtype, trainable=trainable is not False, name=name, constraint=constraint
        )
        made.__class__ = _READABLE[type(made)]
        return made


def _value(variable: Any) -> Any:
    """The value of a `tf.Variable` as a tensor; that of a `keras.Variable` is an attribute."""
    return variable.read_value()


class _Weight(variable.Variable):
    __slots__ = ()
    value: Any = _value


class _WholeNumbers(WholeNumbers):
    __slots__ = ()
    value: Any = _value


class _State(State):
    __slots__ = ()
    value: Any = _value


_READABLE: dict[Any, Any] = {each.__base__: each for each in (_Weight, _WholeNumbers, _State)}


class DType(str):
    """`tf.DType`: the name of a dtype as a str, with TensorFlow's properties."""

    __slots__ = ()

    @property
    def name(self) -> str:
        """The name as a str."""
        return str(self)

    @property
    def as_numpy_dtype(self) -> Any:
        """NumPy's scalar type; `object` for strings."""
        return np.dtype(object if self == "string" else str(self)).type

    @property
    def is_floating(self) -> bool:
        """Whether the dtype is floating-point."""
        return "float" in self

    @property
    def is_integer(self) -> bool:
        """Whether the dtype is an integer."""
        return "int" in self

    @property
    def max(self) -> Any:
        """The largest value of the dtype."""
        return (np.finfo if self.is_floating else np.iinfo)(str(self)).max

    @property
    def min(self) -> Any:
        """The smallest value of the dtype."""
        return (np.finfo if self.is_floating else np.iinfo)(str(self)).min


def _as_dtype(type_value: Any) -> DType:
    """`tf.as_dtype`: a dtype, from a name or a NumPy type."""
    return type_value if isinstance(type_value, DType) else DType(np.dtype(type_value).name)


def _print(*inputs: Any, **kwargs: Any) -> None:
    """`tf.print`: print values, to `sys.stderr` unless `output_stream` is given."""
    out = kwargs.get("output_stream", sys.stderr)
    shown = [str(each.numpy()) if isinstance(each, Tensor) else str(each) for each in inputs]
    text = kwargs.get("sep", " ").join(shown) + kwargs.get("end", "\n")
    if isinstance(out, str) and out.startswith("file://"):
        with open(out.removeprefix("file://"), "a", encoding="utf-8") as file:
            file.write(text)
    else:
        print(text, end="", file=out)


def _in_python(func: Callable[..., Any], inp: Any = (), Tout: Any = None, **options: Any) -> Any:
    """`tf.py_function` and `tf.numpy_function`: call a function of arrays, cast its results."""
    found = func(*tensors([np.asarray(each) for each in inp]))
    if isinstance(Tout, (list, tuple)):
        return [tensors(np.asarray(a, str(t))) for a, t in zip(found, Tout, strict=True)]
    return tensors(np.asarray(found) if Tout in (None, "string") else np.asarray(found, str(Tout)))


def _devices(device_type: str | None = None) -> list[Any]:
    """`tf.config.list_physical_devices`: an empty list, since cdl runs on the CPU."""
    return []


def _nothing(*args: Any, **kwargs: Any) -> None:
    """Ignore a setting of a feature that cdl does not have."""


def _nowhere(*args: Any, **kwargs: Any) -> Any:
    """A null context in place of a scope of graphs, or of a device, which TensorFlow may leave."""
    return contextlib.nullcontext()


def _as_text(bytes_or_text: Any, encoding: str = "utf-8") -> str:
    """`tf.compat.as_text`: str, decoded from bytes."""
    return bytes_or_text if isinstance(bytes_or_text, str) else bytes_or_text.decode(encoding)


def _as_bytes(bytes_or_text: Any, encoding: str = "utf-8") -> bytes:
    """`tf.compat.as_bytes`: bytes, encoded from str."""
    return bytes_or_text if isinstance(bytes_or_text, bytes) else bytes_or_text.encode(encoding)


class _Unconnected:
    """`tf.UnconnectedGradients`: values of an argument of `GradientTape.gradient`."""

    NONE, ZERO = None, "zero"


# Modules with their names, apart from submodules.
MODULES: dict[str, dict[str, Any]] = {
    "tensorflow": {
        **tf_functions.ROOT,
        **tf_arranging.ROOT,
        **tf_gathering.ROOT,
        **tf_math.ROOT,
        **tf_loops.ROOT,
        **tf_signal.ROOT,
        **tf_sparse.ROOT,
        "__version__": TENSORFLOW,
        "get_logger": lambda: logging.getLogger("cdl"),
        "executing_eagerly": lambda: True,
        "inside_function": lambda: False,
        "device": _nowhere,
        "function": tf_function.function,
        "GradientTape": GradientTape,
        "gradients": gradients,
        "UnconnectedGradients": _Unconnected,
        "print": _print,
        "py_function": _in_python,
        "numpy_function": _in_python,
        "make_ndarray": tf_io.make_ndarray,
        "make_tensor_proto": tf_io.make_tensor_proto,
        "zeros_initializer": initializers.Zeros,
        "ones_initializer": initializers.Ones,
        "constant_initializer": initializers.Constant,
        "random_uniform_initializer": initializers.RandomUniform,
        "random_normal_initializer": initializers.RandomNormal,
        **dict.fromkeys(("name_scope", "control_dependencies", "init_scope"), _nowhere),
        **dict.fromkeys(("no_op", "group", "no_gradient"), _nothing),
        "Tensor": Tensor,
        "TensorShape": TensorShape,
        "Variable": TfVariable,
        "Module": Module,
        "TensorSpec": TensorSpec,
        "RaggedTensor": Ragged,
        "DType": DType,
        "as_dtype": _as_dtype,
        **{name: DType(name) for name in _DTYPES.split()},
    },
    "tensorflow.dtypes": {
        "DType": DType,
        "as_dtype": _as_dtype,
        "cast": tf_signal.ROOT["cast"],
        "complex": tf_signal.ROOT["complex"],
        **{name: DType(name) for name in _DTYPES.split()},
    },
    "tensorflow.math": {
        **tf_functions.MATH,
        **tf_arranging.MATH,
        **tf_gathering.MATH,
        **tf_math.MATH,
        **tf_signal.MATH,
    },
    "tensorflow.nn": {
        **tf_functions.NN,
        **tf_arranging.NN,
        **tf_gathering.NN,
        **tf_nn.NN,
        **tf_math.NN,
    },
    "tensorflow.signal": dict(tf_signal.SIGNAL),
    "tensorflow.strings": dict(STRINGS),
    "tensorflow.train": tf_train.TRAIN,
    "tensorflow.distribute": tf_train.DISTRIBUTE,
    "tensorflow.lookup": tf_sparse.LOOKUP,
    "tensorflow.ragged": tf_sparse.RAGGED,
    "tensorflow.sparse": tf_sparse.SPARSE,
    "tensorflow.linalg": {**tf_functions.LINALG, **tf_math.LINALG},
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
        **tf_random.RANDOM,
    },
    "tensorflow.config": {
        "list_physical_devices": _devices,
        "list_logical_devices": _devices,
        "get_visible_devices": _devices,
        "set_visible_devices": _nothing,
        "run_functions_eagerly": tf_function.run_functions_eagerly,
        "functions_run_eagerly": tf_function.functions_run_eagerly,
        "set_soft_device_placement": _nothing,
    },
    "tensorflow.config.optimizer": {"set_jit": _nothing, "set_experimental_options": _nothing},
    "tensorflow.config.threading": {
        "set_inter_op_parallelism_threads": _nothing,
        "set_intra_op_parallelism_threads": _nothing,
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
        **dict.fromkeys(("as_str", "as_text"), _as_text),
        "as_bytes": _as_bytes,
        "as_str_any": lambda value, encoding="utf-8": (
            _as_text(value, encoding) if isinstance(value, bytes) else str(value)
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
    "tensorflow.summary": dict(SUMMARY),
    "tensorflow.summary.experimental": dict(SUMMARY_EXPERIMENTAL),
    "tensorflow.test": {"is_gpu_available": lambda *_, **__: False},
    "tensorflow.version": {"VERSION": TENSORFLOW},
    "tensorflow_probability": {"__version__": "0.25.0"},
    "tensorflow_probability.bijectors": dict(tf_distributions.BIJECTORS),
    "tensorflow_probability.distributions": dict(tf_distributions.DISTRIBUTIONS),
}

# Names from tensorboard, an optional package, which are imported on access.
LATER = {
    f"tensorflow.compat.v1.{name}": (f"tensorboard.compat.proto.{module}", name)
    for name, module in (
        ("Summary", "summary_pb2"),
        ("SummaryMetadata", "summary_pb2"),
        ("HistogramProto", "histogram_pb2"),
        ("Event", "event_pb2"),
    )
}


def names(module: str) -> dict[str, Any]:
    """All names of a module, apart from submodules and those in `LATER`."""
    have_tensors()
    found = dict(MODULES[module])
    if module == "tensorflow.experimental.numpy":
        found |= _of_numpy()
    return found


def _of_numpy() -> dict[str, Any]:
    """NumPy's functions, by those of `cdl.ops`, returning tensors."""
    from cdl import ops

    return {name: function(name) for name in dir(ops) if callable(getattr(np, name, None))}
