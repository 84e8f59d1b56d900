"""What happens when a layer is called: on arrays, on symbolic tensors, in a program.

A layer of cdl's own says by `lower` which instructions it becomes. A layer of the user's says by
`call` what it does, in Python: on arrays that is run as it stands; for a program it is run once on
symbolic tensors, and what it did becomes the instructions.
"""

from __future__ import annotations

import contextlib
import inspect
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from cdl import tree
from cdl._common.overriding import overrides
from cdl._ir.program import Program
from cdl._tracing import graph as graphs
from cdl._tracing.graph import KerasTensor
from cdl.layers import masks
from cdl.layers.activities import penalized
from cdl.layers.call_arguments import (
    by_name,
    check_positions,
    is_tensor,
    parameters_of,
    require_inputs,
    shapes_of,
    takes,
)
from cdl.layers.running import as_float32, in_mode, named, training_around
from cdl.layers.tracking import Tracking

# The Sequential that each layer was last put into, which calls it when somebody asks for tensors.
STACKS: weakref.WeakKeyDictionary[Any, weakref.ref[Any]] = weakref.WeakKeyDictionary()

_REST, _REST_BY_NAME = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
_TRACED = threading.local()  # its stack: the layers whose `call` is being traced
_MOST_WITHIN_ITSELF = 16  # for a call that goes into itself so often and then ends


def is_scripted(cls: Any) -> bool:
    """Whether a class does its work in a `call` of its own, written after any `lower`."""
    for each in cls.__mro__:
        if "lower" in vars(each):
            return False
        if "call" in vars(each):
            return True
    return False


