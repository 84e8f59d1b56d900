"""Nested structures (pytrees): lists, tuples and dicts, as calls and models are given.

The leaves of a structure are all that is no list, tuple, deque or dict; None is a leaf. A dict is
walked in the order of its keys, as Keras does it, so that two dicts of the same keys agree.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from cdl._common.public_names import publish

__all__ = [
    "MAP_TO_NONE",
    "assert_same_paths",
    "assert_same_structure",
    "flatten",
    "flatten_with_path",
    "is_nested",
    "lists_to_tuples",
    "map_shape_structure",
    "map_structure",
    "map_structure_up_to",
    "pack_sequence_as",
    "traverse",
]

Path = tuple[Any, ...]

_NESTED = (list, tuple, deque, dict)


def is_nested(structure: Any) -> bool:
    """Whether a structure is a list, tuple, deque or dict, even an empty one.

    Args:
        structure: lists, tuples, deques and dicts, nested, or a leaf.
    """
    return isinstance(structure, _NESTED)


def flatten(structure: Any) -> list[Any]:
    """Flat list of a structure's leaves, in order; `[structure]` for a leaf.

    Args:
        structure: lists, tuples, deques and dicts, nested, or a leaf.
    """
    if not isinstance(structure, _NESTED):
        return [structure]
    leaves: list[Any] = []
    for part in _parts(structure) if isinstance(structure, dict) else structure:
        if isinstance(part, _NESTED):
            leaves += flatten(part)
        else:
            leaves.append(part)
    return leaves


def flatten_with_path(structure: Any) -> list[tuple[Path, Any]]:
    """Flat list of (path, leaf); a path is the keys and numbers that lead to the leaf.

    Args:
        structure: lists, tuples, deques and dicts, nested, or a leaf.
    """
    return list(_with_path(structure, ()))


def _with_path(structure: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(structure, (list, tuple, deque)):
        for i, part in enumerate(structure):
            yield from _with_path(part, (*path, i))
    elif isinstance(structure, dict):
        for key in _keys(structure):
            yield from _with_path(structure[key], (*path, key))
    else:
        yield path, structure


def map_structure(func: Callable[..., Any], *structures: Any) -> Any:
    """Apply a function to the leaves of structures; a structure like the first.

    Args:
        func: called with one leaf of each structure.
        structures: alike; see `assert_same_structure`.

    Raises:
        TypeError: `func` cannot be called.
        ValueError: no structure, or structures that differ.
    """
    if not callable(func):
        raise TypeError(f"map_structure: func must be callable, got {func!r}")
    if not structures:
        raise ValueError("map_structure: structures must be at least one, got none")
    first, *others = structures
    if not isinstance(first, _NESTED) and not any(map(is_nested, others)):
        return func(*structures)
    if not others:  # as nearly always
        return _mapped(func, first)
    for other in others:
        assert_same_structure(first, other)
    leaves = zip(*map(flatten, structures), strict=True)
    return pack_sequence_as(first, [func(*each) for each in leaves])


def pack_sequence_as(structure: Any, flat_sequence: Iterable[Any]) -> Any:
    """Pack a flat list of leaves into the form of `structure`.

    Args:
        structure: lists, tuples, deques and dicts, nested, or a leaf.
        flat_sequence: the leaves.

    Raises:
        ValueError: another number of leaves.
    """
    leaves = list(flat_sequence)
    n = len(flatten(structure))
    if len(leaves) != n:
        raise ValueError(f"pack_sequence_as: flat_sequence must have {n} leaves, got {len(leaves)}")
    rest = iter(leaves)
    return _mapped(lambda _: next(rest), structure)


def _mapped(func: Callable[[Any], Any], structure: Any) -> Any:
    """Structure like another one, with the function's results for its leaves, in their order."""
    if not isinstance(structure, _NESTED):
        return func(structure)
    if isinstance(structure, (list, tuple, deque)):
        parts = [_mapped(func, part) for part in structure]
        if isinstance(structure, list):
            return parts
        if type(structure) is tuple:
            return tuple(parts)
        if isinstance(structure, deque):
            return deque(parts, structure.maxlen)
        named = hasattr(structure, "_fields")  # a namedtuple takes its parts one by one
        return type(structure)(*parts) if named else tuple(parts)
    parts_of = {key: _mapped(func, structure[key]) for key in _keys(structure)}
    in_order = {key: parts_of[key] for key in structure}
    if isinstance(structure, defaultdict):
        return defaultdict(structure.default_factory, in_order)
    return OrderedDict(in_order) if isinstance(structure, OrderedDict) else in_order


def assert_same_structure(a: Any, b: Any) -> None:
    """Check that two structures are nested in the same way.

    Args:
        a: a structure.
        b: another one.

    Raises:
        ValueError: they differ in kind, in length or in keys somewhere.
    """
    same = _kind(a) == _kind(b)
    if same and isinstance(a, dict):
        same = a.keys() == b.keys()
    if same and is_nested(a):
        same = len(a) == len(b)
    if not same:
        raise ValueError(
            f"the two structures must be alike: expected {type(a).__name__} {a!r}, got {b!r}"
        )
    for part, other in zip(_parts(a), _parts(b), strict=True):
        assert_same_structure(part, other)


