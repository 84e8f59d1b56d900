"""Names of dtypes: all, the floats among them, and NumPy's counterparts.

bfloat16 is none of NumPy's own: arrays of it are those of the package ml_dtypes, which is needed
when such an array comes out, and not before.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cdl._common.errors import warn
from cdl._common.optional_imports import needed

MOST_EXACT = 2**24  # up to which float32 has every whole number
LOW = ("bfloat16", "float16")  # of 16 bits
FLOATS = (*LOW, "float32")  # what layers compute in
NO_FLOAT64 = (
    "cdl has no layers in float64: a second set of all its kernels would double its size; NumPy "
    "and scikit-learn compute in float64"
)
LARGEST_FLOAT16 = 65504.0
_PYTHON = {"float": "float32", "int": "int32", "bool": "bool"}  # Python's types of numbers
_KINDS = "biufc"  # kinds of NumPy's dtypes that hold numbers
_NUMPYS = {name: np.dtype(name) for name in ("float32", "int32", "int64")}  # most often asked for
_NARROWED = {"float64": "float32", "int64": "int32", "uint64": "uint32", "longdouble": "float32"}
_settings = {"floatx": "float32"}
_float64 = {"is_narrowed": False, "is_told": False}


def floatx() -> str:
    """The name of the dtype that is meant where none is given; see `cdl.config.floatx`."""
    return _settings["floatx"]


def set_floatx(name: str) -> None:
    """Set the default float dtype."""
    _settings["floatx"] = name


def narrow_float64() -> None:
    """Take float32 for float64 from now on, as scripts written for other frameworks need it."""
    _float64["is_narrowed"] = True


def of_kernels(name: str) -> str:
    """A dtype to compute in: the given one, but float32 for float64 after `narrow_float64`."""
    if name != "float64" or not _float64["is_narrowed"]:
        return name
    if not _float64["is_told"]:
        warn(f"this script computes in float32 where it asks for float64: {NO_FLOAT64}")
        _float64["is_told"] = True
    return "float32"


def standardize_dtype(dtype: Any) -> str:
    """Canonical name of a dtype, in any spelling; None is `floatx()`.

    Args:
        dtype: a dtype, its name, or Python's type of numbers.

    Raises:
        ValueError: something that is no dtype.
    """
    if dtype is None:
        return floatx()
    if type(dtype) is str and dtype in FLOATS:
        return dtype
    if isinstance(dtype, (str, type)) and dtype in (float, int, bool, *_PYTHON):
        return _PYTHON[dtype if isinstance(dtype, str) else dtype.__name__]
    if getattr(dtype, "name", getattr(dtype, "__name__", None)) == "bfloat16":
        return "bfloat16"
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = np.dtype(object)
    if found.kind not in _KINDS:
        text = dtype in ("string", "str", str)
        hint = ": encode text as numbers first, or have an Input(dtype='string')" if text else ""
        raise ValueError(
            "dtype must be that of numbers, such as 'float32', 'int32' or 'bool', got "
            f"{dtype!r}{hint}"
        )
    return str(found.name)


def is_float(name: str) -> bool:
    """Whether a dtype of that name is a float."""
    return "float" in name


def is_low(dtype: Any) -> bool:
    """Whether a dtype of NumPy is bfloat16 or float16."""
    return dtype.name in LOW


def rounded(array: np.ndarray[Any, Any], name: str) -> np.ndarray[Any, Any]:
    """An array as float32, with numbers that the dtype of that name has: the nearest, or even."""
    if name == "bfloat16":
        bits: Any = np.array(array, np.float32, order="C").view(np.uint32)
        finite = (bits & 0x7F800000) != 0x7F800000
        quiet = bits | np.where(np.isnan(array), 0x400000, 0)  # or a NaN could become infinite
        bits = np.where(finite, bits + (0x7FFF + ((bits >> 16) & 1)), quiet) & 0xFFFF0000
        found: np.ndarray[Any, Any] = bits.astype(np.uint32).view(np.float32)
        return found
    if name == "float16":
        with np.errstate(over="ignore"):
            array = np.asarray(array).astype(np.float16)
    return np.asarray(array, np.float32)


def of_bits(bits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The numbers of bfloat16 that have these bits of uint16, as float32."""
    found: np.ndarray[Any, Any] = (bits.astype(np.uint32) << 16).view(np.float32)
    return found


def astype(array: Any, name: str) -> np.ndarray[Any, Any]:
    """An array of the dtype of that name; itself if it is one."""
    found: np.ndarray[Any, Any] = np.asarray(array)
    dtype = numpy_dtype(name)
    if found.dtype == dtype:
        return found
    with np.errstate(over="ignore", invalid="ignore"):
        return found.astype(dtype)


def narrowed(result: Any) -> Any:
    """Array or number of NumPy with 32 bits a number, as Keras has it; all else as it is.

    Raises:
        OverflowError: integers that 32 bits do not hold, which would wrap silently.
    """
    if not isinstance(result, (np.ndarray, np.generic)):
        return result
    name = _NARROWED.get(result.dtype.name)
    if name is None:
        return result
    if "int" in name and result.size:
        bounds, least, largest = np.iinfo(name), result.min(), result.max()
        if least < bounds.min or largest > bounds.max:
            wrong = least if least < bounds.min else largest
            raise OverflowError(
                f"integers must be from {bounds.min} to {bounds.max}, which {name} holds, "
                f"got {wrong}"
            )
    return result.astype(name)


def numpy_dtype(name: str) -> np.dtype[Any]:
    """NumPy's dtype of that name.

    Raises:
        ImportError: it is bfloat16, and the package ml_dtypes is not there.
    """
    found = _NUMPYS.get(name)
    if found is not None:
        return found
    if name == "bfloat16":
        name = needed("ml_dtypes", "bfloat16", "an array of bfloat16").bfloat16
    return np.dtype(name)


def refuse_inexact(name: str, array: np.ndarray[Any, Any]) -> None:
    """Check that float32 holds all integers of an array.

    Args:
        name: of the operation that gives or takes them.

    Raises:
        ValueError: an integer that float32 does not hold.
    """
    lost = array.dtype.kind in "iu" and array.astype(np.float32).astype(np.float64) != array
    if np.any(lost):
        raise ValueError(
            f"{name}: integers within a program must be such as float32 holds, as all up to "
            f"{MOST_EXACT} in size, got {array[lost].flat[0]}: compute them on arrays"
        )


def bound_of_dtype(dtype: str) -> float:
    """Largest size of an input's numbers of a dtype; infinite for floats."""
    if dtype == "bool":
        return 1
    if "int" not in dtype:
        return math.inf
    limits = np.iinfo(dtype)
    return min(max(-int(limits.min), int(limits.max)), MOST_EXACT - 1)
