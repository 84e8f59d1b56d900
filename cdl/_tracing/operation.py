"""Functions of `cdl.ops`: NumPy on arrays, a node on symbolic tensors.

A function of `cdl.ops` is one Python function in NumPy and, beside it, what it appends to a
program::

    @tensor_operation(elementwise("square"))
    def square(x):
        return np.square(x)

One that is made of other functions of `cdl.ops` needs no more than that::

    @tensor_operation()
    def normalize(x):
        return divide(x, sqrt(sum(square(x))))

Its shape is found by trying it on ones (cdl/_tracing/shape_inference.py).
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    NamedTuple,
    ParamSpec,
    Protocol,
    TypeVar,
    cast,
    overload,
)

from numpy.typing import NDArray

from cdl import tree
from cdl._common.errors import step_aside
from cdl._common.naming import snake_case, unique
from cdl._ir.lowering import Lowering
from cdl._tracing import graph, joining
from cdl._tracing.array_call import ArrayForm, append_call
from cdl._tracing.between_inputs import (
    between_inputs,
    is_other,
    is_tried,
    record_coupled,
    suppressed,
)
from cdl._tracing.keras_tensor import KerasTensor, SymbolicBatch, declared, refuse_sparse
from cdl._tracing.known_sizes import keep_sizes
from cdl._tracing.lowered_tensor import (
    LoweredTensor,
    appending_to,
    current_program,
    in_float32,
    refuse_inexact_constants,
)
from cdl._tracing.shape_inference import (
    CUT_OFF,
    bound_arguments,
    computed,
    infer,
    map_arguments,
    refuse_none,
    refuse_untraced,
    signature_of,
    why_untraced,
)
from cdl._tracing.variable import Variable

P = ParamSpec("P")
F = TypeVar("F", bound=Callable[..., Any])

OP_DEFS: dict[str, OpDef] = {}


class Saved(NamedTuple):
    """Form of an operation in a config of Keras.

    Attributes:
        known_as: its class, if not the name in camel case.
        statics: arguments kept with the operation, though others of that name are operands.
        by_name: operands that a call passes by name.
        submodule: of Keras's operations that has it, if not that of its module.
    """

    known_as: str = ""
    statics: tuple[str, ...] = ()
    by_name: tuple[str, ...] = ()
    submodule: str = ""


class OpDef:
    """Definition of one function of `cdl.ops`.

    Attributes:
        name: by which it is found in `cdl.ops`.
        eager: the function in NumPy.
        lower: appends it: `lower(program, spec, *args, **kwargs)`, with all arguments of `eager`:
            a `LoweredTensor` for each tensor and weight, arrays and plain values as they come;
            `spec` are the results' symbolic tensors. It gives the values, nested likewise. None:
            `eager` is made of other rows. An `ArrayForm`: programs call `eager`.
        untraced: what to do instead, if it cannot be traced; else "". Or a function that says so
            for some arguments.
        draws: whether it gives something else each time, so that it is recorded in any case.
        submodule: of Keras's operations, which has it: "numpy", "nn", "math", "core"; cdl's has
            the same name.
        prepare: from all arguments of a call to those that everything else sees.
        saved: how Keras writes it down.
        shape: from all arguments, symbolic tensors among them, to the symbolic result; None if
            `eager` is tried.
        known_as: Keras's class of the operation.
        saturates: whether the largest float16 stands for results that it cannot hold.
        outline: from all arguments to the symbolic results of a call that cannot be traced, such
            as one whose sizes depend on the data, or, in a row that says nothing under `untraced`,
            whose shapes Keras compares only when it runs: it has a shape between Inputs, and is
            refused when a program is made of it. None where it has no shape either.
    """

    def __init__(
        self,
        name: str,
        eager: Callable[..., Any],
        lower: Callable[..., Any] | ArrayForm | None,
        untraced: str | Callable[..., str] = "",
        draws: bool = False,
        prepare: Callable[..., tuple[Any, ...]] | None = None,
        saved: Saved | None = None,
        shape: Callable[..., KerasTensor] | None = None,
        saturates: bool = False,
        outline: Callable[..., Any] | None = None,
    ) -> None:
        self.name = name
        self.saturates = saturates
        self.eager = eager
        self.lower = lower
        self.calls_eager = isinstance(lower, ArrayForm)
        self.of_integers = isinstance(lower, ArrayForm) and lower.of_integers
        self.untraced = untraced
        self.draws = draws
        parts = eager.__module__.split(".")
        self.prepare = prepare
        self.saved = saved or Saved()
        here = parts[2] if len(parts) > 2 else "numpy"  # cdl.ops.SUBMODULE
        self.submodule = self.saved.submodule or here
        self.shape = shape
        self.outline = outline
        self.known_as = self.saved.known_as or "".join(map(str.capitalize, name.split("_")))

    def __reduce__(self) -> tuple[Callable[[str, str], OpDef], tuple[str, str]]:
        """Pickle and copy by reference: its function is known by a name of `cdl.ops`."""
        return _op_def_of, (self.eager.__module__, self.name)


def _op_def_of(module: str, name: str) -> OpDef:
    """Definition of a function of a module, which may not have been imported yet."""
    importlib.import_module(module)
    return OP_DEFS[name]


class Operation:
    """Node operation of a definition, with its own name.

    Args:
        name: None makes one.
    """

    def __init__(self, row: OpDef, name: str | None = None) -> None:
        self.row = row
        if name is None:  # names within a layer's call are not counted, as in Keras
            traced = graph.current_scope() is not None
            name = snake_case(row.known_as) if traced else unique(row.known_as)
        self.name = name
        self.statics: dict[str, Any] = {}  # arguments that a config keeps apart from the call
        self._inbound_nodes: list[graph.Node] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Record a call on symbolic tensors, or compute on arrays."""
        parameters = signature_of(self.row.eager).parameters
        left = [name for name in parameters if name not in self.statics]
        if any(p.kind is p.VAR_POSITIONAL for p in parameters.values()):
            args = (*self.statics.values(), *args)
            return call(self.row, args, kwargs, self)
        named = dict(zip(left, args, strict=False))
        return call(self.row, (), {**self.statics, **named, **kwargs}, self)

    def again(self, *args: Any, **kwargs: Any) -> Any:
        """Record a node's call for other arguments.

        Args:
            args: all of the node, with other tensors.
        """
        return call(self.row, args, kwargs, self)

    def infer(self, *args: Any, **kwargs: Any) -> Any:
        """Symbolic tensors like the results of a node's call."""
        return infer(self.row, args, kwargs)

    def append_node(
        self, program: Lowering, node: graph.Called, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Append the instructions of the definition.

        Args:
            node: the call.
            args: its arguments, with values for the tensors.
        """

        def term(spec: KerasTensor, leaf: Any) -> Any:
            return LoweredTensor(leaf, spec) if isinstance(spec, KerasTensor) else leaf

        if self.row.outline is not None:
            refuse_untraced(self.row, node.args, node.kwargs)
        args = tuple(map(functools.partial(tree.map_structure, term), node.args, args))
        kwargs = {k: tree.map_structure(term, node.kwargs[k], v) for k, v in kwargs.items()}
        result = appended(program, self.row, args, kwargs, node.outputs)
        return tree.map_structure(lambda leaf: getattr(leaf, "value", leaf), result)

    def __repr__(self) -> str:
        return f"<Operation {self.row.name} name={self.name}>"


def operation(
    lower: Callable[..., Any] | ArrayForm | None = None,
    *,
    untraced: str | Callable[..., str] = "",
    draws: bool = False,
    prepare: Callable[..., tuple[Any, ...]] | None = None,
    saved: Saved | None = None,
    shape: Callable[..., KerasTensor] | None = None,
    saturates: bool = False,
    outline: Callable[..., Any] | None = None,
) -> Callable[[F], F]:
    """Decorator that makes a function of `cdl.ops` of one in NumPy, or of other such functions.

    Args:
        lower: what it appends to a program; see `OpDef`.
        untraced: for what cannot be traced: what to do instead; see `OpDef`.
        draws: whether it is recorded in any case; see `OpDef`.
        prepare: see `OpDef`.
        saved: how Keras writes it down, if that does not follow from its name and arguments.
        shape: how the shape of the result is known without trying it; see `OpDef`.
        saturates: see `OpDef`.
        outline: see `OpDef`.
    """

    def decorate(function: F) -> F:
        row = OP_DEFS[function.__name__] = OpDef(
            function.__name__, function, lower, untraced, draws, prepare, saved, shape, saturates,
            outline,
        )  # fmt: skip

        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            try:
                return call(row, args, kwargs)
            except BaseException as error:
                step_aside(error)
                raise

        vars(run)["row"] = row
        return cast(F, run)

    return decorate


# Types for functions of tensors: type checkers see that a symbolic one comes out where one goes in.
if TYPE_CHECKING:

    class OfTensor(Protocol[P]):
        """Type of a function of a tensor and other arguments."""

        @overload
        def __call__(self, x: KerasTensor, *args: P.args, **kwargs: P.kwargs) -> KerasTensor: ...
        @overload
        def __call__(
            self, x: NDArray[Any], *args: P.args, **kwargs: P.kwargs
        ) -> NDArray[Any] | Any: ...
        @overload
        def __call__(self, x: Any, *args: P.args, **kwargs: P.kwargs) -> Any: ...

    class OfPair(Protocol[P]):
        """Type of a function of two tensors and other arguments."""

        @overload
        def __call__(
            self, x1: KerasTensor, x2: Any, *args: P.args, **kwargs: P.kwargs
        ) -> KerasTensor: ...
        @overload
        def __call__(
            self, x1: Any, x2: KerasTensor, *args: P.args, **kwargs: P.kwargs
        ) -> KerasTensor: ...
        @overload
        def __call__(self, x1: Any, x2: Any, *args: P.args, **kwargs: P.kwargs) -> Any: ...

    def tensor_operation(
        *args: Any, **kwargs: Any
    ) -> Callable[[Callable[Concatenate[Any, P], Any]], OfTensor[P]]:
        """Typed form of `operation` for one tensor."""

    def pair_operation(
        *args: Any, **kwargs: Any
    ) -> Callable[[Callable[Concatenate[Any, Any, P], Any]], OfPair[P]]:
        """Typed form of `operation` for two tensors."""
else:
    tensor_operation = pair_operation = operation


def is_symbolic(*structures: Any) -> bool:
    """Whether one of the leaves is a symbolic tensor, or a weight within traced code."""
    traced = graph.current_scope() is not None
    return any(
        isinstance(leaf, (KerasTensor, SymbolicBatch)) or (traced and isinstance(leaf, Variable))
        for structure in structures
        for leaf in tree.flatten(structure)
    )


def call(
    row: OpDef, args: tuple[Any, ...], kwargs: dict[str, Any], made: Operation | None = None
) -> Any:
    """Run a definition on arrays, record it on symbolic tensors, or append it to a program."""
    try:
        return _called(row, args, kwargs, made)
    except (TypeError, ValueError) as error:
        if between_inputs() and is_symbolic(args, kwargs):
            try:
                found = None
                with suppressed(graph.tensors_of(args, kwargs)) as errors:
                    found = _coupled(row, args, kwargs, made)
            except ValueError:
                found = None if row.untraced else _outlined(row, args, kwargs, made)
                if found is None:
                    raise
            if found is None:
                found = _outlined(row, args, kwargs, made)
            if found is not None:
                return found
            if errors and joining.telling(error, errors[0]) is not error:
                raise errors[0] from None
        raise


def _outlined(
    row: OpDef, args: tuple[Any, ...], kwargs: dict[str, Any], made: Operation | None
) -> Any:
    """Record a call that has a shape between Inputs, and is refused in programs; else None."""
    if row.outline is None or is_tried(args, kwargs):
        return None
    if row.untraced and not why_untraced(row, args, kwargs):
        return None
    bound = bound_arguments(row, args, kwargs)
    bound.apply_defaults()
    told = row.outline(*bound.args)
    if told is None:
        return None
    return graph.record(made or Operation(row), bound.args, {}, told, couples=True)


def _coupled(
    row: OpDef, args: tuple[Any, ...], kwargs: dict[str, Any], made: Operation | None
) -> Any:
    """Record a definition on Inputs whose samples it couples."""
    bound = bound_arguments(row, args, kwargs)
    cuts = row.name in CUT_OFF
    found = record_coupled(made or Operation(row), _call_of(row), bound.args, bound.kwargs, cuts)
    return declared(row.name, bound.args, found)


def _call_of(row: OpDef) -> Callable[..., Any]:
    return lambda *args, **kwargs: call(row, args, kwargs)


def _called(
    row: OpDef, args: tuple[Any, ...], kwargs: dict[str, Any], made: Operation | None
) -> Any:
    if kwargs or row.prepare is not None:
        bound = bound_arguments(row, args, kwargs)
        if row.prepare is not None:
            bound.apply_defaults()
        args, kwargs = bound.args, bound.kwargs  # a node holds them by place, as far as that goes
    for arg in args:
        if arg is None or type(arg) is list:
            refuse_none(row, args)
            break
    if row.prepare is not None:
        args = joining.prepared(row, args)
    program = current_program()
    if program is not None and _has_terms(args, kwargs):
        return keep_sizes(row.name, args, appended(program, row, args, kwargs))
    if not row.draws and not is_symbolic(args, kwargs):
        return computed(row, args, kwargs)
    if row.name == "cast" and isinstance(args[0], SymbolicBatch) and "int" in str(args[1]):
        return args[0]  # a number of samples stays one, which shapes may have
    if between_inputs() and is_tried(args, kwargs):
        return _coupled(row, args, kwargs, made)
    given = args, kwargs
    args, kwargs, spec = _fitted(row, args, kwargs)
    if not row.draws and not is_symbolic(args, kwargs):
        return computed(row, args, kwargs)
    if is_other(_call_of(row), *given, spec):
        return _coupled(row, *given, made)
    result = graph.record(made or Operation(row), args, kwargs, spec)
    return declared(row.name, args, keep_sizes(row.name, args, result))


def _fitted(
    row: OpDef, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any], Any]:
    """Arguments that a definition can take, and its symbolic results.

    They are those that were given, or with samples joined where code that couples them is traced.
    """
    try:
        refuse_untraced(row, args, kwargs)
        return args, kwargs, infer(row, args, kwargs)
    except (TypeError, ValueError) as error:
        refusal: Exception = error
        for some, named in joining.forms(args, kwargs):
            try:
                of_args, of_kwargs = map_arguments(joining.form_of, some, named)
                if not _has_terms(of_args, of_kwargs) and not is_symbolic(of_args, of_kwargs):
                    return of_args, of_kwargs, None
                refuse_untraced(row, of_args, of_kwargs)
                spec = infer(row, of_args, of_kwargs)
            except (TypeError, ValueError) as other:
                refusal = joining.telling(error, other)
                continue
            return *map_arguments(joining.made, some, named), spec
        if refusal is not error:
            raise refusal from None
        raise


def _has_terms(*structures: Any) -> bool:
    kinds = (LoweredTensor, SymbolicBatch, Variable)
    return any(isinstance(leaf, kinds) for each in structures for leaf in tree.flatten(each))


def appended(
    program: Lowering,
    row: OpDef,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    spec: KerasTensor | None = None,
) -> Any:
    """Append a definition to a program; the terms of its results.

    Args:
        args: with terms for the tensors.
        spec: the symbolic results; None if they are to be found.
    """
    if spec is None:
        with appending_to(program):
            args, kwargs, spec = _fitted(row, args, kwargs)
        if not _has_terms(args, kwargs):
            return computed(row, args, kwargs)

    refuse_sparse(row.name, spec)

    def term(leaf: Any) -> Any:
        if not isinstance(leaf, Variable):
            return leaf
        value = program.param(leaf)
        dtype = value.dtype if "float" in leaf.dtype else leaf.dtype
        return LoweredTensor(value, KerasTensor(leaf.shape, dtype, rows_per_sample=0), leaf)

    args, kwargs = map_arguments(term, args, kwargs)
    if not all(map(joining.is_float, tree.flatten(spec))):  # which are not to be rounded on the way
        refuse_inexact_constants(row.name, spec, (args, kwargs))
        widen = functools.partial(in_float32, program)
        args, kwargs = map_arguments(widen, args, kwargs)
    finished = functools.partial(joining.finished, program, row.name)
    with appending_to(program):
        try:
            result = _lowered(program, row, args, kwargs, spec)
        except (TypeError, ValueError):
            whole = joining.wholes((args, kwargs))
            if whole is None:
                raise
            args, kwargs = whole
            of_all = infer(row, args, kwargs)
            result = _lowered(program, row, args, kwargs, of_all)
            result = tree.map_structure(finished, of_all, result)
    return tree.map_structure(finished, spec, result)


def _lowered(
    program: Lowering, row: OpDef, args: tuple[Any, ...], kwargs: dict[str, Any], spec: Any
) -> Any:
    """Results of a definition on terms: values, terms or numbers."""
    if row.lower is None:
        return row.eager(*args, **kwargs)
    bound = signature_of(row.eager).bind(*args, **kwargs)
    bound.apply_defaults()
    if isinstance(row.lower, ArrayForm):
        return append_call(program, row, spec, bound.args, bound.kwargs)
    return row.lower(program, spec, *bound.args, **bound.kwargs)
