"""Settings of the whole process, under Keras's names.

The kernels have Keras's default epsilon compiled in. A setting that would ask for something else is
refused here rather than ignored later.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from cdl._common import dtypes, errors
from cdl._common.public_names import publish
from cdl.dtype_policies.policy import DTypePolicy, dtype_policy, set_policy
from cdl.dtype_policies.quantized import of_name

__all__ = [
    "backend",
    "disable_flash_attention",
    "disable_interactive_logging",
    "disable_traceback_filtering",
    "dtype_policy",
    "enable_flash_attention",
    "enable_interactive_logging",
    "enable_traceback_filtering",
    "enable_unsafe_deserialization",
    "epsilon",
    "floatx",
    "image_data_format",
    "is_flash_attention_enabled",
    "is_interactive_logging_enabled",
    "is_nnx_enabled",
    "is_traceback_filtering_enabled",
    "max_epochs",
    "max_steps_per_epoch",
    "set_backend",
    "set_dtype_policy",
    "set_epsilon",
    "set_floatx",
    "set_image_data_format",
    "set_max_epochs",
    "set_max_steps_per_epoch",
]

_EPSILON = 1e-7
_DATA_FORMATS = ("channels_first", "channels_last")
_image_data_format = "channels_last"
_limits: dict[str, int | None] = {"epochs": None, "steps_per_epoch": None}
_switches = {"interactive_logging": True}
_flash_attention: dict[str, bool | None] = {"allowed": None}


def backend() -> str:
    """Name of the backend: always "cdl"."""
    return "cdl"


def floatx() -> str:
    """Default dtype of inputs, losses and metrics: initially "float32"."""
    return dtypes.floatx()


def set_floatx(value: str) -> None:
    """Set the default float dtype, `floatx`.

    The policy of layers follows it only before it is first asked for, which the first layer does:
    `set_dtype_policy` sets that.

    Args:
        value: 'float32', 'bfloat16' or 'float16'.

    Raises:
        ValueError: another one; 'float64' among them.
    """
    value = dtypes.of_kernels(value)
    if value not in dtypes.FLOATS:
        why = f": {dtypes.NO_FLOAT64}" if value == "float64" else ""
        raise ValueError(
            f"set_floatx: Unknown `floatx` value: {value!r}, must be one of {dtypes.FLOATS}{why}"
        )
    dtypes.set_floatx(value)


def epsilon() -> float:
    """Small constant that keeps logarithms and divisions finite: 1e-7."""
    return _EPSILON


def set_epsilon(value: float) -> None:
    """Set epsilon: only 1e-7 is accepted, as it is compiled into the kernels; ValueError.

    Args:
        value: 1e-7, cdl's only one.
    """
    if value != _EPSILON:
        raise ValueError(f"set_epsilon: value must be 1e-07, cdl's only one, got {value!r}")


def image_data_format() -> str:
    """Default data format of image layers: initially "channels_last"."""
    return _image_data_format


def set_image_data_format(data_format: str) -> None:
    """Set the default data format: "channels_last" or "channels_first".

    Args:
        data_format: 'channels_last' or 'channels_first'.
    """
    global _image_data_format  # noqa: PLW0603 - a setting of the process is what this module holds
    _image_data_format = standardize_data_format(data_format)


def standardize_data_format(data_format: str | None, owner: str = "data_format") -> str:
    """Data format checked and in lower case; None is the process's setting."""
    if data_format is None:
        return _image_data_format
    lower = str(data_format).lower()
    if lower not in _DATA_FORMATS:
        raise ValueError(
            f"{owner}: data_format must be one of {_DATA_FORMATS}, got {data_format!r}"
        )
    return lower


def set_dtype_policy(policy: DTypePolicy | str) -> None:
    """Set the default dtype policy of layers that are made from now on.

    Args:
        policy: a policy or its name, such as "mixed_bfloat16".

    Raises:
        ValueError: there is none of that name, or it is no name.
    """
    if isinstance(policy, str):
        policy = of_name(policy)
    if not isinstance(policy, DTypePolicy):
        raise ValueError(
            "set_dtype_policy: Invalid `policy` argument. Expected a DTypePolicy or its name, such "
            f"as 'mixed_bfloat16', got {policy!r} of type {type(policy).__name__}"
        )
    set_policy(policy)