def assert_same_paths(a: Any, b: Any) -> None:
    """Check that two structures have their leaves at the same paths.

    Args:
        a: a structure; lists and tuples are the same here.
        b: another one.

    Raises:
        ValueError: a path that leads to a leaf in one of them only.
    """
    of_a, of_b = ({path for path, _ in flatten_with_path(each)} for each in (a, b))
    if of_a != of_b:
        raise ValueError(
            f"the two structures must have the same paths, got {sorted(of_a - of_b, key=str)} in "
            f"the first alone and {sorted(of_b - of_a, key=str)} in the second alone"
        )


def map_structure_up_to(shallow_structure: Any, func: Callable[..., Any], *structures: Any) -> Any:
    """Apply a function as `map_structure`, down to the leaves of a shallow structure.

    Args:
        shallow_structure: says how deep to go.
        func: called with what each structure has at a leaf of the shallow one.
        structures: alike down to those leaves.

    Raises:
        TypeError: `func` cannot be called.
        ValueError: a structure that is another one above those leaves.
    """
    if not callable(func):
        raise TypeError(f"map_structure_up_to: func must be callable, got {func!r}")
    parts = [list(_up_to(shallow_structure, each)) for each in structures]
    return pack_sequence_as(shallow_structure, [func(*each) for each in zip(*parts, strict=True)])


def _up_to(shallow: Any, structure: Any) -> Iterator[Any]:
    """Parts of a structure at the leaves of a shallow one, in order."""
    if not is_nested(shallow):
        yield structure
        return
    dicts = isinstance(shallow, dict)
    alike = isinstance(structure, dict if dicts else (list, tuple, deque))
    if (
        not alike
        or (dicts and shallow.keys() != structure.keys())
        or len(shallow) != len(structure)
    ):
        raise ValueError(f"the structures must be alike, got {shallow!r} and {structure!r}")
    for part, matching in zip(_parts(shallow), _parts(structure), strict=True):
        yield from _up_to(part, matching)


class MAP_TO_NONE:  # noqa: N801 - Keras's name
    """Result of a function for `traverse` that puts None in place of a part."""


def traverse(func: Callable[[Any], Any], structure: Any, top_down: bool = True) -> Any:
    """Replace parts of a structure: the function sees every part, leaf or not.

    Args:
        func: gives what a part is to become; None leaves it, `MAP_TO_NONE` makes it None.
        structure: lists, tuples, deques and dicts, nested, or a leaf.
        top_down: whether a structure is shown before its parts, which are then those of what it
            has become no more.

    Raises:
        TypeError: `func` cannot be called.
    """
    if not callable(func):
        raise TypeError(f"traverse: func must be callable, got {func!r}")
    if top_down and (new := func(structure)) is not None:
        return None if new is MAP_TO_NONE else new
    inner = structure
    if isinstance(structure, (list, tuple, deque)):
        parts = [traverse(func, part, top_down) for part in structure]
        named = hasattr(structure, "_fields")  # a namedtuple takes its parts one by one
        inner = type(structure)(*parts) if named else type(structure)(parts)
    elif isinstance(structure, dict):
        inner = {key: traverse(func, part, top_down) for key, part in structure.items()}
    if not top_down and (new := func(inner)) is not None:
        return None if new is MAP_TO_NONE else new
    return inner


def lists_to_tuples(structure: Any) -> Any:
    """Copy of a structure with tuples in place of lists.

    Args:
        structure: lists, tuples, deques and dicts, nested, or a leaf.
    """
    if isinstance(structure, (list, tuple, deque)):
        return tuple(lists_to_tuples(part) for part in structure)
    if isinstance(structure, dict):
        return {key: lists_to_tuples(part) for key, part in structure.items()}
    return structure


def map_shape_structure(func: Callable[[Any], Any], structure: Any) -> Any:
    """Apply a function as `map_structure`, with shapes (tuples or lists) as leaves.

    Args:
        func: what is called.
        structure: lists, tuples, deques and dicts, nested, or a leaf.

    Raises:
        ValueError: something in it is no shape.
    """
    if is_shape(structure):
        return func(tuple(structure))
    if isinstance(structure, (list, tuple, deque)):
        return type(structure)(map_shape_structure(func, part) for part in structure)
    if isinstance(structure, dict):
        return {key: map_shape_structure(func, part) for key, part in structure.items()}
    raise ValueError(f"map_shape_structure: structure must hold shapes, got {structure!r}")


def is_shape(thing: Any) -> bool:
    """Whether a structure is a tuple or list of sizes: ints and None."""
    sizes = isinstance(thing, (list, tuple))
    return sizes and all(n is None or (hasattr(n, "__index__")) for n in thing)


def _kind(structure: Any) -> str:
    if isinstance(structure, Mapping):
        return "dict"
    return type(structure).__name__ if is_nested(structure) else "leaf"


def _parts(structure: Any) -> list[Any]:
    if isinstance(structure, dict):
        return [structure[key] for key in _keys(structure)]
    return list(structure) if is_nested(structure) else []


def _keys(structure: dict[Any, Any]) -> list[Any]:
    try:
        return sorted(structure)
    except TypeError:  # keys of several kinds
        return list(structure)


publish(globals())
