"""RNN: a cell run over time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cdl import ops, tree
from cdl._common.dtypes import LOW
from cdl._common.overriding import overrides
from cdl._common.validation import check_batches, expected, flag
from cdl._configs.serialization import deserialize, serialize
from cdl._tracing import graph
from cdl._tracing.between_inputs import between_inputs, record_coupled
from cdl._tracing.graph import KerasTensor, current_scope
from cdl._tracing.joining import wholes
from cdl._tracing.symbolic import symbolic_error
from cdl._tracing.variable import Variable
from cdl.layers.arguments import LayerArguments, Self, Unpack
from cdl.layers.call_arguments import shapes_of
from cdl.layers.layer import Layer, registry
from cdl.layers.recurrent import compiled, in_core
from cdl.layers.recurrent.cells import DropoutCell, run_cell
from cdl.layers.recurrent.stacked_cells import StackedRNNCells, sizes_of_cell
from cdl.layers.recurrent.time_loop import Found, leading_state, over_time
from cdl.layers.running import name_scope, path_of


@registry.add()
class RNN(Layer):
    """Recurrent layer of any cell, run along axis 1 of inputs of shape (samples, steps, ...).

    A cell is a layer, or any object, with a `call(inputs, states)` that gives an output and a list
    of the next states, and `state_size`: an int, or a list with one a state. It may have
    `output_size`, `get_initial_state(batch_size)` and, as a layer, `build`. For example::

        class MinimalCell(cdl.layers.Layer):
            def __init__(self, units, **kwargs):
                super().__init__(**kwargs)
                self.units = self.state_size = units

            def build(self, input_shape):
                self.kernel = self.add_weight((input_shape[-1], self.units))
                self.recurrent_kernel = self.add_weight((self.units, self.units))

            def call(self, inputs, states):
                h = inputs @ self.kernel + states[0] @ self.recurrent_kernel
                return h, [h]

    Its output is the last one, of shape (samples, output size), or with `return_sequences` all of
    them, (samples, steps, output size). At a step that a mask hides, a sample's states stay as they
    are, and its output is the one before. A call takes `initial_state`, a list nested as the
    states, zeros unless given.

    Args:
        cell: the cell, or a list of cells, each of which gets the output of the one before.
        return_sequences: whether the outputs of all steps are given.
        return_state: whether the states after the last step are given too, behind the output.
        go_backwards: whether to begin with the last step; outputs are in the order of computing.
        stateful: whether the states at the end of a batch are the initial ones of the next, until
            `reset_state()`; the inputs must have a fixed number of samples.
        unroll: whether the outputs at hidden steps before the first shown one are 0; it changes
            nothing else.
        zero_output_for_mask: whether the output of a hidden step is 0.

    Raises:
        ValueError: what is given is no cell; when called, states or a mask that do not fit, or
            another number of samples than kept states have.
    """

    _masks_by_first = True
    training_by_default = False
    _not_owned = Layer._not_owned | {"states"}

    def __init__(
        self,
        cell: Any,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        owner = type(self).__name__
        if isinstance(cell, (list, tuple)):
            cell = StackedRNNCells(cell)
        sizes = sizes_of_cell(owner, "cell", cell)
        super().__init__(**kwargs)
        self.cell = cell
        self.return_sequences = flag(owner, "return_sequences", return_sequences)
        self.return_state = flag(owner, "return_state", return_state)
        self.go_backwards = flag(owner, "go_backwards", go_backwards)
        self.stateful = flag(owner, "stateful", stateful)
        self.unroll = flag(owner, "unroll", unroll)
        self.zero_output_for_mask = flag(owner, "zero_output_for_mask", zero_output_for_mask)
        self.supports_masking = True
        self.states: Any = None
        self._expected_batch_size: int | None = None
        self.single_state = isinstance(sizes, int)
        self.state_size = [sizes] if isinstance(sizes, int) else list(sizes)

    def _sublayers(self) -> list[Any]:
        found = super()._sublayers()
        own = isinstance(self.cell, Layer) and self.cell not in found
        return [self.cell, *found] if own else found

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        """Build the cell for one step of sequences of that shape."""
        del initial_state_shape
        shape = tuple(sequences_shape)
        if isinstance(self.cell, Layer) and not self.cell.built:
            with name_scope(self.cell):
                self.cell.build((shape[0], *shape[2:]))
            self.cell.built = True
        self._build_within(shape)
        if self.stateful and self.states is None:
            if shape[0] is None:
                raise ValueError(
                    f"{type(self).__name__} {self.name!r}: stateful=True needs a known number of "
                    f"samples, as of Input(batch_shape=...), got shape {shape}"
                )
            self._make_states(shape[0])
        super().build(shape)

    def _build_within(self, shape: tuple[Any, ...]) -> None:
        """Build layers within a cell that its `build` has left to their first call."""
        if not isinstance(self.cell, Layer) or None in shape[2:]:
            return
        if all(each.built for each in self.cell._flatten_layers()):
            return
        with graph.scope(False):
            first = KerasTensor((None, *shape[2:]))
            run_cell(self.cell, first, self.get_initial_state(ops.shape(first)[0]), False)

    def _make_states(self, samples: int) -> None:
        """Create the states kept between batches, which are no weights."""

        def kept(value: Any) -> Variable:
            first = np.asarray(value)
            more: Any = {"dtype": self._symbolic_dtype(), "autocast": False}
            state = Variable(
                first.shape, lambda _: first, name="rnn_state", trainable=False, **more
            )
            state.path = f"{path_of(self)}/rnn_state"
            return state

        self.states = tree.map_structure(kept, self.get_initial_state(samples))
        self._expected_batch_size = samples

    def _own_moved(self) -> list[Any]:
        kept = [] if self.states is None else tree.flatten(self.states)
        return [*super()._own_moved(), *kept]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Output of the layer; see `Layer`. The first call of a stateful layer fixes the samples.

        Args:
            args: `sequences`, an array or a symbolic tensor.
            kwargs: `initial_state`, `mask`, `training`.
        """
        first = args[0] if args else kwargs.get("sequences")
        if self.stateful and not self.built and isinstance(first, np.ndarray):
            self.check_input(np.shape(first))
            self.build(np.shape(first))
        if any(getattr(each, "rows_per_sample", 0) > 1 for each in tree.flatten(first)):
            if between_inputs():
                return record_coupled(self, self, args, kwargs)
            args, kwargs = _joined(args, kwargs)
        return super().__call__(*args, **kwargs)

    def compute_output_shape(self, sequences_shape: Any, initial_state_shape: Any = None) -> Any:
        """Shapes of a call's outputs, batch axis included, for sequences of that shape."""
        del initial_state_shape
        samples, steps = sequences_shape[0], sequences_shape[1]
        size = getattr(self.cell, "output_size", None)
        size = self.state_size[0] if size is None else size
        if not isinstance(size, int):
            raise expected(f"{type(self).__name__} {self.name!r}", "output_size", "an int", size)
        shape = (samples, steps, size) if self.return_sequences else (samples, size)
        if not self.return_state:
            return shape
        states = [
            [(samples, each) for each in sizes]
            if isinstance(sizes, (list, tuple))
            else (samples, sizes)
            for sizes in self.state_size
        ]
        return (shape, *states)

    def _spec_of(self, *args: Any, **kwargs: Any) -> Any:
        if not self._is_as_written():
            return super()._spec_of(*args, **kwargs)
        first = args[0] if args else next(iter(kwargs.values()))
        shapes = self.compute_output_shape(shapes_of(tree.flatten(first)[0]))
        dtype = self._symbolic_dtype()
        return tree.map_shape_structure(lambda shape: KerasTensor(shape, dtype), shapes)

    def _is_as_written(self) -> bool:
        """Whether `compute_output_shape` holds for a call: nothing of it is custom."""
        return not overrides(type(self), "call", "inner_loop")

    def compute_mask(self, _: Any, mask: Any = None) -> Any:
        """Mask, with `return_sequences`; states have none."""
        mask = tree.flatten(mask)[0] if mask is not None else None
        shown = mask if self.return_sequences else None
        return [shown, *(None for _ in self.state_size)] if self.return_state else shown

    def get_initial_state(self, batch_size: Any) -> list[Any]:
        """States before the first step: those of the cell, or zeros.

        Args:
            batch_size: how many samples; within code that is traced `cdl.ops.shape(x)[0]`.
        """
        made = getattr(self.cell, "get_initial_state", None)
        if made is None:
            return [ops.zeros((batch_size, size)) for size in self.state_size]
        states = made(batch_size=batch_size)
        return list(states) if tree.is_nested(states) else [states]

    def call(
        self, sequences: Any, initial_state: Any = None, mask: Any = None, training: Any = False
    ) -> Any:
        """Output, or a tuple of it and the states.

        Args:
            sequences: of shape (samples, steps, ...).
            initial_state: a list of the states before the first step; None for zeros.
            mask: of shape (samples, steps): which steps count.
            training: whether dropout drops.
        """
        first = tree.flatten(sequences)[0]
        steps = first.shape[1]
        owner = f"{type(self).__name__} {self.name!r}"
        if steps is None:
            raise ValueError(
                f"{owner}: the number of steps must be known, got shape {sequences.shape}"
            )
        self._check_samples(owner, first.shape[0])
        if self.stateful and current_scope() and not getattr(first, "rows_per_sample", 0):
            raise ValueError(
                f"{owner}: with stateful=True inputs must have the samples as their first axis, "
                f"got an array or weight of shape {tuple(first.shape)} in code that is traced"
            )
        _check_mask(owner, first.shape, mask)
        given = (sequences, initial_state, mask)
        arrays = compiled.arrays_of(self, given)
        if arrays is not None:
            return compiled.run(self, RNN.call, given, arrays, bool(training))
        states = self._initial(owner, first, initial_state)
        if self._symbolic_dtype() in LOW:
            states = tree.map_structure(lambda x: ops.cast(x, self._symbolic_dtype()), states)
        training = bool(training)
        self._draw_dropout(self.cell, first, states, training)
        try:
            last, outputs, states = self.inner_loop(sequences, states, mask, training)
        finally:
            _forget_dropout(self.cell)
        if self.stateful:
            kept = zip(tree.flatten(self.states), tree.flatten(states), strict=True)
            for variable, state in kept:
                if isinstance(state, KerasTensor):
                    graph.retain(variable, state)
                else:
                    variable.assign(state)
        output = outputs if self.return_sequences else last
        return (output, *states) if self.return_state else output

    def _tensors_by_state(self) -> list[int]:
        """Number of tensors per state: of stacked cells as many as the cell has states."""
        return [len(tree.flatten(sizes)) for sizes in self.state_size]

    def _check_samples(self, owner: str, samples: int | None) -> None:
        if self.stateful and samples is not None:
            check_batches(owner, self._expected_batch_size, samples, samples)

    def _initial(self, owner: str, first: Any, initial_state: Any) -> list[Any]:
        """States before the first step, as a list."""
        if initial_state is None and self.stateful:
            traced = current_scope() is not None
            kept: list[Any] = tree.map_structure(
                lambda state: graph.recall(state) if traced else state.numpy(), self.states
            )
            return kept
        if initial_state is None:
            return self.get_initial_state(ops.shape(first)[0])
        states = list(initial_state) if tree.is_nested(initial_state) else [initial_state]
        given, wanted = [len(tree.flatten(each)) for each in states], self._tensors_by_state()
        if given != wanted:
            otherwise = " that are nested otherwise" if sum(given) == sum(wanted) else ""
            raise ValueError(
                f"{owner}: initial_state must be {sum(wanted)} tensors, nested as state_size="
                f"{self.state_size}, got {sum(given)}{otherwise}"
            )
        found: list[Any] = tree.map_structure(ops.convert_to_tensor, states)
        return found

    def inner_loop(
        self, sequences: Any, initial_state: Any, mask: Any, training: bool = False
    ) -> Found:
        """Loop over time: the last output, the outputs of all steps, the states after it.

        Of cells of cdl's own the core mostly has it whole.

        Args:
            sequences: of shape (samples, steps, ...).
            initial_state: a list of states.
            mask: which steps count, or None for all.
            training: whether dropout drops.
        """
        states = list(initial_state) if tree.is_nested(initial_state) else [initial_state]
        mask = tree.flatten(mask)[0] if mask is not None else None
        found = in_core.loop(self, sequences, states, mask, training)
        if found is not None:
            return found

        def step(inputs: Any, states: Any) -> tuple[Any, Any]:
            output, new = run_cell(self.cell, inputs, states, training)
            return output, new if tree.is_nested(new) else [new]

        return over_time(
            f"{type(self).__name__} {self.name!r}",
            step,
            sequences,
            states,
            mask,
            go_backwards=self.go_backwards,
            zero_output_for_mask=self.zero_output_for_mask and not self.unroll,
            before=self._output_before(sequences, states),
        )

    def _output_before(self, sequences: Any, states: Any) -> Any:
        """Output before the first step, where it is not the first state; None where it is."""
        leading = leading_state(states)
        size: Any = getattr(self.cell, "output_size", None)
        same = not isinstance(size, int) or leading.shape[-1] == size
        if same and not self.unroll:
            return None
        if same:
            return ops.zeros_like(leading)
        return ops.zeros((ops.shape(tree.flatten(sequences)[0])[0], size))

    def _draw_dropout(self, cell: Any, x: Any, states: Any, training: bool) -> None:
        """Draw the masks of cells before the loop, so that all steps share them."""
        if not training:
            return
        first = x[:, 0]
        for each, h in zip(_cells_in(cell), _states_of(cell, states), strict=True):
            if isinstance(each, DropoutCell):
                each.get_dropout_mask(first)
                each.get_recurrent_dropout_mask(tree.flatten(h)[0])
            size = getattr(each, "output_size", None)
            if isinstance(size, int):
                first = ops.zeros((ops.shape(x)[0], size))

    def reset_state(self) -> None:
        """Set the states of a stateful layer to zeros."""
        for state in tree.flatten(self.states) if self.states is not None else ():
            state.assign(np.zeros(state.shape))

    def reset_states(self) -> None:
        """Alias of `reset_state`, as in Keras."""
        self.reset_state()

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "cell": serialize(self.cell)}

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> Self:
        config = dict(config)
        return cls(deserialize(config.pop("cell"), custom_objects), **config)


