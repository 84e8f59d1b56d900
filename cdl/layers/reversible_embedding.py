"""ReversibleEmbedding: from numbers to rows of a table, and from rows to scores of all numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cdl._common.validation import flag, number
from cdl._tracing.symbolic import operator_of
from cdl.layers.embedding import Embedding
from cdl.layers.layer import registry

if TYPE_CHECKING:
    from cdl._configs.identifiers import Identifier
    from cdl.layers.shapes import Shape


@registry.add()
class ReversibleEmbedding(Embedding):
    """``y = embeddings[x]``, or with ``reverse=True`` ``y = x @ transpose(embeddings)``.

    A language model calls it twice: on tokens, and on what it has made of them.

    Args:
        input_dim: the number of rows.
        output_dim: the length of a row.
        tie_weights: whether both ways share the table; else the way back has a matrix of its own,
            of shape (output_dim, input_dim).
        embeddings_initializer: of the table, and of that matrix.
        embeddings_regularizer: a penalty on the table.
        embeddings_constraint: what the table must be after each update.
        mask_zero: whether 0 stands for "nothing here": what comes after does not count it.
        reverse_dtype: the dtype that the way back computes in; None: that of the layer.
        logit_soft_cap: None, or c, by which the way back becomes ``c tanh(y / c)``.
        kwargs: see `Embedding`.
    """

    _in_float32 = False  # the way back is a product in what the layer computes in

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        tie_weights: bool = True,
        embeddings_initializer: Identifier = "uniform",
        embeddings_regularizer: Identifier | None = None,
        embeddings_constraint: Identifier | None = None,
        mask_zero: bool = False,
        reverse_dtype: Any = None,
        logit_soft_cap: float | None = None,
        **kwargs: Any,
    ) -> None:
        owner = type(self).__name__
        self.tie_weights = flag(owner, "tie_weights", tie_weights)
        self.reverse_dtype = reverse_dtype
        if logit_soft_cap is not None:
            number(owner, "logit_soft_cap", logit_soft_cap, above=0)
        self.logit_soft_cap = logit_soft_cap
        super().__init__(
            input_dim,
            output_dim,
            embeddings_initializer=embeddings_initializer,
            embeddings_regularizer=embeddings_regularizer,
            embeddings_constraint=embeddings_constraint,
            mask_zero=mask_zero,
            **kwargs,
        )

    def build(self, input_shape: Any = None) -> None:
        """Make the table, and the matrix of the way back if it is another one."""
        if self.built:
            return
        super().build(input_shape)
        if not self.tie_weights:
            self.reverse_embeddings = self.add_weight(
                (self.output_dim, self.input_dim),
                self.embeddings_initializer,
                name="reverse_embeddings",
                matrix=True,
            )

    def call(self, inputs: Any, reverse: bool = False) -> Any:
        """Rows of the table; or scores of all numbers, from what has the length of a row."""
        if not reverse:
            return super().call(inputs)
        kernel = self.reverse_embeddings if not self.tie_weights else self.embeddings
        if self.tie_weights:
            kernel = operator_of("transpose")(kernel)
        if self.reverse_dtype is not None:
            cast = operator_of("cast")
            inputs, kernel = (cast(each, self.reverse_dtype) for each in (inputs, kernel))
        y = operator_of("matmul")(inputs, kernel)
        if self.logit_soft_cap is None:
            return y
        return operator_of("tanh")(y / self.logit_soft_cap) * self.logit_soft_cap

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """None: what the layer gives from numbers has its mask by itself."""

    def compute_output_shape(self, input_shape: Shape, reverse: bool = False) -> Shape:
        """The input's shape with a last axis of `output_dim`; or with `input_dim` as its last."""
        if reverse:
            return (*input_shape[:-1], self.input_dim)
        return super().compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "tie_weights": self.tie_weights,
            "reverse_dtype": self.reverse_dtype,
            "logit_soft_cap": self.logit_soft_cap,
        }
