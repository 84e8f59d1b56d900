"""SpectralNormalization: a layer whose kernel is divided by its largest singular value."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl._common.orthonormal import product
from cdl._common.validation import positive_int
from cdl._tracing import graph
from cdl.initializers import TruncatedNormal
from cdl.layers.input_spec import InputSpec
from cdl.layers.layer import Layer, registry
from cdl.layers.running import prepare
from cdl.layers.wrapper import Wrapper, in_dtype_of

_LEAST = 1e-7  # norm that a vector is divided by


@registry.add()
class SpectralNormalization(Wrapper):
    """Wrapper that keeps a kernel's spectral norm at about 1 (Miyato et al., 2018).

    In front of each step of training, and of each call with ``training=True``, the kernel, as a
    matrix W of as many columns as its last axis has, is overwritten by ``W / (v W u^T)``, where
    some steps of the power iteration have brought u and v near its first singular vectors; u,
    `vector_u`, is kept. A kernel of zeros stays. No gradient goes through the division, as in Keras
    on TensorFlow and PyTorch. `fit` comes back to Python for it after each batch.

    Args:
        layer: with a `kernel` or `embeddings`.
        power_iterations: steps of the iteration each time.

    Raises:
        ValueError: no positive `power_iterations`; when built, a layer without such a weight.
    """

    def __init__(self, layer: Layer, power_iterations: int = 1, **kwargs: Any) -> None:
        super().__init__(layer, **kwargs)
        owner = "SpectralNormalization"
        self.power_iterations = positive_int(owner, "power_iterations", power_iterations)

    def build(self, input_shape: Any = None) -> None:
        """Build the wrapped layer, and create `vector_u`.

        Raises:
            ValueError: the layer has neither a `kernel` nor `embeddings`.
        """
        super().build(input_shape)
        self.input_spec = InputSpec(min_ndim=1, axes={-1: input_shape[-1]})
        kernel = getattr(self.layer, "kernel", getattr(self.layer, "embeddings", None))
        if kernel is None:
            raise ValueError(
                f"SpectralNormalization {self.name!r}: layer must have a 'kernel' or 'embeddings', "
                f"got {type(self.layer).__name__}, which has no attribute of that name"
            )
        self.kernel = kernel
        self.kernel_shape = kernel.shape
        self._weights.append(kernel)
        self.vector_u = self.add_weight(
            (1, kernel.shape[-1]),
            TruncatedNormal(stddev=0.02),
            kernel.dtype,
            trainable=False,
            name="vector_u",
        )

    def call(self, inputs: Any, training: bool | None = False) -> Any:
        """Output of the wrapped layer; on arrays in training its kernel is divided first."""
        if training and graph.current_scope() is None:
            self._before_step()
        elif training:
            prepare(self)
        return in_dtype_of(self, self.layer, self.layer(inputs))

    def _before_step(self) -> None:
        """Divide the kernel at the start of a training step."""
        if self.kernel.numpy().any():
            u, kernel = self.normalized_weights()
            self.vector_u.assign(u)
            self.kernel.assign(kernel)

    def normalized_weights(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """`vector_u` after the iteration, and the kernel divided by its spectral norm."""
        kernel, u = self.kernel.numpy(), self.vector_u.numpy()
        matrix = kernel.reshape(-1, kernel.shape[-1]).astype(np.float64)
        v = u
        for _ in range(self.power_iterations):
            v = _unit(product(u, matrix.T))
            u = _unit(product(v, matrix))
        norm = np.float32(product(product(v, matrix), u.T)[0, 0])
        return u, (kernel / norm).astype(np.float32)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Output shape of the wrapped layer."""
        return self.layer.compute_output_shape(input_shape)


def _unit(x: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray(x / max(float(np.sqrt(np.square(x).sum())), _LEAST), np.float32)
