"""Chains of a step by the form of batches: when they are made, and whether they are right.

The first batch of a form runs as it is, since it may build layers and optimizers. The second one is
recorded, and done again by the chain from the same weights: a chain that does not give the same
bits is not used.
"""

from __future__ import annotations

import random
import types
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl import tree
from cdl._common.errors import warn
from cdl._tracing.variable import Variable
from cdl._variables.stepping import Recording
from cdl.trainers.chains.chain import Chain, can_repeat, changed
from cdl.trainers.chains.held import Held, weights_of
from cdl.trainers.chains.step_reads import StepReads

if TYPE_CHECKING:
    from cdl.trainers.signature import TrainableModel

_KEPT = 8  # forms
_UNUSED = 4  # chains of one form that held for no batch, after which none is made
_REFUSALS = 4  # of a step, after which no other form of it is recorded
_TOLD = 100  # batches of `fit` in Python, after which a warning says why
_NEW, _TAKEN, _REFUSED = "new", "taken", "refused"


class StepChains:
    """Chains of one compiled model, or of one function.

    A chain that is in use is not here, so a callback that trains within `fit` runs its steps as
    they are.

    Attributes:
        reasons: why steps run in Python, by the name of the step.
    """

    def __init__(self) -> None:
        self._states: dict[Any, Chain | str] = {}
        self._unused: dict[Any, int] = {}  # chains since one was taken
        self._refusals, self._in_python = 0, 0
        self.reasons: dict[str, str] = {}

    def take(self, key: Any) -> Chain | None:
        """The chain for batches of a form, to be given back; None if there is none now."""
        found = self._states.get(key)
        if not isinstance(found, Chain):
            return None
        if not found.holds():
            self._states[key] = _NEW
            return None
        self._states[key], self._unused[key] = _TAKEN, 0
        return found

    def give_back(self, key: Any, chain: Chain) -> None:
        """Keep a chain for later passes."""
        self._states[key] = chain

    def run(
        self, key: Any, model: TrainableModel | None, step: Callable[..., Any], args: Any
    ) -> Any:
        """Run a step on a batch; the second one of its form makes a chain.

        Args:
            key: the form.
            model: whose method the step is; None for a function.
            step: is run.
            args: of the step, in which the batch's arrays are.
        """
        state = self._states.get(key)
        if state != _NEW:
            if state is None and self._refusals < _REFUSALS:
                while len(self._states) >= _KEPT:
                    del self._states[next(iter(self._states))]
                self._states[key] = _NEW
            return step(*args)
        self._unused[key] = self._unused.get(key, 0) + 1
        if self._unused[key] > _UNUSED:
            self._states[key] = _REFUSED
            self._refuse(step, "attributes or other things that it reads change with each batch")
            return step(*args)
        if model is not None and not isinstance(step, types.MethodType):
            return step(*args)
        reads = StepReads(step)
        held = Held(model, reads)
        if reads.is_known and held.begins:
            return step(*args)
        self._states[key] = _REFUSED
        if not all(map(_is_plain, tree.flatten(args))):
            return step(*args)
        if not reads.is_known:
            self._refuse(step, reads.reason)
            return step(*args)
        logs, found = _recorded(held, step, args, reads)
        if isinstance(found, Chain):
            self._states[key] = found
        else:
            self._refuse(step, found)
        return logs

    def _refuse(self, step: Any, reason: str) -> None:
        self._refusals += 1
        self.reasons.setdefault(getattr(step, "__name__", "step"), reason)

    def tell(self, model: TrainableModel | None, name: str, batches: int) -> None:
        """Count batches of `fit` that ran in Python; after some of them, warn once of the reason.

        Args:
            model: the model.
            name: of its step.
            batches: that ran since the last call.
        """
        if name not in self.reasons or self._in_python > _TOLD:
            return
        self._in_python += batches
        if self._in_python > _TOLD:
            warn(
                f"{type(model).__name__}.{name} runs in Python for each batch, which takes longer, "
                f"since it cannot be recorded: {self.reasons[name]}. The guide 'Steps of your own' "
                "says what can; compile(run_eagerly=True) keeps it so without this warning"
            )


def _recorded(
    held: Held, step: Callable[..., Any], args: Any, reads: StepReads
) -> tuple[Any, Chain | str]:
    """Result of a step, and its chain or the reason why there is none."""
    arrays = tree.flatten(args)
    state = _State(held.variables)
    draws = _drawn()
    recording = Recording()
    logs, shown = recording.run(step, args)
    reads.note_optimizer()
    reads.close()
    if recording.reason:
        return logs, recording.reason
    if not reads.hold() or draws != _drawn():
        return logs, "it changes what it reads, or draws at random: draw by cdl.random"
    calls = recording.calls
    if not all(map(can_repeat, calls)):
        return logs, "it does more than learn and compute"
    if held.has_calls_of_users:
        return logs, "an optimizer or a metric of it has code of yours"
    changes = changed(calls)
    known = set(map(id, (*held.optimizers, *held.metrics)))
    if not known.issuperset(map(id, changes)):
        return logs, "an optimizer or a metric of it is no attribute of the model"
    if not state.has(weight for each in changes for weight in weights_of(each)):
        return logs, "an optimizer of it has weights that it does not read"
    after = state.again()
    is_right = False
    try:
        chain = Chain(calls, shown, len(arrays), reads)
        if not chain.learns:
            return logs, "no optimizer takes a gradient as it is"
        state.restore()
        again = chain.once(arrays)
        is_right = after.is_now() and _bits(logs) == _bits(again)
    except Exception as error:  # of calls that need more than the record has
        return logs, f"done again, its calls raise {type(error).__name__}: {error}"
    finally:
        after.restore()
    return logs, chain if is_right else "done again, its calls give other numbers"


def _is_plain(leaf: Any) -> bool:
    return type(leaf) is np.ndarray and leaf.dtype.kind in "biuf"


def _drawn() -> Any:
    """State of NumPy's and Python's generators."""
    name, numbers, *rest = np.random.get_state(legacy=True)
    return name, np.asarray(numbers).tobytes(), rest, random.getstate()


def _bits(structure: Any) -> list[Any]:
    return [np.asarray(leaf).tobytes() for leaf in tree.flatten(structure)]


class _State:
    """Values of variables at one time."""

    def __init__(self, variables: Iterable[Any]) -> None:
        self._variables = list({id(each): each for each in variables}.values())
        self._values = [_numbers(each) for each in self._variables]

    def has(self, variables: Iterable[Any]) -> bool:
        """Whether these are among the variables."""
        return set(map(id, self._variables)).issuperset(map(id, variables))

    def again(self) -> _State:
        """Values that the variables have now."""
        return _State(self._variables)

    def _changed(self) -> list[tuple[Any, Any]]:
        pairs = zip(self._variables, self._values, strict=True)
        return [(v, value) for v, value in pairs if _numbers(v).tobytes() != value.tobytes()]

    def is_now(self) -> bool:
        """Whether the variables have these values."""
        return not self._changed()

    def restore(self) -> None:
        """Assign the values to the variables."""
        for variable, value in self._changed():
            if isinstance(variable, Variable):
                variable.storage.set(value)
            else:
                variable.assign(value)


def _numbers(variable: Any) -> Any:
    """Copy of the numbers of a variable as they are kept, those of bfloat16 in float32."""
    return variable.storage.get() if isinstance(variable, Variable) else variable.numpy()
