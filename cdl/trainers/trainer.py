"""Trainer: the part of a model that compiles, fits, evaluates and predicts."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from cdl._common.errors import hint, hinted, shown_as, warn
from cdl._common.overriding import overrides
from cdl._ir.program import Program
from cdl._variables.stepping import whole
from cdl.callbacks import History
from cdl.callbacks.callback import Callback
from cdl.compat import renamed
from cdl.distribution import ranks
from cdl.optimizers.python_optimizer import APPLYING
from cdl.trainers import arguments, fit_loop, predict
from cdl.trainers.compile_utils import Compiled
from cdl.trainers.custom.coupled import program_of
from cdl.trainers.custom.steps import flat_logs, results_of, steps_itself
from cdl.trainers.data_adapter import training_data
from cdl.trainers.epoch_iterator import in_order
from cdl.trainers.executor_cache import ExecutorCache
from cdl.trainers.one_batch import on_batch
from cdl.trainers.state import CompiledState
from cdl.utils import display
from cdl.utils.tuples import unpack_x_y_sample_weight


class Trainer(CompiledState):
    """Mixin of models: compile, fit, evaluate and predict.

    A class that overrides `train_step`, `test_step` or `predict_step` is called batch by batch,
    with NumPy arrays in the structure in which the data were given; so is one that overrides
    `compute_metrics`. All others run their epochs within the core.

    Attributes:
        stop_training: set it, as from a callback, to end `fit` after the batch that runs.
        stop_evaluating: the same for `evaluate`.
        stop_predicting: the same for `predict`.
    """

    stop_training = False
    stop_evaluating = False
    stop_predicting = False
    _initial_epoch: int | None = None  # set in on_train_begin, to go on with an earlier fit
    steps_per_execution = 1
    _eager = False  # what `run_eagerly` was set to before `compile`
    jit_compile: bool | str = True

    # --- one batch ---

    def train_step(self, data: Any) -> dict[str, Any]:
        """Train with one batch, adding to loss and metrics; to be overridden.

        Args:
            data: `(x, y)` or `(x, y, sample_weight)`, or x alone.

        Returns:
            Loss and metrics so far, by name.
        """
        return self._default_step("train", data)

    def test_step(self, data: Any) -> dict[str, Any]:
        """Evaluate one batch, adding to loss and metrics; to be overridden, like `train_step`."""
        return self._default_step("test", data)

    def predict_step(self, data: Any) -> Any:
        """Predict the outputs of one batch; to be overridden."""
        return self(unpack_x_y_sample_weight(data)[0], training=False)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Total loss of a batch of arrays: that of `compile`, and those of layers.

        Args:
            x: the inputs, which the loss of `compile` does not look at.
            y: the targets.
            y_pred: what the model has put out.
            sample_weight: weights of samples.
            training: whether it is to be trained by it.

        Raises:
            ValueError: before `compile`, without any loss, or for data that do not fit.
        """
        compiled = self._compiled_for("compute_loss")
        losses = [self._loss_and_metrics(compiled).compute_loss(y, y_pred, sample_weight)]
        losses = [each for each in (*losses, *self.losses) if each is not None]
        if not losses:
            raise ValueError("compute_loss: the model must be compiled with a loss, got loss=None")
        total = losses[0]
        for each in losses[1:]:
            total = total + each
        return total

    @property
    def losses(self) -> list[Any]:
        """Losses added by layers: numbers, of their last calls on arrays and their weights.

        Within a `compute_loss` that is traced they are symbolic.
        """
        return super().losses if self._added_to_loss is None else self._added_to_loss.losses

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        """Update the metrics of `compile` by a batch of arrays; all values by name.

        Args:
            x: the inputs.
            y: the targets.
            y_pred: what the model has put out.
            sample_weight: weights of samples.
        """
        kept = self._loss_and_metrics(self._compiled_for("compute_metrics"))
        # Behind a step of cdl.Model, metrics have its values.
        found = self.metrics if self._stepped else self._python_metrics()
        if kept.has_metrics:
            kept.metrics.update_state(y, y_pred, sample_weight)
        return results_of(found)

    @whole
    def _default_step(self, kind: str, data: Any) -> dict[str, Any]:
        """Run one batch in the core, as `train_on_batch` does, without resetting metrics."""
        call, (x, y, weight) = f"{kind}_step", unpack_x_y_sample_weight(data)
        compiled = self._compiled_for(call, trains=kind == "train")
        arrays = training_data(self, compiled, x, y, weight, None, call)
        counts = overrides(type(self), "compute_metrics")
        assert self._executors is not None
        train_function = self._executors.stepping(self, kind, arrays, with_metrics=not counts)
        try:
            train_function.begin(arrays, arrays.samples)
            train_function.run(1, 0.0)
            logs, self._stepped = train_function.results(), train_function
            if counts:
                self._loss_and_metrics(compiled).load(logs)
                y_pred = self._graph_of_model.packed_outputs(train_function.outputs())
                logs = flat_logs(self.compute_metrics(x, y, y_pred, weight))
        finally:
            train_function.release()
        return in_order(logs)

    def gradients(
        self, x: Any, y: Any = None, sample_weight: Any = None
    ) -> dict[str, NDArray[np.float32]]:
        """Gradient of a batch's loss by each trainable weight; nothing is changed.

        The loss is that of `compile` and of the regularizers, as in the next training step: with
        dropout, if the model has any. ::

            gradients = model.gradients(x, y)
            model.optimizer.apply_gradients(
                zip(gradients.values(), model.trainable_variables)
            )

        Args:
            x: the batch, as in `fit`.
            y: its targets.
            sample_weight: its weights.

        Returns:
            An array of each weight's shape by its `path`, that of a second such weight by `path_1`,
            in the order of `trainable_variables`.

        Raises:
            ValueError: before `compile`, or for data that do not fit.
        """
        compiled = self._compiled_for("gradients", trains=True)
        arrays = training_data(self, compiled, x, y, sample_weight, None, "gradients")
        assert self._executors is not None
        step: int = compiled.optimizer.step
        return self._executors.gradients(self, arrays).of(arrays, step)

    # --- runs of many batches ---

    @hinted
    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        jit_compile: bool | str = "auto",
        auto_scale_loss: bool = True,
    ) -> None:
        """Configure training: the optimizer, the loss and the metrics.

        Weights stay as they are; an optimizer that is new starts anew.

        Args:
            optimizer: a name, config or Optimizer; None for a model that is not trained.
            loss: a name, a Loss, or a function `f(y_true, y_pred)` in NumPy or `cdl.ops`.
            loss_weights: what the loss is multiplied by.
            metrics: names, Metrics or functions; 'accuracy' is chosen by the shapes of the data.
            weighted_metrics: the same, for metrics that sample and class weights count in.
            run_eagerly: whether the user's losses, metrics, penalties and the `call` of the user's
                layers and models are called with the arrays of each batch, for prints, breakpoints
                and checks in them. What is learned comes from the traced code all the same.
            steps_per_execution: batches between two calls of the batch hooks of callbacks.
            jit_compile: True refuses the user's code that cannot be compiled, with the reason;
                with "auto" or False such code runs in Python on each batch, and a warning says so.
            auto_scale_loss: whether the optimizer of a model of the policy "mixed_float16" is
                wrapped in a `LossScaleOptimizer`.

        Raises:
            ValueError: for an unknown name, or what cannot be used as one of these.

        Examples:
            >>> model = cdl.Sequential([cdl.Input((2,)), cdl.layers.Dense(1, activation="sigmoid")])
            >>> model.compile("adamw", "binary_crossentropy", metrics=["accuracy", "auc"])
        """
        steps_per_execution = arguments.whole(
            steps_per_execution, "compile: steps_per_execution", 1
        )
        run_eagerly = arguments.switch(run_eagerly, "compile: run_eagerly")
        auto_scale_loss = arguments.switch(auto_scale_loss, "compile: auto_scale_loss")
        if jit_compile != "auto":
            jit_compile = arguments.switch(jit_compile, "compile: jit_compile")
        if run_eagerly and jit_compile is True:
            jit_compile = False
            warn("compile: jit_compile=True is turned off, since run_eagerly=True is given")
        given = {
            "optimizer": optimizer,
            "loss": loss,
            "loss_weights": loss_weights,
            "metrics": metrics,
            "weighted_metrics": weighted_metrics,
            "run_eagerly": run_eagerly,
            "steps_per_execution": steps_per_execution,
            "jit_compile": jit_compile,
        }
        custom_loss, graph = overrides(type(self), "compute_loss"), self._graph_of_model
        scales = auto_scale_loss and self.dtype_policy.name == "mixed_float16"
        compiled = Compiled(
            given,
            graph.output_names(),
            graph.output_nest(),
            custom_loss,
            scales,
        )
        if jit_compile is True:
            self._check_compiles(compiled)
        self._compiled = compiled
        self._executors = ExecutorCache(compiled)
        self._last_train_function = None
        for name in ("_own_optimizer", "_own_loss"):
            vars(self).pop(name, None)
        if run_eagerly:
            self._predictors_made = self._sizes_made = None
        self.jit_compile = True if jit_compile == "auto" else jit_compile
        self.steps_per_execution = steps_per_execution
        self.stop_training = False

    @property
    def run_eagerly(self) -> bool:
        """Whether user code sees the arrays of each batch: see `compile`."""
        return self._eager if self._compiled is None else self._compiled.given["run_eagerly"]

    @run_eagerly.setter
    def run_eagerly(self, value: bool) -> None:
        self._eager = arguments.switch(value, "run_eagerly")
        if self._compiled is not None:
            self._compiled.given["run_eagerly"] = self._eager
        self._forget_programs()

    def _check_compiles(self, compiled: Compiled) -> None:
        """ValueError for steps that are Python code; others are found with the data."""
        cls, own = type(self), type(compiled.optimizer)
        kinds, names = ("train", "test"), ("update_step", *APPLYING)
        parts = [f"{cls.__name__}.{kind}_step" for kind in kinds if steps_itself(cls, kind)]
        parts += [f"{own.__name__}.{name}" for name in names if overrides(own, name)]
        if parts:
            raise ValueError(
                f"compile: jit_compile=True must be left out, since {' and '.join(parts)} of one's "
                "own runs in Python on each batch"
            )

    @hinted
    @renamed(nb_epoch="epochs")
    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool | str = True,
        class_weight: Any = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int = 1,
    ) -> History:
        """Train on data for `epochs - initial_epoch` passes; returns the History.

        Args:
            x: samples: an array, DataFrame or lists of numbers; a table or array larger than
                memory; or an iterable of batches `(x,)`, `(x, y)` or `(x, y, sample_weight)`.
            y: targets, or of a table the names of their columns.
            batch_size: rows of a batch, 32 unless `steps_per_epoch` says otherwise.
            epochs: the number of the last epoch, counted from 1.
            verbose: 0 silent, 1 a bar, 2 a line for each epoch; "auto" is 1.
            callbacks: a Callback or a list of them.
            validation_split: part of the rows, the last ones before any shuffling, to hold out.
            validation_data: `(x, y)`, `(x, y, sample_weight)` or an iterable of batches.
            shuffle: whether to take the rows in a new order in each epoch; "batch" keeps each
                batch's rows together.
            class_weight: {class: weight}; a class that is not in it weighs 1.
            sample_weight: a weight for each row, or of a table the name of their column.
            initial_epoch: the number of the first epoch, counted from 0; above 0 a model just
                loaded draws on as it did in its file, see `save`.
            steps_per_epoch: batches of an epoch; the next one goes on where it stopped.
            validation_steps: batches of a validation, from its first one.
            validation_batch_size: as `batch_size`, for validation.
            validation_freq: validate every so many epochs, or in a list of epochs counted from 1.

        Returns:
            The History: `history.history["loss"]` is a float for each epoch.

        Raises:
            ValueError: before `compile`, or for data or arguments that do not fit.
            TypeError: for arguments that are not what they should be at all.

        Examples:
            >>> x, y = np.arange(8, dtype="float32").reshape(4, 2), np.array([0, 0, 1, 1])
            >>> model = cdl.Sequential([cdl.layers.Dense(1)])
            >>> model.compile("adam", "mse")
            >>> history = model.fit(x, y, epochs=3, validation_split=0.25, verbose=0)
            >>> sorted(history.history), len(history.history["loss"])
            (['loss', 'val_loss'], 3)
        """
        model, x = self._taking(x, "fit")
        if isinstance(validation_data, (list, tuple)) and validation_data:
            validation_data = self._taking_alike(model, validation_data)
        with ranks.run():
            history = fit_loop.fit(
                model,
                x,
                y,
                batch_size=batch_size,
                epochs=epochs,
                verbose=verbose,
                callbacks=callbacks,
                validation_split=validation_split,
                validation_data=validation_data,
                shuffle=shuffle,
                class_weight=class_weight,
                sample_weight=sample_weight,
                initial_epoch=initial_epoch,
                steps_per_epoch=steps_per_epoch,
                validation_steps=validation_steps,
                validation_batch_size=validation_batch_size,
                validation_freq=validation_freq,
            )
        if model is not self:
            self.history, self._last_train_function = history, model._last_train_function
        return history

    @overload
    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Callback | Sequence[Callback] | None = None,
        *,
        return_dict: Literal[True],
    ) -> dict[str, float]: ...
    @overload
    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Callback | Sequence[Callback] | None = None,
        return_dict: bool = False,
    ) -> Any: ...
    @hinted
    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """Compute loss and metrics on data, without training; arguments as in `fit`.

        Returns:
            The loss, or `[loss, metric, ...]` if there are metrics, or a dict by name.

        Examples:
            >>> x, y = np.ones((4, 2), "float32"), np.full(4, 3.0)
            >>> model = cdl.Sequential([cdl.layers.Dense(1, kernel_initializer="ones")])
            >>> model.compile("adam", "mse", metrics=["mae"])
            >>> model.evaluate(x, y, verbose=0, return_dict=True)
            {'loss': 1.0, 'mae': 1.0}
        """
        model, x = self._taking(x, "evaluate")
        with ranks.run():
            return fit_loop.evaluate(
                model,
                x,
                y,
                batch_size=batch_size,
                verbose=verbose,
                sample_weight=sample_weight,
                steps=steps,
                callbacks=callbacks,
                return_dict=return_dict,
            )

    def _predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        steps: int | None = None,
        callbacks: Callback | Sequence[Callback] | None = None,
    ) -> NDArray[np.float32] | Any:
        """Predict with the arguments that editors show for `predict`."""

    @shown_as(_predict)
    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        steps: int | None = None,
        callbacks: Any = None,
        **misspelt: Any,  # @hinted takes a tenth of the time of a prediction
    ) -> Any:
        """Predict the outputs for all rows of x: new float32 arrays, structured as the outputs.

        Args:
            x: samples, as in `fit`; or an iterable of batches.
            batch_size: rows of a batch, 32 if None.
            verbose: 0 silent, 1 a bar, 2 a line at the end; "auto" shows a bar on a terminal or in
                a notebook, and is silent elsewhere.
            steps: batches to predict, None for all.
            callbacks: a Callback or a list of them.

        Examples:
            >>> model = cdl.Sequential([cdl.layers.Dense(1, kernel_initializer="ones")])
            >>> model.predict(np.array([[1.0, 2.0]]), verbose=0)
            array([[3.]], dtype=float32)
        """
        if misspelt:
            near = hint(misspelt, ("batch_size", "verbose", "steps", "callbacks"))
            named = ", ".join(misspelt)
            raise TypeError(f"predict() got an unexpected keyword argument {named!r}{near}")
        made = self._predictors_made
        if (
            made is not None
            and (executor := made.executor_for(x)) is not None
            and steps is callbacks is None
            and (batch_size is None or (type(batch_size) is int and batch_size >= len(x)))
            and (verbose == 0 or (verbose == "auto" and sys.stdout is display.unwatched))
        ):
            return executor.predict((x,))
        model, x = self._taking(x, "predict")
        with ranks.run():
            return predict.predict(model, x, batch_size, verbose, steps, callbacks)

    def program(self, training: bool = False) -> Program:
        """Program that the core runs, for printing: of `predict`, or of a training step.

        Raises:
            ValueError: if the model is not built, or, for training, not compiled.
        """
        if not self.built:
            raise ValueError(f"{self.name}: program() needs a built model: call build(input_shape)")
        compiled = self._compiled_for("program", trains=True) if training else None
        return program_of(self, compiled)

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """Train on one batch; its loss and metrics, measured before the step."""
        model, x = self._taking(x, "train_on_batch")
        with ranks.run():
            return on_batch(model, "train", x, y, sample_weight, class_weight, return_dict)

    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """Compute loss and metrics of one batch."""
        model, x = self._taking(x, "test_on_batch")
        with ranks.run():
            return on_batch(model, "test", x, y, sample_weight, None, return_dict)

    def predict_on_batch(self, x: Any) -> Any:
        """Predict the outputs for one batch."""
        executor = None if (made := self._predictors_made) is None else made.executor_for(x)
        return predict.on_batch(self, x) if executor is None else executor.predict((x,))
