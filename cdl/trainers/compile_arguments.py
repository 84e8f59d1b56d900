"""Arguments of `compile` by output, without a look-up of names.

Losses, their weights and metrics come as one for all outputs, in lists, in dicts by the names of
the outputs, or nested like the model's outputs. Several losses of one output are added up.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from cdl import tree
from cdl._common.errors import warn
from cdl.data import brief
from cdl.trainers.signature import is_deep


class OutputSpec(NamedTuple):
    """Losses and metrics of one output as `compile` was given them."""

    losses: list[tuple[Any, float]]  # each with what it is multiplied by
    metrics: list[Any]
    weighted: list[Any]

    @property
    def reads_target(self) -> bool:
        """Whether a loss or metric reads the output's targets."""
        return bool(self.losses or self.metrics or self.weighted)


def output_specs(given: dict[str, Any], names: Sequence[str], nest: Any) -> tuple[OutputSpec, ...]:
    """Split the arguments of `compile` by output.

    Args:
        given: the arguments by name.
        names: of the outputs.
        nest: the names, nested as the model puts out; if that is a dict, a dict of losses may leave
            some out.

    Raises:
        ValueError: a list of another length, a dict with other keys, or things that are neither.
        TypeError: a weight of a loss that is no number.
    """
    losses, _ = _losses(given["loss"], given["loss_weights"], names, nest)
    listed = isinstance(given["loss"], (list, tuple)) and len(given["loss"])
    if listed and listed < len(names) and (nest is None or isinstance(nest, (list, tuple))):
        without = [names[i] for i in range(listed, len(names)) if not losses[i]]
        if without:
            warn(f"compile: loss is a list of {listed}: the outputs {without} are not trained")
    if len(names) == 1:
        return (OutputSpec(losses[0], *(_listed(given, name) for name in _METRICS)),)
    lists = [_lists(_alike(nest, given[name]), f"compile: {name}", names) for name in _METRICS]
    return tuple(map(OutputSpec, losses, *lists))


_METRICS = ("metrics", "weighted_metrics")
BY_NAME = ": give metrics by name, metrics=[...]"  # they come after loss_weights, as in Keras 3


def _alike(nest: Any, given: Any) -> Any:
    """`given` as a list with one element an output if it is nested as the outputs are."""
    found = up_to(nest, given)
    return given if found is None else found


def up_to(nest: Any, given: Any) -> list[Any] | None:
    """Parts of `given` at the leaves of `nest`; None if they are not nested alike.

    None, too, if no part of `nest` is nested itself: names, and lists of other lengths, are checked
    elsewhere, with errors that say what is wrong.
    """
    return _walk(nest, given) if is_deep(nest) else None


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
    """All identifiers in lists and dicts of them, at any depth."""
    if given is None or type(given) is str:  # as nearly always
        return [] if given is None else [given]
    if isinstance(given, Mapping) and "class_name" not in given:
        given = list(given.values())
    if isinstance(given, (list, tuple)):
        return [leaf for each in given for leaf in leaves(each)]
    return [given]


# --- losses ---


class _Given(NamedTuple):
    """Loss of `compile`, and its number among all of them."""

    loss: Any
    number: int


class PartLoss(NamedTuple):
    """Function that is the loss of several outputs at once."""

    loss: Any
    scale: float
    names: Any  # of the outputs, nested as these are
    logged: str
    place: int  # among all losses, as they are listed


def part_losses(given: dict[str, Any], names: Sequence[str], nest: Any) -> list[PartLoss]:
    """Losses of `compile` for several outputs at once, nested as the outputs.

    Args:
        given: the arguments of `compile` by name.
        names: of the outputs.
        nest: the names, nested as the model puts out.
    """
    return _losses(given["loss"], given["loss_weights"], names, nest)[1]


