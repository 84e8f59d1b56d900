"""Input: symbolic inputs of models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cdl._common.dtypes import standardize_dtype
from cdl._common.shared_arguments import described_by
from cdl._common.validation import expected, not_yet
from cdl._tracing.graph import KerasTensor, Node
from cdl.layers.arguments import Lowering, Shape, Value
from cdl.layers.layer import Layer, registry
from cdl.layers.shapes import checked_shape


@registry.add()
class InputLayer(Layer):
    """Input layer of a model, with the shape and dtype of the data.

    Args:
        shape: of one sample.
        batch_size: the size of the batch axis, None for any.
        dtype: of the arrays, a float, an int or bool; whatever it is, the core reads float32, in
            which whole numbers are exact up to 2**24. "string" for texts, which a layer such as
            `TextVectorization` makes numbers of, ahead of the core.
        sparse: not supported.
        ragged: not supported.
        batch_shape: shape with the batch axis, instead of `shape` and `batch_size`.
        input_tensor: a symbolic tensor that the layer is to stand for; the other arguments must
            agree with it.
        optional: whether None may be handed in instead; layers that are called on it then see None.
        kwargs: see `Layer`; `input_shape` is an older name of `shape`.

    Raises:
        ValueError: no shape, an invalid one, or one that does not agree with `input_tensor`.
    """

    batch_shape: Shape

    def __init__(
        self,
        shape: Sequence[int | None] | None = None,
        batch_size: int | None = None,
        dtype: Any = None,
        sparse: bool | None = None,
        ragged: bool | None = None,
        batch_shape: Sequence[int | None] | None = None,
        input_tensor: Any = None,
        optional: bool = False,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        shape = kwargs.pop("input_shape", None) if shape is None else shape
        super().__init__(name=name, **kwargs)
        not_yet(
            "Input",
            sparse=(bool(sparse), False),
            ragged=(bool(ragged), False),
        )
        if input_tensor is None:
            self.batch_shape = _batch_shape(shape, batch_size, batch_shape)
        else:
            _check_agrees(input_tensor, shape, batch_size, batch_shape, dtype)
            self.batch_shape, dtype = input_tensor.shape, input_tensor.dtype
        texts = dtype is str or (isinstance(dtype, str) and dtype == "string")
        dtype_name = "string" if texts else standardize_dtype(dtype)
        real = texts or dtype_name == "bfloat16" or np.dtype(dtype_name).kind in "fiub"
        if not real:
            raise expected("Input", "dtype", "a float, an int, bool or 'string'", dtype)
        self._told_dtype = dtype_name
        self.sparse = self.ragged = False
        self.optional = bool(optional)
        self.built = True
        tensor = input_tensor
        if tensor is None:
            tensor = KerasTensor(self.batch_shape, dtype_name, name=self.name)
        self._inbound_nodes.append(Node(self, (), {}, tensor))

    @property
    def shape(self) -> Shape:
        """Shape with the batch axis."""
        return self.batch_shape

    def call(self) -> None:  # type: ignore[override]
        """Return the input, which comes from outside."""

    def lower(self, program: Lowering, x: Value) -> Value:
        return x

    def compute_output_shape(self, input_shape: Any = None) -> Shape:
        """The shape, batch axis included."""
        return self.batch_shape

    def get_config(self) -> dict[str, Any]:
        return {
            "batch_shape": self.batch_shape,
            "dtype": self.dtype,
            "sparse": False,
            "ragged": False,
            "name": self.name,
            "optional": self.optional,
        }


@described_by(InputLayer)
def Input(  # noqa: N802 - Keras's name for a function
    shape: Sequence[int | None] | None = None,
    batch_size: int | None = None,
    dtype: Any = None,
    sparse: bool | None = None,
    ragged: bool | None = None,
    batch_shape: Sequence[int | None] | None = None,
    name: str | None = None,
    tensor: Any = None,
    optional: bool = False,
) -> KerasTensor:
    """Symbolic tensor for the input of a model.

    Args:
        shape: of one sample, such as `(4,)`.
        name: unique in a model; None makes one.
        tensor: a symbolic tensor that the input is to stand for.

    Raises:
        ValueError: no shape, or an invalid one.
    """
    layer = InputLayer(
        shape, batch_size, dtype, sparse, ragged, batch_shape, tensor, optional, name
    )
    made: KerasTensor = layer.output
    return made


def _check_agrees(tensor: Any, shape: Any, batch_size: Any, batch_shape: Any, dtype: Any) -> None:
    """Check that arguments agree with the given tensor; ValueError."""
    if not isinstance(tensor, KerasTensor):
        raise expected("Input", "tensor", "a symbolic tensor", tensor)
    attributes = {
        "shape": (shape, tuple(tensor.shape[1:])),
        "batch_size": (batch_size, tensor.shape[0] if tensor.shape else None),
        "batch_shape": (batch_shape, tuple(tensor.shape)),
        "dtype": (dtype, tensor.dtype),
    }
    for name, (given, has) in attributes.items():
        same = tuple(given) == has if isinstance(given, (list, tuple)) else given == has
        if given is not None and not same:
            raise expected("Input", name, f"{has}, as the tensor has it,", given)


def _batch_shape(
    shape: Any, batch_size: int | None, batch_shape: Sequence[int | None] | None
) -> Shape:
    if batch_shape is not None:
        if shape is not None or batch_size is not None:
            raise ValueError(
                f"Input: batch_shape must be given alone, got it with shape={shape} and "
                f"batch_size={batch_size}"
            )
        whole = checked_shape("Input", "batch_shape", batch_shape)
        if not whole:
            raise expected(
                "Input", "batch_shape", "a tuple that begins with the batch", batch_shape
            )
        return whole
    if shape is None:
        raise ValueError("Input: shape must be given, got None")
    checked_shape("Input", "batch_size", (batch_size,))
    return (batch_size, *checked_shape("Input", "shape", shape))
