"""LayerOfCell: an RNN of one of cdl's cells, with the cell's arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from cdl._common.naming import snake_case
from cdl._common.validation import one_of
from cdl.layers import rules
from cdl.layers.input_spec import InputSpec
from cdl.layers.layer import Layer
from cdl.layers.recurrent.cells import WeightedCell
from cdl.layers.recurrent.rnn import RNN


class FromCell:
    """Attribute of a layer that is stored in its cell."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name
        owner._of_cell = (*getattr(owner, "_of_cell", ()), name)  # type: ignore[attr-defined]

    def __get__(self, layer: Any, owner: type) -> Any:
        return self if layer is None else getattr(layer.cell, self.name)

    def __set__(self, layer: Any, value: Any) -> None:
        raise AttributeError(
            f"{type(layer).__name__}: {self.name} must be given to the constructor, or set on the "
            f"layer's cell, got {value!r}"
        )


class LayerOfCell(RNN):
    """Base of `SimpleRNN`, `LSTM` and `GRU`.

    Args:
        cell: the cell's class.
        arguments: of the layer: those of the cell, which the class has as `FromCell`, `use_cudnn`
            if there is such an argument, and those of `RNN`.
        more: further arguments of the cell.
        use_cudnn: "auto" or False; there is no GPU.
    """

    _of_cell: tuple[str, ...] = ("seed",)  # arguments; names of attributes come by themselves
    _not_in_config = ("cell", "arguments", "use_cudnn", "seed")
    _has_cudnn = False  # whether there is an argument `use_cudnn`

    activation = FromCell()
    use_bias = FromCell()
    kernel_initializer = FromCell()
    recurrent_initializer = FromCell()
    bias_initializer = FromCell()
    kernel_regularizer = FromCell()
    recurrent_regularizer = FromCell()
    bias_regularizer = FromCell()
    kernel_constraint = FromCell()
    recurrent_constraint = FromCell()
    bias_constraint = FromCell()
    dropout = FromCell()
    recurrent_dropout = FromCell()

    def __init__(self, cell: type[WeightedCell], arguments: dict[str, Any], **more: Any) -> None:
        owner = type(self).__name__
        more |= {name: arguments.pop(name) for name in self._of_cell if name in arguments}
        more |= {name: arguments[name] for name in ("dtype", "trainable") if name in arguments}
        if self._has_cudnn and "use_cudnn" in arguments:
            auto_or_not = ("auto", True, False)
            self.use_cudnn = one_of(owner, "use_cudnn", arguments.pop("use_cudnn"), auto_or_not)
        made = cell(name=snake_case(cell.__name__), _owner=owner, **more)
        super().__init__(made, **arguments)
        self.input_spec = InputSpec(ndim=3)

    def call(
        self, sequences: Any, initial_state: Any = None, mask: Any = None, training: Any = False
    ) -> Any:
        """Output, or a tuple of it and the states; see `RNN`.

        Args:
            sequences: of shape (samples, steps, size).
            initial_state: a list of the states before the first step; None for zeros.
            mask: of shape (samples, steps): which steps count.
            training: whether dropout drops.

        Raises:
            ValueError: `use_cudnn` is True, and there is no GPU.
        """
        if getattr(self, "use_cudnn", "auto") is True:
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: use_cudnn must be 'auto' or False, since "
                "there is no GPU, got True"
            )
        return super().call(sequences, initial_state=initial_state, mask=mask, training=training)

    def get_config(self) -> dict[str, Any]:
        penalty = rules.config(self, "activity_regularizer")
        return {**Layer.get_config(self), **penalty, "seed": self.cell.seed}

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> Self:
        del custom_objects
        return super(RNN, cls).from_config(config)