class Calling(Tracking):
    """Mixin of layers: calls on symbolic tensors, and what they become in a program.

    Attributes:
        by_lines: whether the layer works on each line, along the last axis, by itself, so that
            samples and another axis may be one axis of its input.
    """

    by_lines = False
    name: str
    built: bool
    activity_regularizer: Any
    _activity: float  # the penalty of the last call on arrays
    supports_masking: bool
    _inbound_nodes: list[graphs.Node]
    _added: list[Any]  # losses of the last call on arrays

    # --- on symbolic tensors ---

    def _note(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Build the layer if it is not, and note the call; the symbolic results."""
        if is_scripted(type(self)):
            check_positions(f"{type(self).__name__} {self.name!r}", args)
        else:
            args, kwargs = self._by_name(args, kwargs)
        lead = self._lead_of(args, kwargs)
        with self._undone_on_failure():
            self._prepare(args, kwargs)
            outputs = self._spec_of(*args, **kwargs)
        if lead != 1 and not is_scripted(type(self)):
            given = args[0] if args else next(iter(kwargs.values()))
            first = () if lead else (getattr(given, "shape", None) or np.shape(given))[:1]
            outputs = KerasTensor((*first, *outputs.shape[len(first) :]), outputs.dtype, lead=lead)
        return graphs.record(self, args, kwargs, outputs)

    def _check_arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments of a call by name, for a layer of cdl's own; TypeError for others."""
        owner, names = f"{type(self).__name__}.call()", list(self._arguments())
        if is_scripted(type(self)):
            require_inputs(owner, names, args, kwargs)
            return {}
        return by_name(owner, names, args, kwargs)

    def _arguments(self) -> Iterable[str]:
        """The names of what a call may be given."""
        scripted = is_scripted(type(self))
        return parameters_of(type(self).call if scripted else type(self)._on_arrays)  # type: ignore[attr-defined]

    def _by_name(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of a symbolic call: the inputs, and all others by name.

        Raises:
            TypeError: see `by_name`; also a mask for a layer that does not look at it.
        """
        given = self._check_arguments(args, kwargs)
        inputs = given.pop(next(iter(self._arguments())))
        for name, value in given.items():
            if name != "training" and value is not None and not self._looks_at(name):
                raise TypeError(
                    f"{type(self).__name__} {self.name!r}: {name} must be None, since the layer "
                    "does not look at it"
                )
        return (inputs,), given

    def _looks_at(self, name: str) -> bool:
        """Whether a symbolic argument beside the inputs counts: where `lower` takes it."""
        return name in parameters_of(type(self).lower)  # type: ignore[attr-defined]

    def _lead_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        """How many lines of a sample one step along the first axis of the inputs is; 0 for arrays.

        Raises:
            ValueError: the layer needs each sample as a whole, as the first axis of its inputs.
        """
        tensors = graphs.tensors_in((args, kwargs))
        lead = tensors[0].lead if tensors else 0
        if is_scripted(type(self)):  # what it calls tells
            return lead
        by_lines = self.by_lines and self.activity_regularizer is None
        wrong = [t for t in tensors if t.batch_axis or not (t.lead == 1 or by_lines)]
        if wrong or not (tensors or by_lines):
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: inputs must have the samples as their first "
                f"axis, got {wrong[0] if wrong else 'an array in code that is traced'}"
            )
        return lead

    def _is_noted(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Whether a call is recorded, and not run: one on symbolic tensors.

        In code that is traced so is each call of a layer that has weights, since what these give
        for an array is no constant.
        """
        if graphs.tensors_in((args, kwargs)):
            return True
        return graphs.current_scope() is not None and (
            not self.built or bool(self.weights)  # type: ignore[attr-defined]
        )

    def _prepare(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Check the inputs, and build for them."""
        shapes = shapes_of(args[0] if args else next(iter(kwargs.values())))
        self.check_input(shapes)  # type: ignore[attr-defined]
        if not self.built:
            with named(self):
                self._build_on(shapes, args, kwargs)

    def _build_on(self, shapes: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Call `build` with the shapes that its arguments ask for: one, or one an argument."""
        names = list(parameters_of(type(self).build))  # type: ignore[attr-defined]
        if len(names) < 2 or not is_scripted(type(self)):
            self.build(shapes)  # type: ignore[attr-defined]
            return
        given = dict(zip(parameters_of(type(self).call), args, strict=False)) | kwargs  # type: ignore[attr-defined]
        by_name = {f"{name}_shape": shapes_of(value) for name, value in given.items()}
        by_name.setdefault("input_shape", next(iter(by_name.values()), None))
        parameters = parameters_of(type(self).build)  # type: ignore[attr-defined]
        for name in names:
            if name in by_name or parameters[name].default is not inspect.Parameter.empty:
                continue
            if parameters[name].kind in (_REST, _REST_BY_NAME):
                continue
            ending = f"which does not end in `_shape`: {names}"
            if name.endswith("_shape"):
                argument = name.removesuffix("_shape")
                ending = f"but `call()` does not have argument `{argument}`"
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: the arguments of build() must be those of "
                f"call() with `_shape` behind each, got argument `{name}`, {ending}"
            )
        self.build(**{name: by_name[name] for name in names if name in by_name})  # type: ignore[attr-defined]

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Symbolic tensors like the outputs, for symbolic inputs.

        Args:
            args: as in a call.
            kwargs: likewise.
        """
        given = [
            each for each in (*args, *kwargs.values()) if any(map(is_tensor, tree.flatten(each)))
        ]
        if len(given) == 1 and self._tells_shapes():
            shapes = self.compute_output_shape(shapes_of(given[0]))  # type: ignore[attr-defined]
            return tree.map_shape_structure(KerasTensor, shapes)
        return self._outputs_of(*args, **kwargs)

    @classmethod
    def _tells_shapes(cls) -> bool:
        """Whether the user's class has a `compute_output_shape` of its own."""
        return overrides(cls, "compute_output_shape")

    def _spec_of(self, *args: Any, **kwargs: Any) -> Any:
        """The same by what the call does, unless the class has a `compute_output_spec` of its own.

        Programs are made of what the call does, whatever a `compute_output_shape` says.
        """
        if type(self).compute_output_spec is not Calling.compute_output_spec:
            return self.compute_output_spec(*args, **kwargs)
        return self._outputs_of(*args, **kwargs)

    def _outputs_of(self, *args: Any, **kwargs: Any) -> Any:
        if self._scripts(args, kwargs):
            outputs = self._traced(args, kwargs, self._training_of(kwargs)).outputs
            return tree.map_structure(_like, outputs)
        shapes = self.compute_output_shape(shapes_of(args[0]))  # type: ignore[attr-defined]
        return tree.map_shape_structure(KerasTensor, shapes)

    def _scripts(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Whether `call` is what the layer does with such symbolic arguments."""
        del args, kwargs
        return is_scripted(type(self))

    @staticmethod
    def _training_of(kwargs: dict[str, Any]) -> bool:
        """Whether a symbolic call is one of training: as it says, or as the code around it is."""
        given = kwargs.get("training")
        own = graphs.current_scope()
        return bool(own is not None and own.training) if given is None else bool(given)

    def _traced(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], training: bool
    ) -> graphs.Graph:
        """What `call` does, recorded; the arguments' tensors are its inputs."""
        # Tensors of its own, so that nothing that the call holds leads out of it.
        args, kwargs = _all_like(args), _all_like(kwargs)
        given = {name: value for name, value in kwargs.items() if name != "training"}
        if takes(type(self), "training"):
            given["training"] = training
        given |= self._no_masks(args, given)
        function = self.call  # type: ignore[attr-defined]
        with self._entered(), named(self), graphs.scope(training) as own:
            outputs = function(*args, **given)
        return graphs.Graph(graphs.tensors_in((args, kwargs)), outputs, own)

    def _no_masks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """What `call` is told where there are no masks: for a list of tensors a list of None."""
        if not takes(type(self), "mask") or not args or not tree.is_nested(args[0]):
            return {}
        names = parameters_of(type(self).call)  # type: ignore[attr-defined]
        return masks.arguments(names, args, kwargs, lambda _: None, is_tensor)

    @contextlib.contextmanager
    def _entered(self) -> Iterator[None]:
        """Marks the layer as being traced.

        Raises:
            ValueError: it is being traced already, over and over: it calls itself.
        """
        stack = _TRACED.__dict__.setdefault("stack", [])
        if stack.count(self) >= _MOST_WITHIN_ITSELF:
            names = list(dict.fromkeys(layer.name for layer in stack[stack.index(self) :]))
            raise ValueError(
                f"{type(self).__name__} {self.name!r}: the layers must not form a cycle, got one "
                f"of the calls of {names}"
            )
        stack.append(self)
        try:
            yield
        finally:
            stack.pop()

    # --- in a program ---

    def append_node(
        self,
        program: Program,
        node: graphs.Node,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Append what a recorded call comes to.

        Args:
            program: to which it is appended.
            node: the call.
            args: its arguments, with values for the tensors.
            kwargs: likewise.
        """
        specs = (node.args, node.kwargs)
        return self._append(program, specs, args, kwargs)

    def append_to(self, program: Program, *args: Any, **kwargs: Any) -> Any:
        """Append the layer to a program: its instructions, its activity penalty, its mask.

        Args:
            program: to which it is appended.
            args: a value, or what else `call` takes, with values for tensors.
            kwargs: likewise; `training` holds for this layer alone.
        """

        def spec(leaf: Any) -> Any:
            if not masks.is_value(leaf):
                return leaf
            return (
                KerasTensor(leaf.shape, lead=0) if leaf.shared else KerasTensor((None, *leaf.shape))
            )

        specs = tuple(tree.map_structure(spec, each) if each else each for each in (args, kwargs))
        return self._append(program, specs, args, kwargs)

    def _append(self, program: Program, specs: Any, args: Any, kwargs: Any) -> Any:
        training = kwargs.get("training")
        with contextlib.nullcontext() if training is None else program.fixed(bool(training)):
            if self._scripts(*specs):
                y = self._append_script(program, specs, args, kwargs)
            else:
                if isinstance(args[0], np.ndarray):
                    args = (program.constant(args[0]), *args[1:])
                more = {
                    name: each
                    for name, each in kwargs.items()
                    if name != "training" and each is not None
                }
                y = self.lower(program, args[0], **more)  # type: ignore[attr-defined]
            first = specs[0][0] if specs[0] else None
            if program.watched is not None:
                values = [each for each in tree.flatten(y) if masks.is_value(each)]
                program.watched += [(self, each) for each in values]
            masks.of_outputs(self, program, first, args[0] if args else None, y)
            if self.activity_regularizer is None:
                return y
            owner, penalty = f"{type(self).__name__} {self.name!r}", self.activity_regularizer
            return tree.map_structure(lambda each: penalized(owner, penalty, program, each), y)

    def _append_script(self, program: Program, specs: Any, args: Any, kwargs: Any) -> Any:
        args_of, kwargs_of = specs
        names = parameters_of(type(self).call)  # type: ignore[attr-defined]
        if any(name.endswith("mask") for name in names):

            def mask_of(v: Any) -> Any:
                return getattr(v, "mask", None) if masks.is_value(v) else None

            told = masks.arguments(names, args, kwargs, mask_of, masks.is_value)
            if any(masks.is_value(mask) for mask in tree.flatten(told)):
                kwargs_of = {**kwargs_of, **_map(masks.tensor_of, told)}
                kwargs = {**kwargs, **_map(lambda mask: masks.as_tensor(program, mask), told)}
        values = [v for v in tree.flatten((args, kwargs)) if masks.is_value(v)]
        graph = self._traced(args_of, kwargs_of, program.training)
        calls, program.calls = program.calls, None  # what it calls, it calls itself
        if calls is not None:
            given = {"args": args, "kwargs": {**kwargs, "training": program.training}}
            calls.append((self, "_run_script", given))
        try:
            return graph.lower(program, values)
        finally:
            program.calls = calls

    # --- on arrays ---

    def _run_script(self, args: tuple[Any, ...], kwargs: dict[str, Any], build: bool = True) -> Any:
        """What the user's `call` gives for arrays; the first time builds the layer.

        Args:
            args: of the call.
            kwargs: likewise.
            build: False for a model, all of whose layers build themselves.
        """
        args, kwargs = as_float32(args), as_float32(kwargs)
        check_positions(f"{type(self).__name__} {self.name!r}", args)
        with self._undone_on_failure():
            if build:
                self._prepare(args, kwargs)
            kwargs |= self._no_masks(args, kwargs)
            training = kwargs.pop("training", training_around())
            if takes(type(self), "training"):
                default = parameters_of(type(self).call)["training"].default  # type: ignore[attr-defined]
                if training is None and default is not inspect.Parameter.empty:
                    training = default
                kwargs["training"] = training
            self._added = []
            with named(self), in_mode(training):
                outputs = self.call(*args, **kwargs)  # type: ignore[attr-defined]
            self._penalize(outputs)
            return outputs

    def _penalize(self, outputs: Any) -> None:
        """Keep the penalty of what a call on arrays gave, by sample, for `losses`."""
        if self.activity_regularizer is None:
            return
        self._activity = 0.0
        for each in tree.flatten(outputs):
            if len(each):
                self._activity += float(self.activity_regularizer(each)) / len(each)

    def add_loss(self, loss: Any) -> None:
        """Add to the loss, from within `call`: the sum of what is given.

        Args:
            loss: a symbolic value or an array, or a list of them.

        Raises:
            ValueError: something that is no such value.
        """
        own = graphs.current_scope()
        for each in tree.flatten(loss):
            if isinstance(each, KerasTensor) and own is not None:
                own.losses.append(each)
            elif isinstance(each, (np.ndarray, np.generic, float, int)):
                self._added.append(float(np.sum(each)))
            else:
                raise ValueError(
                    f"{type(self).__name__} {self.name!r}: add_loss: loss must be a value that "
                    f"call() has computed, got {each!r}"
                )

    # --- what it is connected to ---

    @property
    def input(self) -> Any:
        """The symbolic tensors of the layer's first call in a graph.

        Raises:
            AttributeError: it was never called so.
        """
        node = self._first_node("input")
        return node.args[0] if len(node.args) == 1 else list(node.args)

    @property
    def output(self) -> Any:
        """What the layer's first call in a graph gave.

        Raises:
            AttributeError: as `input`.
        """
        return self._first_node("output").outputs

    def _first_node(self, what: str) -> graphs.Node:
        stack = STACKS.get(self, lambda: None)()
        if not self._inbound_nodes and stack is not None and stack.built:
            stack.outputs  # noqa: B018 - which calls its layers on symbolic tensors
        if self._inbound_nodes:
            return self._inbound_nodes[0]
        owner = f"{type(self).__name__} {self.name!r}"
        raise AttributeError(f"{owner} has no {what}: it was never called on a symbolic tensor")

    @contextlib.contextmanager
    def _undone_on_failure(self) -> Iterator[None]:
        """Takes back what was built if the body fails."""
        fresh = [(layer, layer._kept()) for layer in self._flatten_layers() if not layer.built]
        try:
            yield
        except BaseException:
            for layer, kept in fresh:
                layer._put_back(kept)
            raise


def _map(function: Callable[[Any], Any], told: dict[str, Any]) -> dict[str, Any]:
    """Masks, nested by argument, put through a function; None as it is."""
    return tree.map_structure(lambda mask: None if mask is None else function(mask), told)  # type: ignore[no-any-return]


def _like(leaf: Any) -> Any:
    """A tensor of its own, of the same shape; other leaves as they are."""
    if not isinstance(leaf, KerasTensor):
        return leaf
    return leaf.like()


def _all_like(arguments: Any) -> Any:
    """Arguments with tensors of their own."""
    return tree.map_structure(_like, arguments) if arguments else arguments
