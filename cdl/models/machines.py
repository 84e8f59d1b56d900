"""machines.py - what a model keeps between runs: what compile made, engines, the last values."""

import weakref
from typing import Any

from cdl.callbacks import History
from cdl.models.arrays import Arrays
from cdl.models.compiled import Compiled, Settled
from cdl.models.engine import Engine
from cdl.models.gradients import Gradients
from cdl.models.inference import Predictors
from cdl.models.interface import Interface
from cdl.models.loops import in_order
from cdl.models.lowering import Rows, lower_training

# Each keeps the activations of a batch: enough for training, evaluation, both with weights, and a
# last batch of another size in train_on_batch; few enough that sizes which came once go away.
_KEPT = 8
_NONE: tuple[Any, ...] = (None,)


class Machines:
    """Engines by kind of run, rows of a batch, and form of the data.

    An engine that runs is not here, so a callback that evaluates within `fit` gets another one. No
    engine knows its model, so that a model's memory goes with the last reference to it.
    """

    def __init__(self, compiled: Compiled) -> None:
        self._compiled = compiled
        self._idle: dict[Any, Engine] = {}
        self._gradients: tuple[Any, Gradients] | None = None
        self._token = object()  # the first part of every key, for engines of former Machines

    def take(self, model: Any, kind: str, arrays: Arrays, rows: int) -> Engine:
        """An engine for data like `arrays` in batches of `rows`, "train" or "test"."""
        settled = self._compiled.settled
        assert settled is not None
        if kind == "train":
            self._agree_on_variables(model)
        weights, shapes = _forms(arrays, settled)
        key = (self._token, kind, rows, weights, shapes)
        engine = self._idle.pop(key, None)
        if engine is None:
            plan = lower_training(model, settled, weights, shapes, kind == "train")
            variables = model.trainable_variables
            engine = Engine(plan, settled, self._compiled, variables, rows, kind == "train", key)
        return engine

    def gradients(self, model: Any, arrays: Arrays) -> Gradients:
        """What gathers gradients of batches like `arrays`; the last one is kept."""
        settled = self._compiled.settled
        assert settled is not None
        rows, variables = arrays.samples, model.trainable_variables
        weights, shapes = _forms(arrays, settled)
        key = (rows, weights, shapes, [id(v) for v in variables])
        if self._gradients is None or self._gradients[0] != key:
            plan = lower_training(model, settled, weights, shapes)
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
        now = model.trainable_variables
        if compiled.variables is None:
            compiled.optimizer.build(now)
            compiled.variables = now
        elif [id(v) for v in now] != [id(v) for v in compiled.variables]:
            raise ValueError(
                f"{model.name}: layers have changed their `trainable` since training began: "
                f"expected {len(compiled.variables)} trainable weights, got {len(now)}; "
                "call compile() again"
            )


def _forms(arrays: Arrays, settled: Settled) -> tuple[Rows, Rows]:
    """What programs depend on: shapes of rows of the weights and the targets, output by output.

    The core only counts the elements of a row of y, unless somebody sees its shape.
    """
    shapes = weights = _NONE * len(arrays.y)
    if settled.reads_y_as_it_is:
        pairs = zip(arrays.y, [head.reads_y_as_it_is for head in settled.heads], strict=True)
        shapes = tuple(y.shape[1:] if y is not None and seen else None for y, seen in pairs)
    if arrays.weight is not None:
        weights = tuple(None if w is None else w.shape[1:] for w in arrays.weight)
    return weights, shapes


