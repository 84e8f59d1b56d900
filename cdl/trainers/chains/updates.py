"""Gradients of a recorded step that go unchanged to updates of optimizers.

An update right behind its gradient becomes one program with it. One that follows other gradients
or updates, which must not see its weights change, has the gradient's program add to sums, from
which it makes its step when its turn comes.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from cdl import tree
from cdl._tracing.variable import Variable
from cdl._variables.step_forms import COMPUTING
from cdl._variables.stepping import Call, Ref
from cdl.optimizers.apply import apply
from cdl.trainers.chains.link import args_refs, refs
from cdl.trainers.chains.shown_metrics import reads_metric, updates
from cdl.trainers.compiled_function import Compiled
from cdl.trainers.derivatives import compiled_of


class Gradient(NamedTuple):
    """A gradient that optimizers take unchanged.

    Attributes:
        compiled: the loss with its gradient.
        call: its call.
        update: index of the call of the update that its program makes; None if it makes none.
    """

    compiled: Compiled
    call: Call
    update: int | None


class Update(NamedTuple):
    """An optimizer's step.

    Attributes:
        optimizer: as called.
        variables: as called.
        places: of the gradient by each variable: the index of its call, and its number in that.
    """

    optimizer: Any
    variables: list[Any]
    places: list[tuple[int, int]]


def learning(
    calls: Sequence[Call], shown: Collection[int], following: Collection[int]
) -> tuple[dict[int, Gradient], dict[int, Update]]:
    """Gradients and updates by the indices of their calls.

    Args:
        calls: of a step.
        shown: numbers in the result of the step.
        following: indices of updates that assignments follow.
    """
    gradients = {i: one for i, e in enumerate(calls) if (one := _gradient(e)) is not None}
    steps = {i: step for i, e in enumerate(calls) if (step := _update(e, gradients)) is not None}
    others = {*shown, *(n for i, e in enumerate(calls) if i not in steps for n in args_refs(e))}
    while True:  # until no gradient is read elsewhere, by an update that needs another one too
        left = {i: e for i, e in gradients.items() if others.isdisjoint(_own(e))}
        kept = {j: e for j, e in steps.items() if left.keys() >= {i for i, _ in e.places}}
        if len(kept) == len(steps):
            break
        others.update(n for j in steps.keys() - kept.keys() for n in args_refs(calls[j]))
        steps = kept
    for i in list(left):
        takers = [j for j, e in steps.items() if any(k == i for k, _ in e.places)]
        if not takers:
            del left[i]
        elif len(takers) == 1 and _is_joined(calls, i, takers[0], left[i], steps, following):
            left[i] = left[i]._replace(update=takers[0])
    return left, steps


def _gradient(call: Call) -> Gradient | None:
    compiled = compiled_of(call.function, call.kinds)
    if compiled is None or not compiled.learns or not refs(call.args):
        return None
    return Gradient(compiled, call, None)


def _own(gradient: Gradient) -> range:
    """Numbers of the gradients by weights."""
    end = gradient.call.first + gradient.call.size
    return range(end - len(gradient.compiled.by_weights), end)


def _update(call: Call, gradients: dict[int, Gradient]) -> Update | None:
    """The update of a call that takes nothing but gradients by its weights."""
    if call.function is not apply or call.args[2] is None:
        return None
    optimizer, given, variables = call.args[0], list(call.args[1]), list(call.args[2])
    makers = {n: (i, k) for i, e in gradients.items() for k, n in enumerate(_own(e))}
    if not given or len(given) != len(variables) or not _is_plain(optimizer, variables):
        return None
    if not all(isinstance(each, Ref) and each.number in makers for each in given):
        return None
    places = [makers[each.number] for each in given]
    pairs = zip(places, variables, strict=True)
    if not all(gradients[i].compiled.by_weights[k] is each for (i, k), each in pairs):
        return None
    return Update(optimizer, variables, places)


def _is_plain(optimizer: Any, variables: Sequence[Any]) -> bool:
    """Whether the core can make the whole step of an optimizer."""
    in_core = not (optimizer.gathers or optimizer.by_step or optimizer.whole_batch)
    limits = [each for each in variables if each.constraint is not None]
    return in_core and optimizer.loss_scale_factor is None and not limits


def _is_joined(
    calls: Sequence[Call],
    i: int,
    j: int,
    gradient: Gradient,
    steps: dict[int, Update],
    following: Collection[int],
) -> bool:
    """Whether update j can be made along with gradient i, ahead of the calls between them."""
    own = [(i, k) for k in range(len(gradient.compiled.by_weights))]
    if steps[j].places != own or gradient.compiled.draws:  # not by the optimizer's counter
        return False
    return j == i + 1 or (
        j not in following
        and all(_commutes(calls[k], steps.get(k), steps[j]) for k in range(i + 1, j))
    )


def _commutes(call: Call, step: Update | None, update: Update) -> bool:
    """Whether a call gives the same ahead of an update and behind it."""
    if step is not None:
        shared = set(map(id, step.variables)) & set(map(id, update.variables))
        return step.optimizer is not update.optimizer and not shared
    is_metrics = updates(call) is not None and not reads_metric(call)
    module = str(getattr(call.function, "__module__", None) or "numpy")
    leaves = tree.flatten((call.args, call.kwargs))
    reads = any(isinstance(each, Variable) or callable(each) for each in leaves)
    return is_metrics or (module.startswith(COMPUTING) and not reads)