@contextlib.contextmanager
def device(device_name: str) -> Iterator[None]:
    """Context for a device, which must be the CPU: cdl has no other.

    Args:
        device_name: "cpu", or "cpu:0" and so on, as scripts for other devices write it.

    Raises:
        ValueError: any other device.
    """
    name = device_name.lower() if isinstance(device_name, str) else ""
    if name.strip("/").removeprefix("device:").partition(":")[0] != "cpu":
        raise ValueError(f"device: device_name must be 'cpu', cdl's only one, got {device_name!r}")
    yield


def is_nnx_enabled() -> bool:
    """Whether layers are modules of Flax: never."""
    return False


def enable_flash_attention() -> None:
    """Allow flash attention, as is the default; the computation is the same."""
    _flash_attention["allowed"] = None


def disable_flash_attention() -> None:
    """Disallow flash attention; the computation stays the same, without a score matrix."""
    _flash_attention["allowed"] = False


def is_flash_attention_enabled() -> bool | None:
    """State of flash attention: False after `disable_flash_attention`, else None."""
    return _flash_attention["allowed"]


def set_backend(backend: str) -> None:
    """Set the backend: only "cdl" is accepted; ValueError for any other.

    Args:
        backend: the name of a backend.
    """
    if backend != "cdl":
        raise ValueError(f"set_backend: backend must be 'cdl', the only one, got {backend!r}")


# --- how runs are shown ---


def enable_interactive_logging() -> None:
    """Let `verbose="auto"` show a progress bar, as is the default."""
    _switches["interactive_logging"] = True


def disable_interactive_logging() -> None:
    """Let `verbose="auto"` print one line an epoch, as for a log."""
    _switches["interactive_logging"] = False


def is_interactive_logging_enabled() -> bool:
    """Whether `verbose="auto"` shows a progress bar."""
    return _switches["interactive_logging"]


def enable_traceback_filtering() -> None:
    """Hide the frames of cdl's decorators in tracebacks, as is the default."""
    errors.settings["traceback_filtering"] = True


def disable_traceback_filtering() -> None:
    """Show all frames in tracebacks."""
    errors.settings["traceback_filtering"] = False


def is_traceback_filtering_enabled() -> bool:
    """Whether the frames of cdl's decorators are hidden in tracebacks."""
    return errors.settings["traceback_filtering"]


# --- how long runs may be ---


def max_epochs() -> int | None:
    """Limit of the epochs of every `fit`; None for no limit."""
    return _limits["epochs"]


def set_max_epochs(max_epochs: int | None) -> None:
    """Set a limit of the epochs of every `fit`, to try a script out; None for no limit.

    Args:
        max_epochs: a positive int, or None for no limit.
    """
    _limits["epochs"] = _limit("set_max_epochs: max_epochs", max_epochs)


def max_steps_per_epoch() -> int | None:
    """Limit of the batches of every epoch; None for no limit."""
    return _limits["steps_per_epoch"]


def set_max_steps_per_epoch(max_steps_per_epoch: int | None) -> None:
    """Set a limit of the batches of epochs, evaluations and predictions; None for no limit.

    Args:
        max_steps_per_epoch: a positive int, or None for no limit.
    """
    _limits["steps_per_epoch"] = _limit(
        "set_max_steps_per_epoch: max_steps_per_epoch", max_steps_per_epoch
    )


def _limit(name: str, value: int | None) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise ValueError(f"{name} must be a positive int or None, got {value!r}")
    return value or None


def enable_unsafe_deserialization() -> None:
    """Not supported: cdl never runs code that a file or config holds.

    Raises:
        ValueError: always.
    """
    raise ValueError(
        "enable_unsafe_deserialization: cdl never runs code from files and configs; give classes "
        "and functions of your own in custom_objects"
    )


publish(globals())