class CompiledState(Interface):
    """Base of Trainer: its state, and what can be asked about it."""

    _compiled: Compiled | None = None
    _machines: Machines | None = None
    _predictors_made: Predictors | None = None
    _last_engine: Engine | None = None  # whose values `metrics` shows
    _last_fit: tuple[weakref.ref[History], dict[str, Any]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """What a pickle or a copy holds: all but the programs, which are made again on demand."""
        state = dict(vars(self))
        for name in ("_machines", "_predictors_made", "_last_engine"):
            state.pop(name, None)
        if self._last_fit is not None:
            state["_last_fit"] = dict(vars(self.history), model=None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        values = state.pop("_last_fit", None)
        vars(self).update(state)
        if self._compiled is not None:
            self._machines = Machines(self._compiled)
        if values is not None:
            history = History()
            vars(history).update(values)
            self.history = history

    @property
    def history(self) -> History:
        """The History of the last `fit`; AttributeError before the first."""
        if self._last_fit is None:
            raise AttributeError(f"{type(self).__name__} has no history: call fit() first")
        reference, values = self._last_fit
        history = reference()
        if history is None:
            history = History()
            vars(history).update(values)
            self.history = history
        return history

    @history.setter
    def history(self, history: History) -> None:
        # Only a weak reference: a History holds its model, and memory must go with the last
        # reference to a model without waiting for a collection of circles.
        values = {name: value for name, value in vars(history).items() if value is not self}
        self._last_fit = weakref.ref(history), values
        history.set_model(self)

    @property
    def compiled(self) -> bool:
        """Whether `compile` has been called."""
        return self._compiled is not None

    def _compiled_for(self, call: str, trains: bool = False) -> Compiled:
        compiled = self._compiled
        if compiled is None:
            raise ValueError(f"{call}: the model must be compiled first: call compile()")
        if trains and not compiled.has_loss:
            raise ValueError(f"{call}: the model must be compiled with a loss, got loss=None")
        return compiled

    def _engine(self, compiled: Compiled, kind: str, arrays: Arrays, rows: int) -> Engine:
        assert self._machines is not None and compiled is self._compiled
        return self._machines.take(self, kind, arrays, rows)

    def _release(self, engine: Engine) -> None:
        engine.release()
        if self._machines is not None:
            self._machines.give_back(engine)

    def _predictors(self) -> Predictors:
        if self._predictors_made is None:
            self._predictors_made = Predictors(self)
        return self._predictors_made

    def _forget_programs(self) -> None:
        """The layers have changed: nothing that was lowered from them is true any more."""
        self._predictors_made = None
        if self._compiled is not None:
            self._compiled.settled = None
            self._compiled.variables = None
            self._machines = Machines(self._compiled)

    @property
    def optimizer(self) -> Any:
        """The Optimizer, once compiled."""
        if self._compiled is None:
            raise AttributeError(f"{type(self).__name__} has no optimizer: call compile() first")
        return self._compiled.optimizer

    @property
    def metrics(self) -> list[Any]:
        """The Metrics with their last values; none before the first data settle which they are."""
        settled = self._compiled.settled if self._compiled is not None else None
        if settled is None:
            return []
        if self._last_engine is not None:
            self._last_engine.share_totals()
        return [each.metric for each in settled.metrics]

    @property
    def metrics_names(self) -> list[str]:
        """Names as Keras gives them: the loss, all metrics together, losses of several outputs."""
        if self._compiled is None:
            return []
        names = ["loss", "compile_metrics"] if self._compiled.has_metrics else ["loss"]
        settled = self._compiled.settled
        heads = [settled.heads[i] for i in settled.logged] if settled is not None else []
        return names + [head.logged for head in heads if head.logged is not None]

    def get_metrics_result(self) -> dict[str, float]:
        """Loss and metrics of the last run, by name."""
        return in_order(self._last_engine.results()) if self._last_engine else {}

    def reset_metrics(self) -> None:
        """Forget what loss and metrics have added up; every run does this itself."""
        if self._last_engine is not None:
            self._last_engine.reset()
            self._last_engine.share_totals()

    @property
    def loss(self) -> Any:
        """The loss as `compile` was given it."""
        if self._compiled is None:
            raise AttributeError(f"{type(self).__name__} has no loss: call compile() first")
        return self._compiled.given["loss"]
