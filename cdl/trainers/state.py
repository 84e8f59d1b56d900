"""CompiledState: a model's compilation and the state of its last run."""

import itertools
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cdl import optimizers
from cdl._common.overriding import overrides
from cdl._common.validation import expected
from cdl._variables.state_tree import assign_nested, nested_values
from cdl.callbacks import History
from cdl.layers.calling import is_scripted
from cdl.layers.kept import Watch
from cdl.layers.tracking import Tracking
from cdl.random import Kept
from cdl.trainers.compile_utils import Compiled
from cdl.trainers.custom.compile_metrics import LossAndMetrics
from cdl.trainers.custom.losses import Added
from cdl.trainers.custom.step_functions import Function, made
from cdl.trainers.custom.steps import CustomSteps, Nested, results_of, steps_itself
from cdl.trainers.data_adapter import Arrays
from cdl.trainers.epoch_iterator import in_order
from cdl.trainers.executor_cache import ExecutorCache
from cdl.trainers.frame_columns import Columns
from cdl.trainers.many.ended_run import RUNS, EndedRun
from cdl.trainers.predictors import Predictors
from cdl.trainers.signature import PartOfModel
from cdl.trainers.sizes import Rows, Sizes
from cdl.trainers.train_function import TrainFunction


class CompiledState(PartOfModel):
    """Base of Trainer: compilation state, its public properties, and functions of steps.

    Attributes:
        train_function: what `make_train_function` has made, or None.
        test_function: what `make_test_function` has made, or None.
        predict_function: what `make_predict_function` has made, or None.
    """

    train_function: Function | None = None
    test_function: Function | None = None
    predict_function: Function | None = None

    _compiled: Compiled | None = None
    _executors: ExecutorCache | None = None
    _predictors_made: Predictors | None = None  # the last ones
    _sizes_made: Sizes | None = None  # of a model that takes several sizes
    _watch: Watch | None = None  # of the layers since programs were made
    _last_train_function: TrainFunction | CustomSteps | EndedRun | None = None  # for `metrics`
    _stepped: TrainFunction | None = None  # of a default step, since `metrics` was read
    _loss_and_metrics_made: LossAndMetrics | None = None
    _states_of: tuple[int, int | None] = (-1, None)  # see arguments.batch_of_states
    _columns: Columns | None = None  # of the frames that it was trained on
    _added_to_loss: Added | None = None  # while compute_loss is traced
    _last_fit: tuple[weakref.ref[History], dict[str, Any]] | None = None
    _drawn: list[Iterator[int]] | None = None  # see _draw_counts
    # Random state of the file that the model was loaded from, and its optimizer's step in that.
    _random_state: tuple[Kept, int] | None = None

    # Attributes of compilation and runs, which a call does not read.
    _passing = Tracking._passing | frozenset(
        ("_added_to_loss", "_columns", "_compiled", "_drawn", "_executors", "_initial_epoch",
         "_last_fit", "_last_train_function", "_loss_and_metrics_made", "_own_loss",
         "_own_optimizer", "_predictors_made", "_random_state", "_sizes_made", "_states_of",
         "_stepped", "_watch", "history", "jit_compile", "loss", "optimizer",
         "steps_per_execution", "stop_evaluating", "stop_predicting", "stop_training")
    )  # fmt: skip

    def __getstate__(self) -> dict[str, Any]:
        """Attributes to pickle and copy: all but the programs, which are made on demand."""
        state = dict(vars(self))
        for name in (
            *("_executors", "_predictors_made", "_sizes_made", "_watch", "_last_train_function"),
            *("_drawn", "_loss_and_metrics_made", "_states_of", "_stepped"),
        ):
            state.pop(name, None)
        if "_without_inputs" in state:
            state["_without_inputs"] = {}
        if self._last_fit is not None:
            state["_last_fit"] = dict(vars(self.history), model=None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        values = state.pop("_last_fit", None)
        vars(self).update(state)
        if self._compiled is not None:
            self._executors = ExecutorCache(self._compiled)
        if values is not None:
            history = History()
            vars(history).update(values)
            self.history = history

    def _keep_random_state(self, state: Kept) -> None:
        """Store generator states from a file, for a `fit` that resumes there."""
        assert self._compiled is not None
        self._random_state = state, int(self._compiled.optimizer.iterations)

    def _restore_random_state(self, epochs: range) -> bool:
        """Restore generator states from the file, if these epochs resume there; whether.

        They do so if they are not the first ones and the model has not learned since. Whatever
        comes after them does not.
        """
        if self._random_state is None:
            return False
        (state, step), self._random_state = self._random_state, None
        if not epochs or not epochs.start or self._compiled is None:
            return False
        return step == int(self._compiled.optimizer.iterations) and state.restore()

    def _of_users(self) -> Any:
        """The user's model: this one, if it does not stand for another."""
        return self

    @property
    def history(self) -> History:
        """History of the last `fit`; AttributeError before the first."""
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
        values = dict(vars(history))
        if type(history) is History:
            values.pop("_model", None)
        else:
            values = {name: value for name, value in values.items() if value is not self}
        self._last_fit = weakref.ref(history), values
        history.set_model(self)

    @property
    def compiled(self) -> bool:
        """Whether `compile` has been called."""
        return self._compiled is not None

    def _compiled_for(self, call: str, trains: bool = False) -> Compiled:
        if (compiled := self._compiled) is None:
            raise ValueError(f"{call}: the model must be compiled first: call compile()")
        if trains and not compiled.has_loss and not self._may_have_loss():
            raise ValueError(f"{call}: the model must be compiled with a loss, got loss=None")
        if trains and not compiled.has_optimizer and not steps_itself(type(self), "train"):
            raise ValueError(f"{call}: the model must be compiled with an optimizer, got None")
        return compiled

    def _trained(self) -> list[Any]:
        """Weights that training changes, without a walk through the layers if it has begun."""
        begun = None if self._compiled is None else self._compiled.variables
        return self.trainable_variables if begun is None else begun

    def _may_have_loss(self) -> bool:
        """Whether user code may add a loss where `compile` has none."""
        cls = type(self)
        if steps_itself(cls, "train") or overrides(cls, "compute_loss"):
            return True
        return any(is_scripted(type(layer)) for layer in self._flatten_layers())

    def _train_function(
        self, compiled: Compiled, kind: str, arrays: Arrays | Nested, rows: int
    ) -> TrainFunction | CustomSteps:
        if isinstance(arrays, Nested):
            return CustomSteps(self, kind)
        machines = self._executors
        if machines is None or compiled is not self._compiled:
            machines = ExecutorCache(
                compiled
            )  # a callback has called compile: the run goes on as begun
        return machines.take(self, kind, arrays, rows)

    def _switched(
        self,
        train_function: TrainFunction | CustomSteps,
        compiled: Compiled,
        kind: str,
        arrays: Arrays | Nested,
    ) -> TrainFunction | CustomSteps:
        if isinstance(train_function, CustomSteps) or isinstance(arrays, Nested):
            return train_function
        if train_function.takes(arrays):
            return train_function
        other = self._train_function(compiled, kind, arrays, arrays.samples)
        assert isinstance(other, TrainFunction)
        other.go_on_from(train_function)
        self._release(train_function)
        if self._last_train_function is train_function:
            self._last_train_function = other
        return other

    def _release(self, train_function: TrainFunction | CustomSteps) -> None:
        train_function.release()
        self._give_back(train_function)

    def _give_back(self, train_function: TrainFunction | CustomSteps) -> None:
        if self._executors is not None and isinstance(train_function, TrainFunction):
            self._executors.give_back(train_function)

    def _loss_and_metrics(self, compiled: Compiled) -> LossAndMetrics:
        if (
            self._loss_and_metrics_made is None
            or self._loss_and_metrics_made.compiled is not compiled
        ):
            self._loss_and_metrics_made = LossAndMetrics(self, compiled)
        return self._loss_and_metrics_made

    def _counts_in_python(self) -> bool:
        """Whether Python counts the metrics, not the core."""
        return any(steps_itself(type(self), kind) for kind in ("train", "test"))

    def _python_metrics(self) -> list[Any]:
        """Loss and metrics of `compile`, and those that the model and its layers have."""
        found = [] if self._compiled is None else self._loss_and_metrics(self._compiled).all()
        return list({id(metric): metric for metric in found + self._held_metrics()}.values())

    def _held_metrics(self) -> list[Any]:
        """Metrics in attributes of the model and its layers; not those of models in it.

        What has a `compile` of its own counts for itself.
        """
        watch = self._watch if self._is_unchanged() else None
        if watch is not None and watch.metrics is not None:
            return list(watch.metrics)
        layers = [each for each in self.layers if not isinstance(each, CompiledState)]
        found = self._direct_metrics() + [metric for layer in layers for metric in layer.metrics]
        if watch is not None:
            within = [part for layer in layers for part in layer._flatten_layers()]
            if not any(overrides(type(each), "metrics") for each in within):
                watch.metrics = found
        return list(found)

    def _draw_counts(self, anew: bool = False) -> list[Iterator[int]]:
        """Counts of forward passes of training and of predictions, each with draws of its own.

        Programs come and go, with `compile` or a changed attribute: they go on from these.

        Args:
            anew: whether they begin again, as in a copy of the model.
        """
        if self._drawn is None:
            self._drawn = [itertools.count(), itertools.count(1)]
        elif anew:
            self._drawn[:] = itertools.count(), itertools.count(1)
        return self._drawn

    def _predictors(self, rows: Rows | None = None) -> Predictors:
        made = self._predictors_made
        if made is None or made.outdated or made.rows != rows:

            def make() -> Predictors:
                new = Predictors(self, rows)
                self._watch = new.watch
                return new

            if rows is None:
                made = make()
            else:
                sizes = self._sizes_made = self._sizes_made or Sizes()
                made = sizes.predictors(rows, make)
            made.watch = self._watch = self._watch or made.watch
            self._predictors_made = made
        return made

    def _watch_layers(self) -> None:
        """Start watching the layers for changes, after a program was made."""
        self._watch = Watch(self)
        if self._predictors_made is not None:
            self._predictors_made.watch = self._watch

    def _is_unchanged(self) -> bool:
        """Whether there are programs, and the attributes of layers are as they were for these."""
        watch = self._watch
        return watch is not None and (bool(watch.steady) or watch.holds())

    def _drop_stale_programs(self) -> bool:
        """Drop all programs if attributes of layers have changed; whether they had."""
        if self._watch is None or self._watch.holds():
            return False
        self._watch = self._predictors_made = self._sizes_made = None
        if self._executors is not None:
            self._executors.outdate()
        return True

    def _forget_programs(self) -> None:
        """Drop all that was lowered from the layers, which have changed."""
        self._predictors_made = self._sizes_made = None
        if self._compiled is not None:
            self._compiled.resolved = None
            self._compiled.variables = None
            self._executors = ExecutorCache(self._compiled)

    @property
    def optimizer(self) -> Any:
        """Optimizer of the compiled model; setting another one affects the next `fit` or batch."""
        if self._compiled is None:
            return self._own_attribute("optimizer")
        return self._compiled.optimizer if self._compiled.has_optimizer else None

    @optimizer.setter
    def optimizer(self, optimizer: Any) -> None:
        if self._compiled is None:
            vars(self)["_own_optimizer"] = optimizer
            return
        if not isinstance(optimizer, (str, Mapping, optimizers.Optimizer, type(None))):
            raise expected(
                type(self).__name__, "optimizer", "a name, config or Optimizer", optimizer
            )
        self._recompile(optimizer=optimizer)

    def _recompile(self, **changed: Any) -> None:
        """Replace some arguments of `compile`."""
        before = self._compiled
        assert before is not None
        given = {**before.given, "optimizer": self.optimizer, **changed}
        own = overrides(type(self), "compute_loss")
        names, nest = self._graph_of_model.output_names(), self._graph_of_model.output_nest()
        self._compiled = Compiled(given, names, nest, own, before.scales)
        self._forget_programs()

    def _own_attribute(self, name: str) -> Any:
        """User attribute with the name of an attribute that `compile` sets."""
        own = vars(self)
        if f"_own_{name}" not in own:
            raise AttributeError(f"{type(self).__name__} has no {name}: call compile() first")
        return own[f"_own_{name}"]

    @property
    def metrics(self) -> list[Any]:
        """Metrics as Keras lists them: the mean of the loss, all metrics of `compile` as one.

        Then come the losses of several outputs, and the Metrics that the model and its layers have
        as attributes. They have the values of the last run.
        """
        last, compiled = self._stepped or self._last_train_function, self._compiled
        self._stepped = None  # a custom step may update them from here on
        # Behind a callback that has called compile, the last run was by other losses.
        if isinstance(last, RUNS) and compiled and last.resolved.is_of(compiled.given):
            last.share_totals()
            compiled.resolved = compiled.resolved or last.resolved  # of one without some inputs
            self._loss_and_metrics(compiled).load(last.results())
        return self._python_metrics()

    def _taking(self, x: Any, call: str) -> tuple[Any, Any]:
        """Model that takes the user's inputs, and these: a Model may delegate to another."""
        del call
        return self, x

    def _taking_alike(self, model: Any, validation_data: Sequence[Any]) -> tuple[Any, ...]:
        """Validation data for the model that takes the inputs of `fit`.

        ValueError if other optional inputs are left out there.
        """
        x, *others = validation_data
        other, x = self._taking(x, "fit: validation_data")
        if other is not model:
            raise ValueError(
                "fit: validation_data must leave out the same optional inputs as x, got "
                f"{[each.name for each in other.inputs]} there and "
                f"{[each.name for each in model.inputs]} in x"
            )
        return x, *others

    @property
    def metrics_names(self) -> list[str]:
        """Names as in Keras: the loss, all metrics of `compile` together, other Metrics.

        These are losses of several outputs, and what the model and its layers have as attributes.
        """
        if overrides(type(self), "metrics"):
            return [metric.name for metric in self.metrics]
        if self._compiled is None:
            return []
        names = ["loss", "compile_metrics"] if self._compiled.has_metrics else ["loss"]
        resolved = self._compiled.resolved
        losses = () if resolved is None else resolved.losses
        names += [entry.logged for entry in losses if entry.logged is not None]
        return names + [metric.name for metric in self._held_metrics()]

    def get_metrics_result(self) -> dict[str, float]:
        """Loss and metrics of the last run, by name."""
        if self._counts_in_python():
            return in_order(results_of(self.metrics))
        return in_order(self._last_train_function.results()) if self._last_train_function else {}

    def get_state_tree(self, value_format: str = "backend_tensor") -> dict[str, Any]:
        """Values of all variables, nested by their paths.

        Args:
            value_format: "backend_tensor" or "numpy_array", which are the same here.

        Returns:
            A dict of "trainable_variables", "non_trainable_variables", "optimizer_variables" and
            "metrics_variables".

        Raises:
            ValueError: two variables of one path, or another format.
        """
        return {
            name: nested_values(variables, value_format)
            for name, variables in self._state_parts().items()
        }

    def set_state_tree(self, state_tree: dict[str, Any]) -> None:
        """Set variables from the tree of `get_state_tree`, or a part of it.

        Args:
            state_tree: the values.

        Raises:
            ValueError: another key.
        """
        parts = self._state_parts()
        for name, values in state_tree.items():
            if name not in parts:
                raise ValueError(
                    f"set_state_tree: state_tree must have keys among {list(parts)}, got {name!r}"
                )
            assign_nested(parts[name], values)

    def _state_parts(self) -> dict[str, list[Any]]:
        holder: Any = self
        optimizer = [] if self._compiled is None else getattr(self.optimizer, "variables", [])
        return {
            "trainable_variables": holder.trainable_variables,
            "non_trainable_variables": holder.non_trainable_variables,
            "optimizer_variables": optimizer,
            "metrics_variables": holder.metrics_variables,
        }

    def reset_metrics(self) -> None:
        """Reset loss and metrics; every run does this itself."""
        if isinstance(self._last_train_function, RUNS):
            self._last_train_function.reset()
            self._last_train_function.share_totals()
        for each in (self, *getattr(self, "_without_inputs", {}).values()):
            if each._executors is not None:
                each._executors.reset_steps()
        if self._counts_in_python():
            for metric in self.metrics:
                metric.reset_state()

    @property
    def loss(self) -> Any:
        """Loss as `compile` was given it; setting another one affects the next `fit` or batch.

        A model with a `train_step` of its own has it for that, and `fit` as compiled.
        """
        if self._compiled is None or "_own_loss" in vars(self):
            return self._own_attribute("loss")
        return self._compiled.given["loss"]

    @loss.setter
    def loss(self, loss: Any) -> None:
        compiled = self._compiled
        if compiled is None or steps_itself(type(self), "train"):  # which makes use of it
            vars(self)["_own_loss"] = loss
            return
        self._recompile(loss=loss)

    def make_train_function(self, force: bool = False) -> Function:
        """Make `train_function`, which runs `train_step` on the next batch of an iterator.

        `fit` needs none, and follows frozen layers and other changes by itself. A class that
        overrides this method has its function called for each batch.

        Args:
            force: whether a new one replaces the one that there is.

        Returns:
            The function.
        """
        return made(self, "train", force)

    def make_test_function(self, force: bool = False) -> Function:
        """Make `test_function`, which runs `test_step`; see `make_train_function`.

        Args:
            force: as there.
        """
        return made(self, "test", force)

    def make_predict_function(self, force: bool = False) -> Function:
        """Make `predict_function`, which runs `predict_step`; see `make_train_function`.

        Args:
            force: as there.
        """
        return made(self, "predict", force)
