"""Chains of a step, one for each form of batch: their recording and verification.

The first batch of a form runs in Python, since it may build layers and optimizers. The second one
is recorded, and its chain replayed from the same weights: unless all bits agree, the chain is
discarded. A chain that assigns or draws is verified on the third batch too, after the assigned
values have changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl import tree
from cdl._common.errors import warn
from cdl._common.locks import new_lock
from cdl._variables.draw_counts import noting
from cdl._variables.stepping import ARRAYS, Recording
from cdl.trainers.chains.calls import assigned, can_repeat, changed, gains, has_effect
from cdl.trainers.chains.chain import Chain
from cdl.trainers.chains.given import Given
from cdl.trainers.chains.held import Held
from cdl.trainers.chains.kept_state import KeptState, Trial, numpys_state
from cdl.trainers.chains.step_reads import StepReads, has_calls_of_users
from cdl.trainers.derivatives import compiled_of

if TYPE_CHECKING:
    from cdl.trainers.signature import TrainableModel

_KEPT = 8  # forms
_UNUSED = 4  # chains of a form that became invalid before use, after which none is made
_REFUSALS = 4  # refused forms of a step, after which no other form is recorded
_TOLD = 1000  # batches of `fit` in Python, after which a warning says why
_READING = ("test_step", "predict_step")  # steps that may have no effect
_NEW, _TRIED, _TAKEN, _REFUSED = "new", "tried", "taken", "refused"


class StepChains:
    """Chains of one compiled model, or of one function.

    A chain in use is taken out: a callback that trains within `fit` runs its steps in Python.

    Attributes:
        reasons: why steps run in Python, by the name of the step.
        differentiated: functions whose gradients the steps take.
    """

    def __init__(self) -> None:
        self._states: dict[Any, Chain | str] = {}
        self._unused: dict[Any, int] = {}  # chains made since one was used
        self._tried: dict[Any, Chain] = {}  # to be verified on another batch
        self.differentiated: dict[Any, Any] = {}
        self._refusals, self._in_python, self._once = 0, 0, 0
        self._is_ordinary = False  # whether steps call cdl.Model's, which is compiled anyway
        self.reasons: dict[str, str] = {}
        self._lock = new_lock()

    @staticmethod
    def of(compiled: Any) -> StepChains:
        """Chains kept with the compile arguments of a model; new ones for None."""
        if compiled is None:
            return StepChains()
        compiled.chains = compiled.chains or StepChains()
        found: StepChains = compiled.chains
        return found

    def take(self, key: Any) -> Chain | None:
        """Take out the valid chain of a form, for `give_back` later; None if there is none."""
        with self._lock:  # of two threads one gets it
            found = self._states.get(key)
            if not isinstance(found, Chain):
                return None
            self._states[key] = _TAKEN
        if not found.holds():
            self._states[key] = _NEW
            return None
        self._unused[key] = 0
        return found

    def has_refused(self, key: Any) -> bool:
        """Whether steps of a form run in Python."""
        return self._states.get(key) == _REFUSED

    def give_back(self, key: Any, chain: Chain) -> None:
        """Put a chain back for later batches."""
        self._states[key] = chain

    def run(
        self, key: Any, model: TrainableModel | None, step: Callable[..., Any], args: Any
    ) -> Any:
        """Run a step on a batch; the second batch of a form is recorded.

        Args:
            key: form of the batch.
            model: whose method the step is; None for a function.
            step: the step.
            args: arguments of the step, which contain the batch's arrays.
        """
        state = self._states.get(key)
        if state == _TRIED:
            return self._compared(key, step, args)
        if state != _NEW:
            if state is None and self._refusals < _REFUSALS:
                while len(self._states) >= _KEPT:
                    self._evict(step)
                self._states[key] = _NEW
            return step(*args)
        self._unused[key] = self._unused.get(key, 0) + 1
        if self._unused[key] > _UNUSED:
            self._states[key] = _REFUSED
            self._refuse(step, "attributes or other things that it reads change with each batch")
            return step(*args)
        if model is not None and getattr(step, "__self__", None) is None:
            return step(*args)
        reads = StepReads(step)
        held = Held(model, reads, getattr(step, "__name__", "") not in _READING)
        if not reads.unseen and held.begins:
            return step(*args)
        self._states[key] = _REFUSED
        if not all(map(is_plain, tree.flatten(args))):
            return step(*args)
        if reads.unseen:
            self._refuse(step, reads.unseen)
            self._is_ordinary |= reads.is_ordinary
            return step(*args)
        logs, found = _recorded(held, step, args, reads)
        self._is_ordinary |= reads.is_ordinary
        self._settle(key, step, found)
        if isinstance(found, Chain) and found.changes_more:
            self._states[key], self._tried[key] = _TRIED, found
        return logs

    def _evict(self, step: Any) -> None:
        """Forget the oldest form, and note why, if most forms come once."""
        self._once += self._states.pop(next(iter(self._states))) == _NEW
        if self._once > _KEPT:
            self.reasons.setdefault(
                getattr(step, "__name__", "step"),
                f"more than {_KEPT} kinds of calls by shapes and Python arguments, of which most "
                "came once: give arrays the same shapes, as by padding",
            )

    def _compared(self, key: Any, step: Any, args: Any) -> Any:
        """Run a step on one more batch, and verify its chain on it."""
        chain = self._tried.pop(key)
        if not chain.holds():
            self._states[key] = _NEW
            return step(*args)
        before = chain.state.again()
        with noting() as noted:
            logs = step(*args)
        found = Trial(before, noted).differs(chain, tree.flatten(args), logs)
        self._settle(key, step, found or chain)
        return logs

    def _settle(self, key: Any, step: Any, found: Chain | str) -> None:
        """Keep a chain, or the reason why there is none."""
        if isinstance(found, Chain):
            self._states[key] = found
            return
        self._states[key] = _REFUSED
        if found:
            self._refuse(step, found)

    def _refuse(self, step: Any, reason: str) -> None:
        self._refusals += 1
        self.reasons.setdefault(getattr(step, "__name__", "step"), reason)

    def tell(self, model: TrainableModel | None, name: str, batches: int) -> None:
        """Count batches of `fit` that ran in Python; after some of them, warn once of the reason.

        Args:
            name: name of the step.
            batches: number of batches since the last call.
        """
        if name not in self.reasons or self._is_ordinary or self._in_python > _TOLD:
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
    """Result of a step, and its chain or the reason why there is none, "" for no need of one."""
    arrays = tree.flatten(args)
    before = KeptState()
    before.keep(held.things)
    numpys = numpys_state()
    recording = Recording(before.keep, reads.compared())
    logs, shown = recording.run(step, args)
    reads.note_optimizer()
    reads.close()
    calls = recording.calls
    if isinstance(step, Given) and not any(map(gains, calls)):
        return logs, ""
    reads.leave_out([assigned(each) for each in calls])
    if recording.reason:
        return logs, recording.reason
    if numpys != numpys_state():
        return logs, "it draws by NumPy: draw by cdl.random"
    if sum(each.counts for each in calls) < len(recording.noted):
        return logs, "it draws a seed by itself: make generators ahead of the step"
    if not reads.hold():
        return logs, "it changes what it reads"
    compiled = [compiled_of(each.function, each.kinds) for each in calls]
    unseen = [each.unseen for each in compiled if each is not None and each.unseen]
    if unseen:
        return logs, unseen[0]
    if not all(map(can_repeat, calls)):
        return logs, "it does more than learn, assign, draw and compute"
    if held.has_calls_of_users or any(map(has_calls_of_users, changed(calls))):
        return logs, "an optimizer or a metric of it has code of yours"
    known = set(map(id, (*held.optimizers, *held.metrics)))
    if not known.issuperset(map(id, changed(calls))):
        return logs, "an optimizer or a metric of it is no attribute of the model"
    if not any(map(has_effect, calls)):
        if held.learns:
            return logs, "nothing learns or is assigned"
        before.leave_out_variables()  # which another thread may train
    try:
        kinds = [(e.shape, e.dtype) if isinstance(e, np.ndarray) else None for e in arrays]
        chain = Chain(calls, shown, kinds, reads, recording.kinds())
    except Exception as error:  # of weights that the core cannot train at once
        return logs, f"its calls cannot be joined: {type(error).__name__}: {error}"
    chain.state = before
    chain.changes_more |= recording.has_constants
    found = Trial(before, recording.noted).differs(chain, arrays, logs)
    return logs, found or chain


def form_of(batch: Any) -> tuple[Any, ...]:
    """Structure of a batch, with shapes and dtypes of its arrays."""
    structure = repr(tree.map_structure(lambda leaf: 0, batch))
    return structure, *[(each.shape, each.dtype) for each in tree.flatten(batch)]


def is_plain(leaf: Any) -> bool:
    """Whether a leaf of a batch is an array of bools, integers or floats, or a number of Python."""
    return type(leaf) in (int, float) or (type(leaf) in ARRAYS and leaf.dtype.kind in "biuf")
