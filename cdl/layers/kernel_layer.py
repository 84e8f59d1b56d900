"""KernelLayer: base of layers with a kernel or table, which may have LoRA and be quantized."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cdl import dtype_policies, initializers
from cdl._common.validation import expected, is_real, positive_int
from cdl._configs.identifiers import Identifier
from cdl._configs.serialization import deserialize, serialize
from cdl._variables.program_caches import invalidate_programs
from cdl.dtype_policies import DTypePolicyMap
from cdl.layers import rules
from cdl.layers.integers import MatrixForm, QuantizedWeight
from cdl.layers.layer import Layer
from cdl.layers.lora import LoraWeight
from cdl.layers.plain_weight import PlainWeight
from cdl.quantizers import AbsMaxQuantizer, Int4QuantizationConfig, QuantizationConfig

_MOST_SUMMED = (2**31 - 1) // 127**2  # products of two integers of eight bits


def weight_property(name: str, doc: str) -> Any:
    """Property of a layer for its main weight; a variable may be set."""

    def get(layer: KernelLayer) -> Any:
        if f"_{name}" not in vars(layer):
            raise AttributeError(
                f"{type(layer).__name__} {layer.name!r}: You must build the layer before "
                f"accessing `{name}`."
            )
        return layer._scheme_of_weight.array()

    def put(layer: KernelLayer, value: Any) -> None:
        setattr(layer, f"_{name}", value)

    return property(get, put, doc=doc)


class KernelLayer(Layer):
    """Base of layers with a main weight, and a scheme: how it is stored and computed with.

    The scheme is a `PlainWeight`, a `LoraWeight` or a `QuantizedWeight`. Its parts are attributes
    by Keras's names, such as `_kernel` and `lora_kernel_a`, which users and subclasses may set.

    Args:
        kernel_regularizer: a penalty on the kernel.
        bias_regularizer: a penalty on the bias.
        kernel_constraint: what the kernel must be after each update.
        bias_constraint: what the bias must be after each update.
        lora_rank: columns of A, if the layer shall be built with LoRA; see `enable_lora`.
        lora_alpha: what the product of A and B counts, times lora_rank; None is lora_rank.
        quantization_config: a `cdl.quantizers.QuantizationConfig`, if the layer shall be built of
            integers, as its dtype says: "int8_from_float32"; see `quantize`.
    """

    quantization_config: QuantizationConfig | None = None
    inputs_quantizer: Any  # quantizer of inputs; None: inputs stay floats
    lora_enabled = False  # whether the weight has A and B beside it
    lora_rank: int | None
    lora_alpha: float | None  # by which, over the rank, the product of A and B counts
    _adapted = "kernel"  # Keras's name of the weight
    _form_of_weight = MatrixForm()
    _scheme_without_lora: PlainWeight | None = None  # None: plain
    _quantizes = False  # whether a class, not its subclasses, may have integers
    _not_in_config: tuple[str, ...] = ("lora_rank", "lora_alpha", "quantization_config")

    def _hold_scheme(self, scheme: PlainWeight) -> None:
        """Store the scheme of the main weight, and its variable by Keras's name."""
        self._scheme_without_lora = scheme
        setattr(self, f"_{self._adapted}", scheme.variable)

    @property
    def _scheme_of_weight(self) -> PlainWeight:
        """Scheme of the main weight, with the parts that the layer has by now."""
        what = self._adapted
        variable, held = getattr(self, f"_{what}"), self._scheme_without_lora
        if held is None and self._is_quantized:
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: integers of a pickle by an earlier cdl "
                "cannot be read; load its weights from a file of `save_weights`"
            )
        scheme = PlainWeight(variable) if held is None else held.of(variable, self)
        if not self.lora_enabled:
            return scheme
        a, b = (getattr(self, f"lora_{what}_{side}") for side in "ab")
        return LoraWeight(scheme, a, b, self.lora_alpha)

    def _add_main_weight(
        self, shape: Sequence[Any], initializer: Any, matrix: bool | None = None
    ) -> None:
        """Create the main weight, of integers if the policy says so and cdl computes in it."""
        mode, what = self.quantization_mode, self._adapted
        if mode is None or None in shape or not type(self)._quantizes:
            variable = rules.add(self, what, shape, initializer=initializer, matrix=matrix)
            self._hold_scheme(PlainWeight(variable))
            return
        if mode not in ("int8", "int4"):
            raise NotImplementedError(
                f"{type(self).__name__} {self.name!r}: dtype must be quantized to int8 or int4 in "
                f"cdl, got {self.dtype_policy.name!r}"
            )
        self._build_integers(mode, tuple(shape), self.quantization_config)

    def _filed_variables(self) -> list[Any]:
        variables = super()._filed_variables()
        if f"_{self._adapted}" not in vars(self):
            return variables
        return self._scheme_of_weight.filed(variables)

    # --- LoRA ---

    def _keep_schemes(self, lora_rank: Any, lora_alpha: Any, config: Any = None) -> None:
        """Store the constructor's arguments of LoRA and of quantization."""
        owner = type(self).__name__
        self.lora_rank = positive_int(owner, "lora_rank", lora_rank) if lora_rank else None
        self.lora_alpha = _checked_alpha(owner, lora_alpha, self.lora_rank)
        if isinstance(config, dict):
            config = deserialize(config)
        if config is not None and not isinstance(config, QuantizationConfig):
            raise expected(owner, "quantization_config", "a QuantizationConfig or None", config)
        self.quantization_config = config

    def get_config(self) -> dict[str, Any]:
        found = super().get_config()
        if self._quantizes:
            found["quantization_config"] = serialize(self.quantization_config)
        if self.lora_rank:
            found |= {"lora_rank": self.lora_rank, "lora_alpha": self.lora_alpha}
        return found

    def enable_lora(
        self,
        rank: int,
        lora_alpha: float | None = None,
        a_initializer: Identifier = "he_uniform",
        b_initializer: Identifier = "zeros",
    ) -> None:
        """Enable low-rank adaptation: freeze the kernel or table, and train two narrow matrices.

        Compiled models must be compiled again. Files hold the sum of all three: a layer that
        loads one has A and B of zeros, which no longer learn, as in Keras.

        Args:
            rank: columns of A and rows of B.
            lora_alpha: the product of A and B counts lora_alpha / rank; None is the rank.
            a_initializer: of A, which has the kernel's shape with `rank` as its last size.
            b_initializer: of B, of shape (rank, the kernel's last size).

        Raises:
            ValueError: the layer is not built, has LoRA already, or has a constraint on the kernel.
        """
        what, owner = self._adapted, f"{type(self).__name__} {self.name!r}"
        if getattr(self, f"{what}_constraint") is not None:
            raise ValueError(
                f"{owner}: Lora is incompatible with {what} constraints: {what}_constraint must be "
                f"None, got {getattr(self, f'{what}_constraint')!r}"
            )
        if not self.built:
            raise ValueError(
                f"{owner}: Cannot enable lora on a layer that isn't yet built: call "
                "build(input_shape), or call it on data, first"
            )
        if self.lora_enabled:
            raise ValueError(
                f"{owner}: lora is already enabled. This can only be done once per layer."
            )
        rank = positive_int(owner, "rank", rank)
        alpha = _checked_alpha(owner, lora_alpha, rank)
        scheme = self._scheme_of_weight
        frozen, (*outer, last) = scheme.variable, scheme.shape
        shapes = (*outer, rank), (rank, last)
        initial = [initializers.get(each) for each in (a_initializer, b_initializer)]
        before, self._building = self._building, True
        try:
            for side, shape, initializer in zip("ab", shapes, initial, strict=True):
                name = f"lora_{what}_{side}"
                weight = self.add_weight(
                    shape,
                    initializer,
                    dtype="float32",
                    regularizer=getattr(self, f"{what}_regularizer"),
                    name=name,
                    matrix=frozen.storage.matrix or side == "b",
                )
                weight.path = f"{self.path}/{name}"
                setattr(self, name, weight)
        finally:
            self._building = before
        frozen.trainable = False
        self.lora_enabled, self.lora_rank, self.lora_alpha = True, rank, alpha
        invalidate_programs()

    # --- integers ---

    def _block_of_weight(self, mode: str, config: QuantizationConfig | None) -> int:
        """Rows of a group, or 0: by the config, else by the policy."""
        if isinstance(config, Int4QuantizationConfig):
            size = config.block_size
        else:
            policy = self.dtype_policy
            if isinstance(policy, DTypePolicyMap):
                policy = policy[self.path]
            size = getattr(policy, "block_size", None)
        return 0 if size in (None, -1) or mode != "int4" else int(size)

    def _quantizer_of_inputs(self, mode: str, config: QuantizationConfig | None) -> Any:
        """Quantizer of inputs, or None; NotImplementedError for one of the user's own."""
        default = AbsMaxQuantizer() if mode == "int8" else None
        found = QuantizationConfig.activation_quantizer_or_default(config, default)
        if found is not None and type(found) is not AbsMaxQuantizer:
            raise NotImplementedError(
                f"{type(self).__name__} {self.name!r}: activation_quantizer must be an "
                f"AbsMaxQuantizer or None in cdl, got {found!r}"
            )
        return found

    def _checked_quantizer(
        self, mode: str, shape: tuple[int, ...], config: QuantizationConfig | None
    ) -> Any:
        """Quantizer of inputs; ValueError for sums of products that int32 does not hold."""
        quantizer = self._quantizer_of_inputs(mode, config)
        rows = self._form_of_weight.matrix_shape(shape)[0]
        if quantizer is not None and self._form_of_weight.sums and rows > _MOST_SUMMED:
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: to be quantized it must have at most "
                f"{_MOST_SUMMED:,} inputs, whose sums int32 holds, got {rows:,}; with "
                "activation_quantizer=None it may have any number"
            )
        return quantizer

    def _build_integers(
        self, mode: str, shape: tuple[int, ...], config: QuantizationConfig | None
    ) -> None:
        """Create the integers of a weight of that shape, with scales and zeros."""
        quantizer = self._checked_quantizer(mode, shape, config)
        form, block = self._form_of_weight, self._block_of_weight(mode, config)
        self._hold_scheme(QuantizedWeight(self, self._adapted, mode, shape, form, block, quantizer))
        self.inputs_quantizer, self._is_quantized = quantizer, True

    def _quantizing(
        self, config: QuantizationConfig, type_check: bool
    ) -> Callable[[], None] | None:
        cls = type(self)
        if not cls._quantizes or (type_check and "_quantizes" not in vars(cls)):
            return None
        mode, policy = config.mode, self.dtype_policy
        weight = self._scheme_of_weight.variable
        self._checked_quantizer(mode, weight.shape, config)
        block = self._block_of_weight(mode, config)
        if policy.quantization_mode is None:
            name = "int8" if mode == "int8" else f"int4/{block or -1}"
            policy = dtype_policies.get(f"{name}_from_{policy.name}")
        made = self._form_of_weight.stored(weight.numpy(), mode, block, config.weight_quantizer)
        return functools.partial(self._replace_by_integers, config, policy, made)

    def _replace_by_integers(
        self, config: QuantizationConfig, policy: Any, made: Sequence[Any]
    ) -> None:
        """Replace the weight by integers, their scales and the zeros of groups."""
        weight = self._scheme_of_weight.variable
        self.quantization_config = config
        self._weights[:] = [each for each in self._weights if each is not weight]
        before, self._building = self._building, True
        try:
            self._build_integers(config.mode, weight.shape, config)
        finally:
            self._building = before
        for part, value in zip(self._scheme_of_weight.base.parts(), made, strict=True):
            if part is not None:
                part.assign(np.reshape(value, part.shape))
        if policy is not self.dtype_policy:
            self.dtype_policy = policy
        invalidate_programs()


def _checked_alpha(owner: str, lora_alpha: Any, rank: int | None) -> Any:
    if lora_alpha is None:
        return rank
    if not is_real(lora_alpha) or not np.isfinite(lora_alpha):
        raise expected(owner, "lora_alpha", "a number or None", lora_alpha)
    return lora_alpha
