"""Reads of a function beside its arguments, which tell whether a trace of it is still valid.

A trace contains values that the function read: closures, globals, defaults and attributes. The
bytecode of the function, and of those that it calls, names them. Later calls compare them with the
recorded ones: names by identity or as equal numbers, lists and arrays by their contents, layers by
their attributes. Any other read, such as of a file, a clock, a random generator or an object of
unknown class, makes the function unknown: it is traced again in each call.

In training steps (`is_strict=False`), too slow with a trace each, methods and objects of users are
analysed too. Elsewhere they make a function unknown, since bytecode does not name all that they
read.
"""

from __future__ import annotations

import builtins
import functools
import inspect
import types
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cdl import config
from cdl._common import dtypes
from cdl._common.overriding import is_users
from cdl._core import unchanged
from cdl._tracing.activation import TracedActivation
from cdl._tracing.keras_tensor import KerasTensor
from cdl._tracing.variable import Variable
from cdl._variables.state import State
from cdl.layers import Layer
from cdl.layers.kept import Watch
from cdl.losses import Loss
from cdl.random import SeedGenerator
from cdl.trainers.custom import bytecode
from cdl.trainers.custom.contents import (
    NESTING,
    PLAIN,
    UnknownError,
    are_same,
    contents,
    is_same,
    parts_of,
)
from cdl.trainers.custom.pure import DERIVING, WRAPPING, is_of_users, is_pure, is_users_function

_BUILTINS = frozenset((
    "abs", "all", "any", "bool", "bytes", "complex", "dict", "divmod", "enumerate", "filter",
    "float", "frozenset", "int", "isinstance", "issubclass", "len", "list", "map", "max", "min",
    "pow", "print", "range", "repr", "reversed", "round", "set", "slice", "sorted", "str",
    "sum", "super", "tuple", "type", "zip",
))  # fmt: skip


def _attributes_of(*kinds: type) -> frozenset[str]:
    """Public attributes of objects of some kinds, but those that give memory or write files."""
    found = {name for kind in kinds for name in dir(kind) if not name.startswith("_")}
    return frozenset(found - {"tofile", "dump", "dumps", "data", "ctypes"})


_ARRAY_ATTRIBUTES = _attributes_of(np.ndarray, list, tuple, dict)
# Attributes that may be read of anything: they depend on what is compared anyway.
_ATTRIBUTES = _ARRAY_ATTRIBUTES | _attributes_of(KerasTensor, str, int, float) | frozenset((
    "activation", "add_loss", "beta", "bias", "call", "embeddings", "gamma", "get_layer", "kernel",
    "layers", "moving_mean", "moving_variance", "name", "non_trainable_variables",
    "output_shape", "input_shape", "trainable_variables", "trainable_weights", "units", "value",
    "variables", "weights",
))  # fmt: skip
_ARRAYS = (Variable, np.ndarray, list, tuple, dict, int, float, complex)  # that have these
_METHODS = frozenset(("__init__", "__call__", "__repr__", "__str__", "__post_init__"))
_INTROSPECTION = ("print", "repr", "str", "super", "type")
_DERIVED = object()  # a value that depends on what is compared anyway


