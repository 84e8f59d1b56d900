"""Dtype policies of quantized layers: their mode, and the policy they come from."""

from __future__ import annotations

from typing import Any

from cdl.dtype_policies.policy import DTypePolicy, dtype_policy, dtypes_of

QUANTIZATION_MODES = ("int8", "float8", "int4", "gptq", "awq")


class QuantizedDTypePolicy(DTypePolicy):
    """Policy of a layer with quantized weights, such as "int8_from_float32".

    Args:
        mode: "int8", "int4", "float8", "gptq" or "awq".
        source_name: the name of the policy that the layer had before; None is that of the process.

    Raises:
        TypeError: `source_name` is no string.
        ValueError: there is no such mode or policy; "int8" of one that computes in float16.
    """

    def __init__(self, mode: str, source_name: str | None = None) -> None:
        self._source_name = dtype_policy().name if source_name is None else source_name
        self._compute_dtype, self._variable_dtype = dtypes_of(self._source_name)
        if mode not in QUANTIZATION_MODES:
            raise ValueError(
                f"{type(self).__name__}: Invalid quantization mode. Expected one of "
                f"{QUANTIZATION_MODES}, got mode={mode!r}"
            )
        if mode == "int8" and self._compute_dtype == "float16":
            raise ValueError(
                f"{type(self).__name__}: mode='int8' doesn't work well with "
                "compute_dtype='float16', whose range is too small for the sums"
            )
        self._name = f"{mode}_from_{self._source_name}"
        self._quantization_mode = mode

    def get_config(self) -> dict[str, Any]:
        return {"mode": self._quantization_mode, "source_name": self._source_name}


class QuantizedFloat8DTypePolicy(QuantizedDTypePolicy):
    """Policy of a layer in float8, which cdl can name but not compute.

    Args:
        mode: "float8".
        source_name: as in `QuantizedDTypePolicy`.
        amax_history_length: how many maxima the scales follow.

    Raises:
        TypeError: `amax_history_length` is no int.
        ValueError: as in `QuantizedDTypePolicy`.
    """

    default_amax_history_length = 1024

    def __init__(
        self, mode: str, source_name: str | None = None, amax_history_length: int = 1024
    ) -> None:
        super().__init__(mode, source_name)
        if not isinstance(amax_history_length, int):
            raise TypeError(
                "QuantizedFloat8DTypePolicy: amax_history_length must be an integer. Got "
                f"{amax_history_length!r}"
            )
        self._amax_history_length = amax_history_length

    @property
    def amax_history_length(self) -> int:
        """Length of the history of maxima that scales follow."""
        return self._amax_history_length

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "amax_history_length": self._amax_history_length}


class _Numbered(QuantizedDTypePolicy):
    """Base of modes with numbers, "int4/128": the last is the block size, or -1 for none."""

    _mode = ""
    _bits: tuple[int, ...] = ()  # what the number of bits may be, for modes that tell it

    def __init__(self, mode: str, source_name: str | None = None) -> None:
        owner = type(self).__name__
        names = ["<weight_bits>", "<group_size>"] if self._bits else ["<block_size>"]
        form = f"Expected format '{'/'.join([self._mode, *names])}', got {mode!r}"
        head, *parts = mode.split("/") if isinstance(mode, str) else [""]
        if head != self._mode or len(parts) != len(names):
            raise ValueError(f"Invalid mode for {owner}. {form}")
        try:
            numbers = [int(part) for part in parts]
        except ValueError:
            be = "be an integer" if len(names) == 1 else "be integers"
            raise ValueError(
                f"Invalid mode for {owner}. {' and '.join(names)} must {be}. {form}"
            ) from None
        if self._bits and numbers[0] not in self._bits:
            one = len(self._bits) == 1
            has = f"only supports {self._bits[0]}-bit" if one else f"has {self._bits}"
            raise ValueError(
                f"Invalid weight_bits in mode. {owner} {has}, got {numbers[0]} from {mode!r}"
            )
        if numbers[-1] < -1 or numbers[-1] == 0:
            raise ValueError(
                f"Invalid {names[-1].strip('<>')} in mode. Supported values are -1 or a positive "
                f"integer, got {numbers[-1]} from {mode!r}"
            )
        super().__init__(head, source_name)
        self._name = f"{mode}_from_{self._source_name}"
        self.mode = head
        self._numbers = numbers

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mode": "/".join(map(str, [self.mode, *self._numbers]))}


class Int4DTypePolicy(_Numbered):
    """Policy of a layer with 4-bit weights, with a scale per block of inputs.

    Args:
        mode: "int4/128" for blocks of 128; "int4/-1" for one scale a column.
        source_name: as in `QuantizedDTypePolicy`.

    Raises:
        ValueError: `mode` has another form.
    """

    _mode = "int4"

    @property
    def block_size(self) -> int:
        """Number of inputs that share a scale; -1 for all."""
        return self._numbers[-1]


class GPTQDTypePolicy(_Numbered):
    """Policy of a layer quantized by GPTQ, which cdl can name but not compute.

    Args:
        mode: "gptq/4/128": bits of a weight, and the size of groups or -1.
        source_name: as in `QuantizedDTypePolicy`.

    Raises:
        ValueError: `mode` has another form.
    """

    _mode = "gptq"
    _bits: tuple[int, ...] = (2, 3, 4, 8)

    @property
    def weight_bits(self) -> int:
        """Number of bits of a weight."""
        return self._numbers[0]

    @property
    def group_size(self) -> int:
        """Number of weights that share a scale; -1 for all."""
        return self._numbers[-1]


class AWQDTypePolicy(GPTQDTypePolicy):
    """Policy of a layer quantized by AWQ, which cdl can name but not compute.

    Args:
        mode: "awq/4/128": 4 bits, and the size of groups or -1.

    Raises:
        ValueError: `mode` has another form.
    """

    _mode = "awq"
    _bits = (4,)


def of_name(name: str) -> DTypePolicy:
    """Policy of a name, quantized or not.

    Raises:
        ValueError: there is none.
    """
    if not name.startswith(QUANTIZATION_MODES):
        return DTypePolicy(name)
    mode, _, source = name.partition("_from_")
    if not source or "_from_" in source:
        raise ValueError(
            "Cannot convert `policy` into a valid pair (`mode`, `source_name`), as in "
            f"'int8_from_float32', got {name!r}"
        )
    classes: dict[str, type[QuantizedDTypePolicy]] = {
        "gptq": GPTQDTypePolicy,
        "awq": AWQDTypePolicy,
        "float8": QuantizedFloat8DTypePolicy,
    }
    if name.startswith("int4") and "/" in mode:
        classes["int4"] = Int4DTypePolicy
    found = next((cls for start, cls in classes.items() if name.startswith(start)), None)
    return (found or QuantizedDTypePolicy)(mode, source)