def _losses(
    given: Any, weights: Any, names: Sequence[str], nest: Any
) -> tuple[list[list[tuple[Any, float]]], list[PartLoss]]:
    """Losses of each output with their weights, and those of several outputs at once.

    One that is given alone is for all outputs, one by one.
    """
    numbered: list[_Given] = []
    losses = _numbered(given, numbered)
    scale_of = _scales(given, weights, numbered, names, nest)
    if nest is None or len(names) == 1:
        nest = list(names)
    keyed = isinstance(nest, dict)
    if isinstance(losses, dict) and (not keyed or not losses.keys() <= nest.keys()):
        if not keyed or losses.keys() <= set(names):
            losses, nest = _for_each(losses, "compile: loss", names, keyed), list(names)
    elif len(names) == 1 and type(losses) in (list, tuple) and len(losses) != 1:
        losses = [losses]
    found: dict[str, list[tuple[Any, float]]] = {name: [] for name in names}
    places = {name: i for i, name in enumerate(names)}
    parts: list[PartLoss] = []
    for place, (name, each, path) in enumerate(_spread(losses, nest, ())):
        scale = scale_of(each.number, places[tree.flatten(name)[0]])
        if isinstance(name, str):
            found[name].append((each.loss, scale))
        else:
            keys = list(path) or (list(name) if isinstance(name, dict) else tree.flatten(name))
            logged = ("/" if path else "_").join(map(str, keys))
            parts.append(PartLoss(each.loss, scale, name, f"{logged}_loss", place))
    return list(found.values()), parts


def _numbered(given: Any, found: list[_Given]) -> Any:
    """Structure of losses with each replaced by its number, in the order of tree flattening."""
    if isinstance(given, Mapping) and "class_name" not in given:
        numbers = {key: _numbered(given[key], found) for key in sorted(given)}
        return {key: numbers[key] for key in given}
    if isinstance(given, (list, tuple)):
        inner = [_numbered(each, found) for each in given]
        return tuple(inner) if isinstance(given, tuple) else inner
    found.append(_Given(given, len(found)))
    return found[-1]


def _sees_parts(given: Any) -> bool:
    """Whether a loss is a function, which may be that of several outputs at once."""
    return isinstance(given, _Given) and hasattr(given.loss, "__code__")


def _spread(
    given: Any, nest: Any, path: tuple[Any, ...], top: bool = True
) -> Iterator[tuple[Any, _Given, tuple[Any, ...]]]:
    """Outputs of each loss: the name of one, or several, nested.

    Args:
        given: losses, nested.
        nest: the names of the outputs, nested as the model puts out.
        path: to both of them.
        top: whether a function is for each output by itself.

    Raises:
        ValueError: a list that is longer than that of the outputs.
        KeyError: a path to a loss that leads to no output.
    """
    where = f" at {'/'.join(map(str, path))}" if path else ""
    if given is None:
        return
    if isinstance(given, _Given):
        if _sees_parts(given) and not top and tree.is_nested(nest):
            yield nest, given, path
        elif given.loss is not None:
            yield from ((name, given, path) for name in tree.flatten(nest))
    elif isinstance(given, dict):
        unknown = [key for key in given if not isinstance(nest, dict) or key not in nest]
        if unknown:
            found = "/".join(map(str, (*path, unknown[0])))
            raise KeyError(
                f"compile: loss must be nested as the outputs are, got one for {found!r}, which "
                f"can't be found in the model's output: {tree.flatten(nest)}"
            )
        for key, each in given.items():
            yield from _spread(each, nest[key], (*path, key), False)
    elif not tree.is_nested(nest):
        for each in given:
            yield from _spread(each, nest, path, False)
    else:
        parts = tree.flatten(nest)
        flat = len(given) == len(parts) and all(isinstance(each, _Given) for each in given)
        if not flat and any(map(_sees_parts, given)) and not isinstance(nest, type(given)):
            for each in given:
                yield from _spread(each, nest, path, False)
            return
        if not flat:
            parts = list(nest) if isinstance(nest, (list, tuple)) else []
        if len(given) > len(parts) or (len(given) < len(parts) and isinstance(nest, dict)):
            raise ValueError(
                f"compile: loss must have one element for each of the {len(nest)} outputs "
                f"{tree.flatten(nest)}{where}, got a list of {len(given)}"
            )
        for i, (each, part) in enumerate(zip(given, parts, strict=False)):
            yield from _spread(each, part, (*path, i), False)