def _cells_in(cell: Any) -> list[Any]:
    """Cells of a stack, those of stacks within it included; a cell itself."""
    if not isinstance(cell, StackedRNNCells):
        return [cell]
    return [each for part in cell.cells for each in _cells_in(part)]


def _states_of(cell: Any, states: Any) -> list[Any]:
    """States of each cell of the stack."""
    if not isinstance(cell, StackedRNNCells):
        return [states]
    pairs = zip(cell.cells, states, strict=True)
    return [each for pair in pairs for each in _states_of(*pair)]


def _joined(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Arguments with sequences of several to a sample, with the samples of all joined."""
    found = wholes((args, kwargs))
    if found is None:
        raise symbolic_error(
            "a sample has several of the sequences, and samples are apart",
            "TimeDistributed calls a layer for each",
        )
    return found


def _check_mask(owner: str, shape: Any, mask: Any) -> None:
    """Check that a mask is of (samples, steps); one line may serve all samples."""
    if mask is None:
        return
    first = tree.flatten(mask)[0]
    given = tuple(first.shape if hasattr(first, "shape") else np.shape(first))
    samples, steps = shape[:2]
    fits = len(given) >= 2 and (given[0] == 1 or None in (given[0], samples) or given[0] == samples)
    if not fits or not (None in (given[1], steps) or given[1] == steps):
        raise ValueError(
            f"{owner}: mask must have shape (samples, steps), {(samples, steps)}, got {given}"
        )


def _forget_dropout(cell: Any) -> None:
    for each in _cells_in(cell):
        if isinstance(each, DropoutCell):
            each.reset_dropout_mask()
            each.reset_recurrent_dropout_mask()
