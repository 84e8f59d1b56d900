"""machines.py - Machines: the engines of a compiled model, made once and kept for the next run."""

from typing import Any

from cdl import losses, metrics
from cdl.models.compiled import Compiled
from cdl.models.engine import Arrays, Engine
from cdl.models.lowering import lower_training

# Each keeps the activations of a batch: enough for training, evaluation, both with weights, and a
# last batch of another size in train_on_batch; few enough that sizes which came once go away.
_KEPT = 8


class Machines:
    """Engines by kind of run, rows of a batch, and form of the data.

    An engine that runs is not here, so a callback that evaluates within `fit` gets another one.
    """

    def __init__(self, model: Any, compiled: Compiled) -> None:
        self._model = model
        self._compiled = compiled
        self._idle: dict[Any, Engine] = {}

    def take(self, kind: str, arrays: Arrays, rows: int) -> Engine:
        """An engine for data like `arrays` in batches of `rows`, "train" or "test"."""
        if kind == "train":
            self._agree_on_variables()
        key = (kind, rows, arrays.weight is not None, self._form_of_y(arrays))
        engine = self._idle.pop(key, None)
        return engine if engine is not None else self._make(key, arrays)

    def _form_of_y(self, arrays: Arrays) -> Any:
        """The shape of a row of y where Python code sees it; the core only counts elements."""
        settled = self._compiled.settled
        assert settled is not None
        all_compiled = (settled.loss is None or losses.is_compiled(settled.loss)) and all(
            metrics.is_compiled(metric) for _, metric, _ in settled.metrics
        )
        return None if all_compiled or arrays.y is None else arrays.y.shape[1:]

    def _make(self, key: tuple[str, int, bool, Any], arrays: Arrays) -> Engine:
        kind, rows, weighted, _ = key
        settled = self._compiled.settled
        assert settled is not None
        y_shape = () if arrays.y is None else arrays.y.shape[1:]
        training = kind == "train"
        plan = lower_training(
            self._model, settled, self._compiled.scale, weighted, y_shape, training
        )

        def give_back(engine: Engine) -> None:
            self._idle[key] = engine
            while len(self._idle) > _KEPT:
                del self._idle[next(iter(self._idle))]

        return Engine(plan, settled, self._compiled, rows, training, give_back)

    def _agree_on_variables(self) -> None:
        """The weights that training changes are those of its first step, until the next compile."""
        compiled = self._compiled
        now = self._model.trainable_variables
        if compiled.variables is None:
            compiled.optimizer.build(now)
            compiled.variables = now
        elif [id(v) for v in now] != [id(v) for v in compiled.variables]:
            raise ValueError(
                f"{self._model.name}: layers have changed their `trainable` since training began: "
                f"expected {len(compiled.variables)} trainable weights, got {len(now)}; "
                "call compile() again"
            )
