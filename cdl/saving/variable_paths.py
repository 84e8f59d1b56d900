"""Parts of a model with variables, and their paths in a weights file.

Paths are Keras's: `layers/dense`, `block/norm`, `blocks/block_1`, `optimizer`: attributes by their
names, private ones last, and elements of lists and dicts by their class, numbered. A part that
occurs twice is written where it is found first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from cdl._common.naming import name_of, snake_case
from cdl._common.overriding import is_users
from cdl._common.weak_cache import weak_cache
from cdl.layers import Layer
from cdl.metrics import Metric
from cdl.optimizers import Optimizer

if TYPE_CHECKING:
    from cdl.trainers.signature import TrainableModel

# Attributes of models and layers that are no parts, or such as are found elsewhere.
TODAY, OLDER = "3", ("2.15", "2.13")  # versions of Keras whose paths are known
_HIDDEN = ("query_dense", "key_dense", "value_dense", "output_dense")  # of attention in Keras 2
_OLDER_LAYERS = "_layer_checkpoint_dependencies"
_KEPT = frozenset(("_given", "_inbound_nodes", "_input", "_stack", "_model_graph", "_not_owned"))


Part = tuple[str, Any, list[Any]]  # path, part, its own variables


def parts(
    model: TrainableModel, keras: str = TODAY, places: dict[int, list[str]] | None = None
) -> list[Part]:
    """(path, part, its own variables) of a model and of all in it, each part once.

    Args:
        keras: whose paths: `TODAY`, or one of `OLDER`.
        places: dict to fill with all paths of each part by its id, since it may have several names.
    """
    seen: dict[int, list[str]] = {} if places is None else places
    found = list(_parts(model, "", seen, keras))
    if model.compiled and model.optimizer is not None:
        found += _parts(model.optimizer, "optimizer", seen, keras)
    return found


def finalize(found: list[Part]) -> None:
    """Let layers update data derived from their variables, as Normalization does."""
    for _, part, _ in found:
        finalize_state = getattr(part, "finalize_state", None)
        if finalize_state is not None:
            finalize_state()


def writes_itself(part: Any) -> bool:
    """Whether a custom class overrides how it is written and read."""
    ways = ("save_own_variables", "load_own_variables")
    base = next((each for each in (Layer, Optimizer) if isinstance(part, each)), None)
    return base is not None and any(getattr(type(part), w) != getattr(base, w) for w in ways)


def _parts(thing: Any, path: str, seen: dict[int, list[str]], keras: str) -> Iterator[Part]:
    if id(thing) in seen:
        seen[id(thing)].append(path)
        return
    seen[id(thing)] = [path]
    yield path, thing, _direct_variables(thing)
    prefix = f"{path}/" if path else ""
    for name, child in _children(thing):
        if _is_part(child):
            hidden = "_" if keras != TODAY and name in _HIDDEN else ""
            yield from _parts(child, f"{prefix}{hidden}{name}", seen, keras)
        elif isinstance(child, (list, tuple, set, dict)):
            inside = child.values() if isinstance(child, dict) else child
            older = keras == "2.13" and name == "layers" and _has_layers(thing)
            within = f"{prefix}{_OLDER_LAYERS if older else name}"
            for inner_name, inner in _numbered(filter(_is_part, inside), older):
                yield from _parts(inner, f"{within}/{inner_name}", seen, keras)


def _is_part(thing: Any) -> bool:
    return isinstance(thing, (Layer, Metric, Optimizer))


def _direct_variables(thing: Any) -> list[Any]:
    """Variables that no part within holds: trainable ones first."""
    if isinstance(thing, Layer):
        return thing._filed_variables()
    return list(thing.variables)


def _children(thing: Any) -> Iterator[tuple[str, Any]]:
    """Attributes of a part that may be or hold other parts."""
    cls: Any = type(thing)
    if _has_layers(thing):
        yield "layers", thing.layers
    for name in getattr(thing, "_file_parts", ()):  # of a layer of cdl's own
        yield name, getattr(thing, name, None)
    there = set(object.__dir__(thing))
    names = there - _KEPT - _skipped(cls)
    if isinstance(thing, Layer):  # of a model with a `call`: between its attributes, as in Keras
        names |= there & {"layers"}
    public = sorted(name for name in names if not name.startswith("_"))
    private = names - set(public) if is_users(cls) else ()
    for name in [*public, *sorted(name for name in private if not name.startswith("__"))]:
        try:
            value = getattr(thing, name)
        except Exception:  # a property of the user's that is of no use now
            continue
        yield name, value


def _has_layers(thing: Any) -> bool:
    """Whether a part is a Sequential or a functional model."""
    return getattr(thing, "_stack", None) is not None or bool(getattr(thing, "operations", None))


@weak_cache
def _skipped(cls: type) -> frozenset[str]:
    """Names of attributes of cdl's own base classes."""
    bases = [each for each in cls.__mro__ if not is_users(each)]
    found: set[str] = set()
    for base in bases:
        found |= vars(base).keys()
    if issubclass(cls, Layer):
        found |= vars(Layer(name="layer")).keys()
    return frozenset(found)


def _numbered(things: Iterable[Any], older: bool) -> Iterator[tuple[str, Any]]:
    counts: dict[str, int] = {}
    for thing in things:
        name = snake_case(name_of(type(thing)))
        count = counts.get(name, 0)
        # There a layer with weights was counted as a layer, and as one with weights.
        counts[name] = count + (2 if older and thing.weights else 1)
        yield f"{name}_{count}" if count else name, thing