def _scales(
    given: Any, weights: Any, numbered: list[_Given], names: Sequence[str], nest: Any
) -> Any:
    """Function from the numbers of a loss and an output to the loss weight."""
    name = "compile: loss_weights"
    if not isinstance(weights, (list, tuple, Mapping)):
        alone = 1.0 if weights is None else _number(weights, name)
        return lambda loss, output: alone
    of_losses = [None if each is None else _number(each, name) for each in tree.flatten(weights)]
    alike = given is not None and len(of_losses) == len(numbered)
    if isinstance(weights, Mapping) and alike and len(numbered) == 1:
        if len(names) > 1:
            _for_each(_alike(nest, weights), name, names, partly=True)  # checks the name
    elif isinstance(weights, Mapping):
        alike = alike and isinstance(given, Mapping) and set(weights) == set(given)
    if alike:
        scales = [1.0 if each is None else each for each in of_losses]
        return lambda loss, output: scales[loss]
    if len(numbered) > len(names) and not isinstance(weights, Mapping):
        raise ValueError(
            f"{name} must match the number of losses, got {len(numbered)} losses and "
            f"{len(of_losses)} weights"
        )
    parts = _for_each(_alike(nest, weights), name, names, partly=True)
    by_output = [1.0 if each is None else _number(each, name) for each in parts]
    return lambda loss, output: by_output[output]


# --- one output ---


def _listed(arguments: dict[str, Any], name: str) -> list[Any]:
    """Metrics as a flat list: from lists and dicts, of any keys, as in Keras."""
    given = arguments[name]
    name = f"compile: {name}"
    if given is None:
        return []
    if not isinstance(given, (list, tuple, Mapping)):
        raise ValueError(f"{name} must be a list, tuple or dict, got {brief(given)}")
    return _checked(_flat(given), name)


def _flat(given: Any) -> list[Any]:
    """Metrics in lists and dicts; a config is one."""
    if isinstance(given, Mapping) and "class_name" not in given:
        given = [given[key] for key in sorted(given)]
    if isinstance(given, (list, tuple)):
        return [leaf for each in given for leaf in _flat(each)]
    return [given]


def _checked(metrics: Sequence[Any], name: str) -> list[Any]:
    for metric in metrics:
        if not (isinstance(metric, (str, Mapping)) or callable(metric)):
            raise ValueError(f"{name} must hold names, functions or Metrics, got {brief(metric)}")
    return list(metrics)


def _number(given: Any, name: str) -> float:
    if isinstance(given, bool) or not isinstance(given, (int, float)):
        hint = BY_NAME if _is_metric(given) else ""
        raise TypeError(f"{name} must be a number, got {brief(given)}{hint}")
    return float(given)


def _is_metric(given: Any) -> bool:
    """Whether an object looks like a metric: a name, a function or an object."""
    return isinstance(given, str) or callable(given)


# --- several outputs ---


def _for_each(given: Any, name: str, names: Sequence[str], partly: bool) -> list[Any]:
    """Elements of a list with one for each output, or of a dict by their names."""
    if isinstance(given, Mapping):
        known = set(names)
        unknown = [key for key in given if key not in known]
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


def _lists(given: Any, name: str, names: Sequence[str]) -> list[list[Any]]:
    """Metrics of each output, which may be one, a list or None."""
    if given is None or (isinstance(given, (list, tuple)) and not given):
        return [[] for _ in names]
    if not isinstance(given, (list, tuple, Mapping)):
        raise ValueError(f"{name} must be a list, tuple or dict, got {brief(given)}")
    found = _for_each(given, name, names, partly=True)
    lists = [each if isinstance(each, (list, tuple)) else [each] for each in found]
    return [_checked([m for m in each if m is not None], name) for each in lists]
