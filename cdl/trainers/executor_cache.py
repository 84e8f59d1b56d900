"""ExecutorCache: the train functions of a compiled model, reused from run to run."""

import functools
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cdl._common.errors import warn
from cdl._common.overriding import overrides
from cdl._core import Members
from cdl._variables.program_caches import register_cache
from cdl.distribution import ranks
from cdl.layers.weighted import changes
from cdl.trainers.compile_utils import Compiled, Resolved
from cdl.trainers.custom.coupled import CoupledFunction, plan_of
from cdl.trainers.custom.steps import names_of
from cdl.trainers.custom.whole_batch import CoupledWholeBatchFunction, WholeBatchFunction
from cdl.trainers.data_adapter import Arrays
from cdl.trainers.gradients import Gradients
from cdl.trainers.lowering import Plan
from cdl.trainers.signature import TrainableModel
from cdl.trainers.sizes import Form, form_of, trim
from cdl.trainers.train_function import TrainFunction

# Each keeps the activations of a batch: enough for training, evaluation, both with weights, and a
# last batch of another size in train_on_batch; few enough that sizes which came once go away.
_KEPT = 8


class Sums:
    """Snapshot of a train function's sums, from which another one can continue.

    Args:
        of: the train function.
    """

    key = (None,) * 4  # that of no train function

    def __init__(self, of: Any) -> None:
        self.resolved, self.parts, self._sums = of.resolved, of.parts, of.sums()

    def sums(self) -> Any:
        """Sums as the train function has given them."""
        return self._sums


