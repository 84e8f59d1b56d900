"""wanted.py - what `compile` was given, taken apart: loss, weight and metrics of each output."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cdl import tree
from cdl.data import brief


class Wanted(NamedTuple):
    """What `compile` was told about one output; nothing is looked up yet."""

    loss: Any  # or None
    scale: float
    metrics: list[Any]
    weighted: list[Any]

    @property
    def reads_target(self) -> bool:
        """Whether something needs to know what the output should have been."""
        return self.loss is not None or bool(self.metrics or self.weighted)


def wanted_of(given: dict[str, Any], names: Sequence[str], nest: Any) -> tuple[Wanted, ...]:
    """The arguments of `compile`, output by output.

    Args:
        given: the arguments by name.
        names: of the outputs.
        nest: the names, nested as the model puts out; if that is a dict, a dict of losses may leave
            some out.

    Raises:
        ValueError: a list of another length, a dict with other keys, or things that are neither.
        TypeError: a weight of a loss that is no number.
    """
    if len(names) == 1:
        loss = _alone(_only_one(given["loss"], "compile: loss", names[0]), "compile: loss")
        metrics, weighted = (_listed(given, name, names[0]) for name in _METRICS)
        return (Wanted(loss, _scale(given["loss_weights"], names[0]), metrics, weighted),)
    given = {key: _alike(nest, value) for key, value in given.items()}
    losses = _losses(given["loss"], names, isinstance(nest, dict))
    scales = _scales(given["loss_weights"], names)
    lists = [_lists(given[name], f"compile: {name}", names) for name in _METRICS]
    return tuple(map(Wanted, losses, scales, *lists))


_METRICS = ("metrics", "weighted_metrics")
BY_NAME = ": give metrics by name, metrics=[...]"  # they come after loss_weights, as in Keras 3


def _alike(nest: Any, given: Any) -> Any:
    """What is nested as the outputs are, as a list of one element each; all else as it is."""
    found = up_to(nest, given)
    return given if found is None else found


def up_to(nest: Any, given: Any) -> list[Any] | None:
    """The parts of `given` where `nest` has its leaves; None if they are not alike.

    It is also None where `nest` has no structure within its structure: then there are names, and
    lists of other lengths, and errors that say what is wrong.
    """
    parts = nest.values() if isinstance(nest, dict) else nest
    if not tree.is_nested(nest) or not any(map(tree.is_nested, parts)):
        return None
    return _walk(nest, given)


def _walk(nest: Any, given: Any) -> list[Any] | None:
    if not tree.is_nested(nest):
        return [given]
    if isinstance(nest, dict):
        if not isinstance(given, Mapping) or not set(given) <= set(nest):
            return None
        pairs = [(nest[key], given.get(key)) for key in sorted(nest)]
    elif isinstance(given, (list, tuple)) and len(given) == len(nest):
        pairs = list(zip(nest, given, strict=True))
    else:
        return None
    found: list[Any] = []
    for part, value in pairs:
        inner = [None] * len(tree.flatten(part)) if value is None else _walk(part, value)
        if inner is None:
            return None
        found += inner
    return found


def leaves(given: Any) -> list[Any]:
    """All identifiers in lists and dicts of them, at whatever depth."""
    if isinstance(given, Mapping) and "class_name" not in given:
        given = list(given.values())
    if isinstance(given, (list, tuple)):
        return [leaf for each in given for leaf in leaves(each)]
    return [] if given is None else [given]


# --- one output ---


def _listed(arguments: dict[str, Any], name: str, output_name: str) -> list[Any]:
    """Metrics as a flat list: from a list, a list of one list, or a dict of the one output."""
    given = arguments[name]
    name = f"compile: {name}"
    if given is None:
        return []
    if isinstance(given, Mapping):
        given = _only_one(given, name, output_name)
        if not isinstance(given, (list, tuple)):
            given = [given]
    if not isinstance(given, (list, tuple)):
        raise ValueError(f"{name} must be a list, tuple or dict, got {brief(given)}")
    if len(given) == 1 and isinstance(given[0], (list, tuple)):
        given = given[0]
    return _checked(given, name)


def _checked(metrics: Sequence[Any], name: str) -> list[Any]:
    for metric in metrics:
        if not (isinstance(metric, (str, Mapping)) or callable(metric)):
            raise ValueError(f"{name} must hold names, functions or Metrics, got {brief(metric)}")
    return list(metrics)


def _only_one(given: Any, name: str, output_name: str) -> Any:
    """What is meant for the one output, out of a dict by output name."""
    if isinstance(given, Mapping) and "class_name" not in given:
        if list(given) != [output_name]:
            raise ValueError(
                f"{name} must have the output's name {output_name!r} as its only key, "
                f"got {list(given)}"
            )
        return given[output_name]
    return given


def _scale(loss_weights: Any, output_name: str) -> float:
    name = "compile: loss_weights"
    given = _alone(_only_one(loss_weights, name, output_name), name)
    return 1.0 if given is None else _number(given, "compile: loss_weights")


def _number(given: Any, name: str) -> float:
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        hint = BY_NAME if _is_metric(given) else ""
        raise TypeError(f"{name} must be a number, got {brief(given)}{hint}")
    return float(given)


def _is_metric(given: Any) -> bool:
    """Whether something looks like a metric: a name, a function or an object."""
    return isinstance(given, str) or callable(given)


# --- several outputs ---


def _for_each(given: Any, name: str, names: Sequence[str], partly: bool) -> list[Any]:
    """The elements of a list with one for each output, or of a dict by their names."""
    if isinstance(given, Mapping):
        unknown = [key for key in given if key not in names]
        missing = [] if partly else [key for key in names if key not in given]
        if unknown or missing:
            what = f"got {unknown}" if unknown else f"got none for {missing}"
            raise ValueError(
                f"{name} must have as keys the names of the outputs, {list(names)}, {what}"
            )
        return [given.get(key) for key in names]
    if len(given) != len(names):
        raise ValueError(
            f"{name} must have one element for each of the {len(names)} outputs {list(names)}, "
            f"got a {type(given).__name__} of {len(given)}"
        )
    return list(given)


def _losses(given: Any, names: Sequence[str], keyed: bool) -> list[Any]:
    """The loss of each output; one that is given alone is for all of them."""
    is_config = isinstance(given, Mapping) and "class_name" in given
    if is_config or not isinstance(given, (list, tuple, Mapping)):
        return [given] * len(names)
    found = _for_each(given, "compile: loss", names, keyed)
    return [_alone(each, "compile: loss") for each in found]


def _alone(given: Any, name: str) -> Any:
    """The loss of one output, which may be the only one of a list."""
    if not isinstance(given, (list, tuple)):
        return given
    if len(given) != 1:
        hint = BY_NAME if name.endswith("weights") and any(map(_is_metric, given)) else ""
        raise ValueError(
            f"{name} must be one for each output, got a list of {len(given)} for one of them{hint}"
        )
    return given[0]


def _scales(given: Any, names: Sequence[str]) -> list[float]:
    name = "compile: loss_weights"
    if not isinstance(given, (list, tuple, Mapping)):
        return [1.0 if given is None else _number(given, name)] * len(names)
    found = _for_each(given, name, names, partly=True)
    return [1.0 if each is None else _number(each, name) for each in found]


def _lists(given: Any, name: str, names: Sequence[str]) -> list[list[Any]]:
    """The metrics of each output, which may be one, a list or None."""
    if given is None or (isinstance(given, (list, tuple)) and not given):
        return [[] for _ in names]
    if not isinstance(given, (list, tuple, Mapping)):
        raise ValueError(f"{name} must be a list, tuple or dict, got {brief(given)}")
    found = _for_each(given, name, names, partly=True)
    lists = [each if isinstance(each, (list, tuple)) else [each] for each in found]
    return [_checked([m for m in each if m is not None], name) for each in lists]
