"""Questions about recorded calls of a step: what they do, and whether they can be replayed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from cdl._common.overriding import overrides
from cdl._variables.step_forms import (
    COMPUTING,
    OF_TAPES,
    ORDINARY,
    PENALTIES,
    gives_numbers,
)
from cdl._variables.stepping import Call
from cdl.layers import Layer
from cdl.optimizers import Optimizer
from cdl.random.draws import is_of_generator
from cdl.trainers.chains.link import args_refs
from cdl.trainers.chains.shown_metrics import reads_metric, updates
from cdl.trainers.derivatives import compiled_of

_OF_PROGRAMS = "cdl.taping.replay"
_OF_DRAWS, _OF_VARIABLES = "cdl.random.draws", ("cdl._tracing.", "cdl._variables.state")


def changed(calls: Sequence[Call]) -> list[Any]:
    """Optimizers and metrics that some calls update."""
    found = [each.args[0] if is_step(each) else updates(each) for each in calls]
    trained = [e.args[0] for e in calls if is_ordinary(e) and e.args[1] == "train"]
    found += [each.optimizer for each in trained]
    return [each for each in found if each is not None]


def is_ordinary(call: Call) -> bool:
    """Whether a call is the built-in step of `cdl.Model`."""
    return getattr(call.function, "__name__", "") == ORDINARY


def is_step(call: Call) -> bool:
    """Whether a call is a step of an optimizer."""
    is_of_optimizers = module_of(call).startswith("cdl.optimizers.")
    return is_of_optimizers and isinstance(call.args[0], Optimizer)


def can_repeat(call: Call) -> bool:
    """Whether a call can be replayed: it only learns, assigns, draws or computes from arguments."""
    function = call.function
    if is_ordinary(call):
        model, kind, _ = call.args
        counts = overrides(type(model), "compute_metrics")
        return bool(model._executors.steps_in_core(kind)) and not counts
    if changed([call]) or isinstance(getattr(function, "__self__", None), np.ufunc):
        return True
    if gives_numbers(function):
        return True
    if compiled_of(function, call.kinds) is not None:
        return True
    layer = layer_of(call)
    if layer is not None:  # one that is stateful keeps what no variable holds
        return not any(getattr(each, "stateful", False) for each in layer._flatten_layers())
    return module_of(call).startswith((*COMPUTING, *_OF_VARIABLES, "cdl.taping.", _OF_DRAWS))


def assigned(call: Call) -> Any:
    """The variable that a call assigns; None for another call."""
    is_of_variable = module_of(call).startswith(_OF_VARIABLES)
    is_assigned = is_of_variable and call.function.__name__.startswith("assign")
    return call.args[0] if is_assigned else None


def gains(call: Call) -> bool:
    """Whether a call is faster in a chain: a gradient, an optimizer's step or an assignment."""
    is_gradient = module_of(call) == _OF_PROGRAMS
    is_gradient |= compiled_of(call.function, call.kinds) is not None
    return is_gradient or is_step(call) or assigned(call) is not None


def has_effect(call: Call) -> bool:
    """Whether a call has effects beside its results."""
    if reads_metric(call):
        return False
    if is_ordinary(call) or changed([call]) or assigned(call) is not None:
        return True
    compiled, layer = compiled_of(call.function, call.kinds), layer_of(call)
    if compiled is not None:  # drawing advances a counter
        return compiled.draws
    if call.draws:
        return True
    if is_of_losses(call):
        return False
    if module_of(call) == OF_TAPES and call.args[1][0] == "compute_loss":
        means = layer._loss_and_metrics_made  # of the single losses, which it adds to
        return bool(means is not None and means.losses)
    if layer is None:
        takes = getattr(call.function, "__name__", "") == "take"
        return module_of(call) in (_OF_DRAWS, _OF_PROGRAMS) and not takes
    return not all(map(is_of_generator, layer.non_trainable_variables))


def only_computes(call: Call) -> bool:
    """Whether a call only computes from its arguments, as layers do in inference."""
    layer = layer_of(call)
    if layer is None:
        return not has_effect(call)
    if is_of_losses(call):
        return not call.size
    if call.draws or call.counts or is_ordinary(call) or layer.losses:
        return False
    trains = call.kwargs.get("training") or any(each is True for each in call.args)
    runs_code = getattr(call.function, "__name__", "") == "run_script"  # of layers, on arrays
    return not (trains or runs_code) and module_of(call) != OF_TAPES


def is_draw(call: Call) -> bool:
    """Whether a call is one of `cdl.random`."""
    return module_of(call) == _OF_DRAWS


def is_of_losses(call: Call) -> bool:
    """Whether a call reads the losses of a layer."""
    return getattr(call.function, "__name__", "") == PENALTIES


def module_of(call: Call) -> str:
    """Module of the function that is called, or ""."""
    return str(getattr(call.function, "__module__", ""))


def layer_of(call: Call) -> Any:
    """Layer or model that is called; None for a call of anything else."""
    is_taped = module_of(call) == OF_TAPES
    given = (
        call.args[2:3] if is_taped else (getattr(call.function, "__self__", None), *call.args[:1])
    )
    return next((each for each in given if isinstance(each, Layer)), None)


def needed(
    calls: Sequence[Call], linked: set[int], shown: Sequence[int], apart: Collection[int] = ()
) -> set[int]:
    """Indices of calls to replay, for their effects or for results that are read later.

    Those `apart` are left out.
    """
    numbers, places, reads_losses = set(shown), set[int](), False
    taking: list[Any] = []  # inner gradients, which are taken by one call and given by the next
    for i in reversed(range(len(calls))):
        if i in apart:
            continue
        call = calls[i]
        own = range(call.first, call.first + call.size)
        counts = reads_losses and layer_of(call) is not None  # `losses` of it is read later
        counts |= any(getattr(call.function, "__self__", None) is each for each in taking)
        if i in linked or has_effect(call) or counts or not numbers.isdisjoint(own):
            places.add(i)
            is_taped = module_of(call) == OF_TAPES
            taking += [call.args[0]] if is_taped and hasattr(call.args[0], "take") else []
            reads_losses |= is_of_losses(call) or (is_taped and call.args[1][0] == "penalties")
            numbers.update(args_refs(call))
    return places