class Reads:
    """Closures, globals, attributes and layers that a function reads, as they are now.

    Args:
        function: a function, a model, a loss or another callable.
        is_strict: whether methods and objects of users make it unknown.

    Attributes:
        unseen: what it reads that cannot be compared later, with file and line; or "".
    """

    _storing: Any = Layer  # whose methods may set attributes

    def __init__(self, function: Any, is_strict: bool) -> None:
        self._is_strict, self._place = is_strict, ""
        self._reads: tuple[Any, ...] = ()  # triples of a dict or an object, a name, and its value
        self._contents: list[tuple[Any, Any]] = []
        self._seen: dict[Any, Any] = {}  # by id, and what is held so that ids stay its own
        self._layers: list[Layer] = []
        self._watches: list[Watch] = []
        self._note(dtypes._settings, "floatx", dtypes.floatx())
        self._note(config, "_image_data_format", config.image_data_format())
        self.unseen = self._unseen_in(self._look_at, [function])

    def close(self) -> None:
        """Start to watch the layers, which the trace may have built, and analyse their code."""
        self.unseen = self.unseen or self._unseen_in(self._look_within, self._layers)
        self._watches = [Watch(layer) for layer in self._layers]
        self._seen.clear()

    def _unseen_in(self, look: Callable[[Any], None], things: Sequence[Any]) -> str:
        try:
            for each in things:
                look(each)
        except Exception as error:  # whatever an object of the user's does when one looks at it
            why = str(error) if type(error) is UnknownError else ""
            return f"{self._place}: {why or 'what this reads or does cannot be seen'}"
        return ""

    def compared(self) -> set[int]:
        """Ids of the arrays whose contents are compared."""
        return {id(thing) for thing, _ in self._contents if isinstance(thing, np.ndarray)}

    def hold(self) -> bool:
        """Whether all reads are known and unchanged."""
        try:
            if self.unseen or not (unchanged(self._reads) or self._have_equals()):
                return False
            for thing, before in self._contents:
                if not are_same(contents(thing), before):
                    return False
        except Exception:  # grown or deleted by now
            return False
        for watch in self._watches:  # noqa: SIM110 - half the time of all()
            if not (watch.steady or watch.holds()):
                return False
        return True

    def _have_equals(self) -> bool:
        """Whether changed values equal the recorded ones; if so, record the new objects."""
        holders, names, values = (self._reads[i::3] for i in range(3))
        now = [
            each.get(name, unchanged) if type(each) is dict else getattr(each, name)
            for each, name in zip(holders, names, strict=True)
        ]
        if not all(map(is_same, now, values)):
            return False
        triples = zip(holders, names, now, strict=True)
        self._reads = tuple(part for triple in triples for part in triple)
        return True

    def _note(self, holder: Any, name: str, value: Any) -> None:
        """Record an attribute, or an entry of a dict, with the value that it has."""
        key = (id(holder), name, "read")
        if key not in self._seen:
            self._seen[key] = holder
            if isinstance(holder, types.ModuleType) and name in vars(holder):
                holder = vars(holder)
            self._reads += (holder, name, value)

    def _look_at(self, value: Any) -> None:
        """Record a value that is called, passed on or iterated over."""
        kind = type(value)
        if kind is np.void:
            raise UnknownError
        if kind in PLAIN or isinstance(value, np.generic) or id(value) in self._seen:
            return
        self._seen[id(value)] = value
        if self._is_strict and not self._is_own(value):
            raise UnknownError
        if isinstance(value, Layer):
            self._layers.append(value)  # which a trace may build
        elif kind in NESTING or isinstance(value, (np.ndarray, State)):
            self._contents.append((value, contents(value)))
            for each in parts_of(value):
                self._look_at(each)
        elif kind is types.FunctionType:
            self._look_at_function(value)
        elif kind is types.MethodType:
            self._look_at_method(value.__self__, value.__func__)
        elif kind is functools.partial:
            for part in (value.func, value.args, value.keywords):
                self._look_at(part)
        elif isinstance(value, type):
            is_losses = not self._is_strict and issubclass(value, Loss) and not is_users(value)
            if not (is_losses or _is_plain_class(value)):
                raise UnknownError
        elif not (isinstance(value, (Variable, SeedGenerator)) or is_pure(value)):
            self._look_at_callable(value)

    def _is_own(self, value: Any) -> bool:
        """Whether a value has known behaviour: it is of cdl, NumPy or Python, or a function."""
        kind = type(value)
        if kind is types.MethodType and type(value.__self__).__module__ in DERIVING:
            return True
        if isinstance(value, Layer):
            return self._is_own_layer(value)
        if isinstance(value, Loss):
            return not is_users(kind) and PLAIN.issuperset(map(type, vars(value).values()))
        if kind in (types.FunctionType, np.ndarray, *NESTING) or not is_users(kind):
            return True
        return _is_plain_class(value) if isinstance(value, type) else is_pure(value)

    def _is_own_layer(self, layer: Layer) -> bool:
        """Whether no code of users is in a layer; arrays in it are recorded."""
        parts = layer._flatten_layers()
        within = {id(each) for part in parts for each in (part, getattr(part, "_input", None))}
        for part in parts:
            if is_users(type(part)):
                return False
            things = [each for name, each in vars(part).items() if name not in part._passing]
            things += [each for thing in things for each in parts_of(thing)]
            for each in things:
                is_code = callable(each) and (is_users_function(each) or is_users(type(each)))
                is_apart = isinstance(each, (Layer, TracedActivation)) and id(each) not in within
                if is_code or is_apart:
                    return False
                if isinstance(each, np.ndarray):
                    self._look_at(each)
        return True

    def _look_within(self, layer: Layer) -> None:
        """Record code of the user's in a layer and the layers in it that were not seen yet."""
        if self._is_strict and not self._is_own_layer(layer):
            raise UnknownError
        parts = layer._flatten_layers()
        fresh = [each for each in parts if each is layer or id(each) not in self._seen]
        self._seen.update((id(each), each) for each in fresh)
        for each in fresh:
            for base in type(each).__mro__:
                if is_users(base) and isinstance(vars(base).get("call"), types.FunctionType):
                    self._look_at_method(each, vars(base)["call"])
            rules = [each.activity_regularizer, *(w.regularizer for w in each.weights)]
            for rule in rules:
                for name, value in getattr(rule, "__dict__", {}).items():
                    self._note(vars(rule), name, value)
            for name, value in vars(each).items():
                if isinstance(value, TracedActivation):
                    self._look_at(value.function)
                elif name not in each._passing and is_users_function(value):
                    self._look_at(value)

    def _look_at_callable(self, thing: Any) -> None:
        """Record an object with methods in Python: a loss, or one of the user's with `__call__`."""
        kind = type(thing)
        own = [each for each in kind.__mro__[:-1] if is_users(each)]
        call = inspect.getattr_static(kind, "__call__", None)
        if not (isinstance(thing, Loss) or isinstance(call, types.FunctionType)):
            raise UnknownError
        if not isinstance(thing, Loss) and len(own) < len(kind.__mro__) - 1:
            raise UnknownError
        names = {name for each in own for name in vars(each)}
        functions = {n for n in names if isinstance(inspect.getattr_static(kind, n), _FUNCTIONS)}
        special = {n for n in functions if n.startswith("__")} - _METHODS
        if special or functions & (_ATTRIBUTES - {"call"}) or not _is_simple(kind):
            raise UnknownError
        if isinstance(thing, Loss):
            self._look_at(vars(thing))
        for name in ("__call__", "call"):
            if name in names:
                self._note(kind, name, inspect.getattr_static(kind, name))
                self._look_at_method(thing, inspect.getattr_static(kind, name))

    def _look_at_method(self, owner: Any, method: Any) -> None:
        if type(owner).__module__ in DERIVING:
            self._look_at(owner.function)
            return
        if isinstance(owner, types.ModuleType) or not isinstance(method, types.FunctionType):
            raise UnknownError
        self._look_at_function(method, owner)

    def _look_at_function(self, function: types.FunctionType, owner: Any = None) -> None:
        """Record what a function reads; of a method its first argument is the owner."""
        if function.__globals__.get("__name__") in WRAPPING:
            wrapped: Any = function.__wrapped__  # type: ignore[attr-defined]
            if not isinstance(wrapped, types.FunctionType):
                self._look_at(wrapped)
                return
            function = wrapped
        if is_pure(function) or (key := (id(function), id(owner))) in self._seen:
            return
        self._seen[key] = function
        self._note(function, "__code__", function.__code__)
        for name in ("__defaults__", "__kwdefaults__"):
            defaults = getattr(function, name)
            if defaults is not None:
                self._note(function, name, defaults)
                self._look_at(defaults)
        code = function.__code__
        cells = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
        first = code.co_varnames[0] if owner is not None and code.co_argcount else None
        self._look_at_code(code, function.__globals__, cells, first, owner)

    def _look_at_code(
        self,
        code: types.CodeType,
        namespace: dict[str, Any],
        cells: dict[str, types.CellType],
        first: str | None,
        owner: Any,
    ) -> None:
        for opname, name, attributes, self._place in bytecode.chains(code, first):
            if opname.startswith(
                bytecode.EFFECTS + (bytecode.TEXTS_AND_SUPER if self._is_strict else ())
            ):
                raise UnknownError
            if opname == "STORE_ATTR" and not isinstance(owner, self._storing):
                raise UnknownError(f"attribute {name!r} is set")
            if opname.startswith("STORE_") and (name in cells or name == first):
                raise UnknownError
            if opname == "LOAD_GLOBAL":
                self._look_at_global(namespace, name, attributes)
            elif opname in bytecode.READS_CELL and name in cells and name != "__class__":
                cell = cells[name]
                value = cell.cell_contents  # ValueError if it is empty
                self._note(cell, "cell_contents", value)
                self._follow(value, attributes)
            elif name == first and opname.startswith(("LOAD_FAST", "LOAD_DEREF")):
                self._follow(owner, attributes)
            elif opname == bytecode.SUPER:
                self._look_at_inherited(owner, name)
                self._check_attributes(attributes)
            elif opname in bytecode.READS_ATTRIBUTE:
                self._check_attributes([name, *attributes])
            else:
                self._check_attributes(attributes)
        for inner in code.co_consts:
            if isinstance(inner, types.CodeType):
                within = {name: cell for name, cell in cells.items() if name in inner.co_freevars}
                captured = first if first in inner.co_freevars else None
                self._look_at_code(inner, namespace, within, captured, owner)

    def _look_at_global(
        self, namespace: dict[str, Any], name: str, attributes: Sequence[str]
    ) -> None:
        self._note(namespace, name, namespace.get(name, unchanged))
        if name in namespace:
            self._follow(namespace[name], attributes)
            return
        value = getattr(builtins, name, None)
        is_error = isinstance(value, type) and issubclass(value, BaseException)
        is_known = name in _BUILTINS and not (self._is_strict and name in _INTROSPECTION)
        if not is_known and not is_error:
            raise UnknownError
        self._note(vars(builtins), name, value)
        self._check_attributes(attributes)

    def _follow(self, value: Any, attributes: Sequence[str]) -> None:
        """Record a chain of attributes that is read from a value."""
        for i, name in enumerate(attributes):
            is_module = isinstance(value, types.ModuleType)
            if isinstance(value, types.FunctionType) or (
                self._is_strict and not is_module and type(value) not in _ARRAYS
            ):
                raise UnknownError
            if is_module or (isinstance(value, type) and not _is_plain_class(value)):
                value = self._attribute_of_module(value, name)
            elif isinstance(value, (Layer, Loss)):
                self._look_at(value)
                value = self._attribute_of_layer(value, name)
            elif is_of_users(value):
                value = self._attribute_of_object(value, name)
            else:
                self._check_attributes(attributes[i:])
                break
            if value is _DERIVED:
                self._check_attributes(attributes[i + 1 :])
                return
        if isinstance(value, list) and list(attributes[-1:]) == ["append"]:
            return  # it is written, not read
        self._look_at(value)

    def _check_attributes(self, names: Sequence[str]) -> None:
        known = _ARRAY_ATTRIBUTES if self._is_strict else _ATTRIBUTES
        for name in names:
            if name not in known:
                raise UnknownError(f"what .{name} reads or does cannot be seen")

    def _attribute_of_module(self, module: Any, name: str) -> Any:
        """Attribute of a module or of a class."""
        value = getattr(module, name)  # AttributeError if there is none
        if isinstance(value, types.MethodType):  # of the class
            raise UnknownError
        self._note(module, name, value)
        return value

    def _attribute_of_layer(self, layer: Layer | Loss, name: str) -> Any:
        """Attribute of a layer or loss, which is compared; or what a method of the user's gives."""
        defined = inspect.getattr_static(type(layer), name, None)
        if name in getattr(layer, "_passing", ()) and not isinstance(defined, _FUNCTIONS):
            return self._attribute_of_module(layer, name)  # which no watch compares
        if name in vars(layer):
            return vars(layer)[name]
        if isinstance(defined, property):
            defined = defined.fget
        if isinstance(defined, types.FunctionType) and is_users(defined):
            self._look_at_method(layer, defined)
        elif name == "compute_loss" and not self._is_strict:
            self._look_at_losses(layer)
        elif isinstance(defined, _FUNCTIONS):
            self._check_attributes([name])
        elif name not in _ATTRIBUTES:
            return self._attribute_of_module(type(layer), name)
        return _DERIVED

    def _look_at_inherited(self, owner: Any, name: str) -> None:
        """Record what `super()` may find: each definition of a name among an object's classes."""
        for kind in [each for each in type(owner).__mro__ if name in vars(each)]:
            defined = vars(kind)[name]
            if is_users(kind):
                self._note(kind, name, defined)
                self._look_at_method(owner, getattr(defined, "fget", defined))
            elif isinstance(owner, Layer) and name == "compute_loss":
                self._look_at_losses(owner)
            else:
                self._check_attributes([name])

    def _look_at_losses(self, model: Any) -> None:
        """Record the losses of `compile`, which `compute_loss` calls."""
        compiled = model._compiled
        self._note(model, "_compiled", compiled)
        self._note(compiled, "resolved", compiled.resolved)
        self._look_at(compiled.given["loss"])

    def _attribute_of_object(self, thing: Any, name: str) -> Any:
        """Attribute of an object of the user's, or what a method of it gives."""
        kind = type(thing)
        if not _is_simple(kind):
            raise UnknownError
        defined, own = inspect.getattr_static(kind, name, None), getattr(thing, "__dict__", {})
        if isinstance(defined, property):
            self._note(kind, name, defined)
            self._look_at_method(thing, defined.fget)
            return _DERIVED
        if isinstance(defined, types.FunctionType) and name not in own:
            self._note(kind, name, defined)
            self._note(own, name, unchanged)
            self._look_at_method(thing, defined)
            return _DERIVED
        is_slot = isinstance(defined, types.MemberDescriptorType)
        if (hasattr(type(defined), "__get__") and not is_slot) or not hasattr(thing, name):
            raise UnknownError
        value = getattr(thing, name)
        self._note(thing, name, value)
        return value


_FUNCTIONS = (types.FunctionType, property, staticmethod, classmethod, functools.cached_property)


def _is_plain_class(kind: type) -> bool:
    """Whether a class makes numbers, or is one of Python's own."""
    is_numbers = issubclass(kind, np.generic) and kind is not np.datetime64  # which has a clock
    return kind.__module__ == "builtins" or is_numbers


def _is_simple(kind: Any) -> bool:
    """Whether attributes of its objects are found in the usual way."""
    return kind.__getattribute__ is object.__getattribute__ and not hasattr(kind, "__getattr__")
