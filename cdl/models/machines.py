"""machines.py - Machines: the engines that a compiled model keeps between runs."""

from typing import Any

from cdl.layers.weighted import changes
from cdl.models.arrays import Arrays
from cdl.models.compiled import Compiled, Settled
from cdl.models.engine import Engine
from cdl.models.gradients import Gradients
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
        key = (self._token, kind, rows, *_forms(arrays, settled))
        return self._idle.pop(key, None) or self._make(model, key, settled)

    def _make(self, model: Any, key: tuple[Any, ...], settled: Settled) -> Engine:
        _, kind, rows, weights, shapes = key
        training = kind == "train"
        plan = lower_training(model, settled, weights, shapes, training)
        variables = model.trainable_variables
        return Engine(plan, settled, self._compiled, variables, rows, training, key)

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
        forms = _forms(arrays, settled)
        engine = self._stepping.get(kind)
        if engine is None or engine.key[3:] != forms:
            key = (self._token, kind, arrays.samples, *forms)
            engine = self._stepping[kind] = self._make(model, key, settled)
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
        if self._agreed_at == changes() and compiled.variables is not None:
            return
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
        self._agreed_at = changes()


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
