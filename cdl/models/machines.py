"""machines.py - Machines: the engines that a compiled model keeps between runs."""

from typing import Any

from cdl._hints import warn
from cdl.layers.weighted import changes
from cdl.models.arrays import Arrays
from cdl.models.compiled import Compiled, Settled
from cdl.models.engine import Engine
from cdl.models.gradients import Gradients
from cdl.models.lowering import lower_training
from cdl.models.own_steps import names_of, overrides
from cdl.models.plans import Form, form_of

# Each keeps the activations of a batch: enough for training, evaluation, both with weights, and a
# last batch of another size in train_on_batch; few enough that sizes which came once go away.
_KEPT = 8


class Machines:
    """Engines by kind of run, rows of a batch, and form of the data.

    An engine that runs is not here, so a callback that evaluates within `fit` gets another one. No
    engine knows its model, so that a model's memory goes with the last reference to it.
    """

    def __init__(self, compiled: Compiled) -> None:
        self._compiled = compiled
        self._idle: dict[Any, Engine] = {}
        self._agreed_at = -1  # what `changes` said
        self._stepping: dict[str, Engine] = {}  # of steps that add up, by kind
        self._gradients: tuple[Any, Gradients] | None = None
        self._token = object()  # the first part of every key, for engines of former Machines

    def take(self, model: Any, kind: str, arrays: Arrays, rows: int) -> Engine:
        """An engine for data like `arrays` in batches of `rows`, "train" or "test"."""
        settled = self._compiled.settled
        assert settled is not None
        if kind == "train":
            self._agree_on_variables(model)
        form = form_of(arrays, settled, self._compiled.own_loss)
        key = (self._token, kind, rows, form.key)
        return self._idle.pop(key, None) or self._make(model, key, form, settled)

    def _make(self, model: Any, key: tuple[Any, ...], form: Form, settled: Settled) -> Engine:
        _, kind, rows, _ = key
        training = kind == "train"
        plan = lower_training(model, settled, form, training)
        only = names_of(model.metrics) if overrides(type(model), "metrics") else None
        variables = model.trainable_variables
        engine = Engine(plan, settled, self._compiled, variables, rows, training, key, only)
        if self._compiled.given["jit_compile"] is True and engine.untraced:
            parts = "\n".join(map(str, engine.untraced))
            raise ValueError(f"compile: jit_compile=True must be left out, since {parts}")
        for each in plan.program.hosted:
            each.tell()
        return engine

    def stepping(self, model: Any, kind: str, arrays: Arrays, with_metrics: bool) -> Engine:
        """An engine that one batch after the other goes through, and that is not reset between.

        Args:
            model: the model.
            kind: "train" or "test".
            arrays: the batch.
            with_metrics: whether the metrics of `compile` are part of it.
        """
        settled = self._compiled.settled
        assert settled is not None
        if kind == "train":
            self._agree_on_variables(model)
        if not with_metrics:
            settled = settled._replace(metrics=())
        form = form_of(arrays, settled, self._compiled.own_loss)
        engine = self._stepping.get(kind)
        if engine is None or engine.key[3] != form.key:
            key = (self._token, kind, arrays.samples, form.key)
            engine = self._stepping[kind] = self._make(model, key, form, settled)
        return engine

    def reset_steps(self) -> None:
        """Forget what the batches of `stepping` have added up."""
        for engine in self._stepping.values():
            engine.reset()

    def gradients(self, model: Any, arrays: Arrays) -> Gradients:
        """What gathers gradients of batches like `arrays`; the last one is kept."""
        settled = self._compiled.settled
        assert settled is not None
        rows, variables = arrays.samples, model.trainable_variables
        form = form_of(arrays, settled, self._compiled.own_loss)
        key = (rows, form.key, [id(v) for v in variables])
        if self._gradients is None or self._gradients[0] != key:
            plan = lower_training(model, settled, form)
            self._gradients = key, Gradients(plan, settled, variables, rows)
        return self._gradients[1]

    def give_back(self, engine: Engine) -> None:
        """Keep an engine for the next run, if it is one of these."""
        if engine.key[0] is self._token:
            self._idle[engine.key] = engine
            while len(self._idle) > _KEPT:
                del self._idle[next(iter(self._idle))]

    def _agree_on_variables(self, model: Any) -> None:
        """The weights that training changes are those of its first step, until the next compile."""
        compiled = self._compiled
        if self._agreed_at == changes() and compiled.variables is not None:
            return
        now = model.trainable_variables
        if compiled.variables is None:
            if not now:
                _warn_of_nothing(model)
            compiled.optimizer.build(now)
            compiled.variables = now
        elif [id(v) for v in now] != [id(v) for v in compiled.variables]:
            raise ValueError(
                f"{model.name}: layers have changed their `trainable` since training began: there "
                f"must be {len(compiled.variables)} trainable weights, got {len(now)}; call "
                "compile() again"
            )
        self._agreed_at = changes()


def _warn_of_nothing(model: Any) -> None:
    """Say that training changes nothing, as in the recipe of a GAN that was written for Keras 2."""
    has = "it has none" if not model.weights else "`trainable` is False"
    advice = ""
    if model.weights:
        advice = (
            ": what counts is `trainable` when the first step is made, not when compile() is "
            "called. To train a model that is frozen within another one, set its trainable = True "
            "before each of its own steps, and False before those of the other"
        )
    warn(f"{model.name}: no weight is trainable, since {has}: training changes nothing{advice}")