class ExecutorCache:
    """Cache of train functions by kind of run, rows per batch, and form of the data.

    A running one is taken out, so a callback that evaluates within `fit` gets another one. None
    refers to its model, so that a model is freed with the last reference to it.
    """

    def __init__(self, compiled: Compiled) -> None:
        self._compiled = compiled
        self._idle: dict[Any, TrainFunction] = {}
        self._agreed_at = -1  # `changes()` when the weights were last compared
        self._stepping: dict[str, Any] = {}  # of steps that add up, by kind
        self._gradients: tuple[Any, Gradients] | None = None
        self._token = object()  # in every key: tells train functions of an earlier `compile`
        register_cache(self)

    def forget(self) -> None:
        """Drop all train functions, including running ones."""
        self.outdate()
        self._stepping.clear()

    def outdate(self) -> None:
        """Recreate all train functions; those of single batches keep their sums."""
        self._idle.clear()
        self._gradients = None
        self._token = object()

    def take(self, model: TrainableModel, kind: str, arrays: Arrays, rows: int) -> TrainFunction:
        """Train function for data like `arrays` in batches of `rows`, "train" or "test"."""
        resolved = self._compiled.resolved
        assert resolved is not None
        if kind == "train":
            self._agree_on_variables(model)
        form = arrays.form or self._form(model, arrays, resolved)
        # Batches of several sizes may differ in rows, too: one for the most rows runs all.
        most = rows if form.inputs is None else None
        key = (self._token, kind, most, form.key, *ranks.key())
        return self._kept(key, resolved) or self._make(model, key, form, resolved, rows)

    def _kept(self, key: Any, resolved: Resolved) -> TrainFunction | None:
        """Cached train function of a key, if it has the current losses."""
        found = self._idle.pop(key, None)
        return found if found is not None and found.resolved.losses is resolved.losses else None

    def _form(self, model: TrainableModel, arrays: Arrays, resolved: Resolved) -> Form:
        return form_of(
            arrays, resolved, self._compiled.custom_loss, model._graph_of_model.takes_sizes()
        )

    def _make(
        self,
        model: TrainableModel,
        key: tuple[Any, ...],
        form: Form,
        resolved: Resolved,
        rows: int,
    ) -> TrainFunction:
        kind = key[1]
        training = kind == "train"
        scale = getattr(self._compiled.optimizer, "dynamic_scale", None) if training else None
        plan = plan_of(model, resolved, form, training, scale, rows)
        only = names_of(model.metrics) if overrides(type(model), "metrics") else None
        agreed = self._compiled.variables if training else None
        variables = model.trainable_variables if agreed is None else agreed
        layers = model._flatten_layers() if training else []
        prepared = [each._before_step for each in layers if hasattr(each, "_before_step")]
        given = resolved, self._compiled, variables, rows, training, key, only, prepared, key[4]
        searches = training and self._compiled.optimizer.whole_batch
        if plan.rows is None:
            train_function = (WholeBatchFunction if searches else TrainFunction)(plan, *given)
        else:
            known = weakref.ref(model)
            plans = functools.partial(_plan_for, known, resolved, form, training, scale)
            coupled = CoupledWholeBatchFunction if searches else CoupledFunction
            train_function = coupled(plan, plans, *given)
        if self._compiled.given["jit_compile"] is True and train_function.untraced:
            parts = "\n".join(map(str, train_function.untraced))
            raise ValueError(f"compile: jit_compile=True must be left out, since {parts}")
        for each in plan.program.hosted:
            each.tell()
        model._watch_layers()
        return train_function

    def stepping(
        self, model: TrainableModel, kind: str, arrays: Arrays, with_metrics: bool
    ) -> TrainFunction:
        """Train function of single batches, which is not reset between them.

        Args:
            kind: "train" or "test".
            arrays: the batch.
            with_metrics: whether the metrics of `compile` are part of it.
        """
        resolved = self._compiled.resolved
        assert resolved is not None
        if kind == "train":
            self._agree_on_variables(model)
        if not with_metrics:
            resolved = resolved._replace(metrics=())
        form = self._form(model, arrays, resolved)
        last = self._stepping.get(kind)
        train_function: Any = last
        # Metrics need the outputs of all rows.
        shared = ranks.current() if with_metrics else None
        shared_key = (form.key, shared, *ranks.key()[1:])
        others = last is not None and last.resolved.losses is not resolved.losses
        same = train_function is not None and train_function.key[0] is self._token
        if train_function is None or not same or others or train_function.key[3:] != shared_key:
            key = (self._token, kind, "steps", *shared_key)
            train_function = self._kept(key, resolved)
            if train_function is None:
                train_function = self._make(model, key, form, resolved, arrays.samples)
            if last is None:
                train_function.reset()
            else:
                train_function.go_on_from(last)
                self.give_back(last)
            self._stepping[kind] = train_function
        made: TrainFunction = train_function
        return made

    def sums(self) -> dict[str, Sums]:
        """Sums of `stepping`'s batches, by kind."""
        return {kind: Sums(each) for kind, each in self._stepping.items()}

    @contextmanager
    def apart(self, sums: dict[str, Sums]) -> Iterator[None]:
        """Context in which `stepping` goes on from given sums; after it, those from before hold."""
        before, self._stepping = self._stepping, dict(sums)
        try:
            yield
        finally:
            self._stepping = before

    def steps_in_core(self, kind: str) -> bool:
        """Whether `stepping`'s batches of a kind run without Python code of users."""
        found = self._stepping.get(kind)
        return found is not None and found.is_compiled

    def reset_steps(self) -> None:
        """Reset the sums of `stepping`'s batches."""
        for train_function in self._stepping.values():
            train_function.reset()

    def gradients(self, model: TrainableModel, arrays: Arrays) -> Gradients:
        """Gatherer of gradients for batches like `arrays`; the last one is cached."""
        resolved = self._compiled.resolved
        assert resolved is not None
        rows, variables = arrays.samples, model.trainable_variables
        form = self._form(model, arrays, resolved)
        key = (rows, form.key, [id(v) for v in variables])
        if self._gradients is None or self._gradients[0] != key:
            plan = plan_of(model, resolved, form, rows=rows)
            model._watch_layers()
            self._gradients = key, Gradients(plan, resolved, variables)
        return self._gradients[1]

    def give_back(self, train_function: TrainFunction) -> None:
        """Cache a train function for the next run."""
        if train_function.key[0] is self._token:
            self._idle[train_function.key] = train_function
            if train_function.key[3].inputs is None:
                while len(self._idle) > _KEPT:
                    del self._idle[next(iter(self._idle))]
            elif train_function.grew:
                train_function.grew = False
                trim(self._idle, lambda each: each.executor.memory()[0], _KEPT)

    def draw_from(self, seeds: dict[int, int]) -> None:
        """Let idle train functions draw from other seeds in place of those of their layers."""
        for each in self._idle.values():
            members = Members(each.executor, [])
            members.take_in([], [seeds[seed] for seed in members.seeds])

    def agree(self, variables: list[Any]) -> None:
        """Fix the trained weights as those that the optimizer was built with."""
        self._compiled.variables, self._agreed_at = variables, changes()

    def _agree_on_variables(self, model: TrainableModel) -> None:
        """Fix the trained weights of a model at the first step, until the next compile."""
        compiled = self._compiled
        if self._agreed_at == changes() and compiled.variables is not None:
            return
        now = model.trainable_variables
        if compiled.variables is None:
            if not now:
                _warn_of_nothing(model)
            compiled.optimizer.build(now)
            self.agree(now)
        elif [id(v) for v in now] != [id(v) for v in compiled.variables]:
            raise ValueError(
                f"{model.name}: layers have changed their `trainable` since training began: there "
                f"must be {len(compiled.variables)} trainable weights, got {len(now)}; call "
                "compile() again"
            )
        self._agreed_at = changes()


def _plan_for(
    model: weakref.ref[Any],
    resolved: Resolved,
    form: Form,
    training: bool,
    scale: Any,
    rows: int,
) -> Plan:
    """Plan of a model that is still there, for batches of `rows`."""
    known = model()
    assert known is not None
    return plan_of(known, resolved, form, training, scale, rows)


def _warn_of_nothing(model: TrainableModel) -> None:
    """Warn that training changes nothing, as in GAN recipes for Keras 2."""
    has = "it has none" if not model.weights else "`trainable` is False"
    advice = ""
    if model.weights:
        advice = (
            ": what counts is `trainable` when the first step is made, not when compile() is "
            "called. To train a model that is frozen within another one, set its trainable = True "
            "before each of its own steps, and False before those of the other"
        )
    warn(f"{model.name}: no weight is trainable, since {has}: training changes nothing{advice}")
