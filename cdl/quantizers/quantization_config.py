"""Configs of a layer's quantization."""

from __future__ import annotations

from typing import Any, Self

from cdl._common.errors import Hinting
from cdl._common.validation import expected
from cdl._configs.serialization import deserialize, serialize
from cdl.quantizers.quantizer import AbsMaxQuantizer, family

MODES = ("int8", "float8", "int4", "gptq", "awq")


@family.add()
class QuantizationConfig(Hinting):
    """Base of configs; a subclass has the property `mode`.

    Args:
        weight_quantizer: makes integers of weights; None is the layer's own.
        activation_quantizer: makes integers of inputs; None leaves them floats.
    """

    def __init__(self, weight_quantizer: Any = None, activation_quantizer: Any = None) -> None:
        self.weight_quantizer = weight_quantizer
        self.activation_quantizer = activation_quantizer

    @property
    def mode(self) -> str:
        """Mode of `quantize` that the config is for.

        Raises:
            NotImplementedError: of the base.
        """
        raise NotImplementedError(
            "Subclasses must implement this property. Do not instantiate QuantizationConfig "
            "directly."
        )

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments as a dict, for `from_config`."""
        return {
            "weight_quantizer": serialize(self.weight_quantizer),
            "activation_quantizer": serialize(self.activation_quantizer),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Create a config from the dict that `get_config` returned."""
        return cls(**{name: deserialize(value) for name, value in config.items()})

    @staticmethod
    def weight_quantizer_or_default(config: QuantizationConfig | None, default: Any) -> Any:
        """Quantizer of weights in the config, or `default`."""
        given = None if config is None else config.weight_quantizer
        return default if given is None else given

    @staticmethod
    def activation_quantizer_or_default(config: QuantizationConfig | None, default: Any) -> Any:
        """Quantizer of inputs in the config, even if it is None; `default` without one."""
        return default if config is None else config.activation_quantizer


@family.add()
class Int8QuantizationConfig(QuantizationConfig):
    """Config of 8-bit weight quantization.

    Args:
        weight_quantizer: makes integers of weights; None is an `AbsMaxQuantizer` of columns.
        activation_quantizer: makes integers of inputs, line by line: "default" is an
            `AbsMaxQuantizer`. None leaves them floats, which is more accurate and for many rows
            slower.

    Raises:
        ValueError: a quantizer of weights that does not give int8.
    """

    def __init__(self, weight_quantizer: Any = None, activation_quantizer: Any = "default") -> None:
        if isinstance(activation_quantizer, str) and activation_quantizer == "default":
            activation_quantizer = AbsMaxQuantizer()
        super().__init__(weight_quantizer, activation_quantizer)
        _check_int8(type(self).__name__, weight_quantizer)

    @property
    def mode(self) -> str:
        return "int8"


def _check_int8(owner: str, quantizer: Any) -> None:
    if quantizer is not None and quantizer.output_dtype != "int8":
        raise ValueError(
            f"{owner} requires a weight_quantizer with output_dtype='int8', "
            f"got output_dtype={quantizer.output_dtype!r}"
        )


@family.add()
class Int4QuantizationConfig(QuantizationConfig):
    """Config of 4-bit weight quantization.

    Args:
        activation_quantizer: makes integers of inputs; None or "default" leaves them floats.
        block_size: rows of the kernel that share a scale and a zero in each column; None or -1:
            a column has one scale.

    Raises:
        ValueError: a size of blocks below 1 other than -1; quantizers of your own with blocks; a
            quantizer of weights that does not give int8 from -8 to 7.
    """

    def __init__(
        self,
        weight_quantizer: Any = None,
        activation_quantizer: Any = "default",
        block_size: int | None = 128,
    ) -> None:
        if isinstance(activation_quantizer, str) and activation_quantizer == "default":
            activation_quantizer = None
        super().__init__(weight_quantizer, activation_quantizer)
        owner = type(self).__name__
        if block_size is not None and block_size != -1 and block_size <= 0:
            raise expected(owner, "block_size", "None, -1, or a positive integer", block_size)
        self.block_size = block_size
        if block_size is not None and block_size > 0 and (weight_quantizer or activation_quantizer):
            raise ValueError(
                "Int4 sub-channel quantization (block_size > 0) does not support custom "
                f"quantizers: {owner} with quantizers of your own must have a block_size of None "
                f"or -1, got {block_size}"
            )
        if weight_quantizer is not None and tuple(weight_quantizer.value_range) != (-8, 7):
            raise ValueError(
                f"{owner} requires a weight_quantizer with value_range=(-8, 7), got "
                f"{weight_quantizer.value_range}"
            )
        _check_int8(owner, weight_quantizer)

    @property
    def mode(self) -> str:
        return "int4"

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "block_size": self.block_size}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Create a config from the dict of `get_config`; no `block_size` means no blocks."""
        return super().from_config({"block_size": None, **config})


def resolved(mode: Any, config: Any) -> QuantizationConfig:
    """Config of a call of `quantize`: the given one, or that of a mode.

    Raises:
        ValueError: neither is given, they contradict each other, or a mode that is not known.
        NotImplementedError: a mode of Keras's that cdl does not have.
    """
    if isinstance(config, str):
        mode, config = config, None
    if mode is not None and mode not in MODES:
        raise ValueError(
            f"Invalid quantization mode. Expected one of {MODES}. Received: mode={mode}"
        )
    if mode in ("float8", "gptq", "awq"):
        raise NotImplementedError(f"quantize: mode must be 'int8' or 'int4' in cdl, got {mode!r}")
    if config is None:
        if mode is None:
            raise ValueError("You must provide either `mode` or `config` to `quantize`.")
        return Int8QuantizationConfig() if mode == "int8" else Int4QuantizationConfig()
    if not isinstance(config, QuantizationConfig):
        raise ValueError(
            "Argument `config` must be an instance of `QuantizationConfig`. Received: "
            f"config={config} (of type {type(config)})"
        )
    if mode is not None and config.mode != mode:
        raise ValueError(f"Contradictory arguments: mode='{mode}' but config.mode='{config.mode}'")
    return config if mode is not None else resolved(config.mode, config)
