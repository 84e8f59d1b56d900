"""Quantizing: the `quantize` of layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cdl.quantizers.quantization_config import QuantizationConfig, resolved

if TYPE_CHECKING:
    from cdl.dtype_policies import DTypePolicy


class Quantizing:
    """Mixin of layers: `quantize`, for layers with integer weights."""

    name: str
    built: bool
    _is_quantized = False

    @property
    def dtype_policy(self) -> DTypePolicy:
        """Dtype policy of the layer."""
        raise NotImplementedError

    def quantize(self, mode: Any = None, config: Any = None, *, type_check: bool = True) -> None:
        """Replace the weights by integers of few bits, for predictions.

        Dense, EinsumDense, Embedding and ReversibleEmbedding do so. Weights that are replaced
        learn no more.

        Args:
            mode: "int8" or "int4"; may be left out with a config.
            config: a `cdl.quantizers.QuantizationConfig`; None is that of the mode.
            type_check: whether subclasses of these layers are refused, which may compute
                otherwise.

        Raises:
            ValueError: a mode that is not known, a config of another one, a layer that is not
                built or is quantized already, or has more than 133,144 inputs: then int32 does not
                hold the sums of products of two integers of eight bits.
            NotImplementedError: a layer without it, or a mode of Keras's that cdl does not have.
        """
        self._prepared_quantize(mode, resolved(mode, config), type_check)()

    def _prepared_quantize(
        self, mode: Any, config: QuantizationConfig, type_check: bool
    ) -> Callable[[], None]:
        """Function that replaces the weights, after all that can fail has been done.

        Raises:
            ValueError: as `quantize`.
            NotImplementedError: likewise.
        """
        what = f"Layer '{self.name}' (of type '{type(self).__name__}')"
        if not self.built:
            raise ValueError(f"Cannot quantize a layer that isn't yet built. {what} is not built.")
        if self._is_quantized:
            raise ValueError(
                f"{what} is already quantized with dtype_policy='{self.dtype_policy.name}'. "
                f"Received: mode={mode}"
            )
        return self._quantizing(config, type_check)

    def _quantizing(self, config: QuantizationConfig, type_check: bool) -> Callable[[], None]:
        del config, type_check
        raise NotImplementedError(
            f"Layer {type(self).__name__} does not have a `quantize` method implemented."
        )
