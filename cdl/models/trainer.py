"""trainer.py - Trainer: the part of a model that compiles, fits, evaluates and predicts."""

import sys
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from cdl._hints import hint, hinted, shown_as, warn
from cdl._program import Program
from cdl.callbacks import History
from cdl.compat import OlderMethods, renamed
from cdl.data.arrays import REAL_KINDS
from cdl.models import checks, inference, training
from cdl.models.compiled import Compiled
from cdl.models.inference import FEW, MANY
from cdl.models.lowering import program_of
from cdl.models.machines import Machines
from cdl.models.own_steps import overrides, steps_itself
from cdl.models.steps import Steps
from cdl.utils import display


class Trainer(Steps, OlderMethods):
    """Mixin of models: what is done with data.

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
    jit_compile: bool | str = True

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
        """Say how to train: weights stay as they are, the optimizer starts anew if it is new.

        Args:
            optimizer: a name, config or Optimizer.
            loss: a name, a Loss, or a function `f(y_true, y_pred)` in NumPy.
            loss_weights: what the loss is multiplied by.
            metrics: names, Metrics or functions; 'accuracy' is chosen by the shapes of the data.
            weighted_metrics: the same, for metrics that sample and class weights count in.
            run_eagerly: whether losses, metrics, penalties and the `call` of layers and models of
                one's own are called with the arrays of each batch, for prints, breakpoints and
                checks in them. What is learned comes from the traced code all the same.
            steps_per_execution: batches between two calls of the batch hooks of callbacks.
            jit_compile: True refuses code of one's own that cannot be compiled, with the reason;
                with "auto" or False such code runs in Python on each batch, and a warning says so.
            auto_scale_loss: accepted; it concerns float16, and cdl computes in float32.

        Raises:
            ValueError: for an unknown name, or what cannot be used as one of these.
        """
        steps_per_execution = checks.whole(steps_per_execution, "compile: steps_per_execution", 1)
        run_eagerly = checks.switch(run_eagerly, "compile: run_eagerly")
        checks.switch(auto_scale_loss, "compile: auto_scale_loss")
        if jit_compile != "auto":
            jit_compile = checks.switch(jit_compile, "compile: jit_compile")
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
        own_loss = overrides(type(self), "compute_loss")
        compiled = Compiled(given, self._output_names(), self._output_nest(), own_loss)
        if jit_compile is True:
            self._check_compiles(compiled)
        self._compiled = compiled
        self._machines = Machines(compiled)
        self._last_engine = None
        self._predictors_made = None if run_eagerly else self._predictors_made
        self.jit_compile = True if jit_compile == "auto" else jit_compile
        self.steps_per_execution = steps_per_execution
        self.stop_training = False

    @property
    def run_eagerly(self) -> bool:
        """Whether code of one's own sees the arrays of each batch: see `compile`."""
        return self._compiled is not None and self._compiled.given["run_eagerly"]

    @run_eagerly.setter
    def run_eagerly(self, value: bool) -> None:
        if self._compiled is None:
            raise ValueError("run_eagerly: the model must be compiled first: call compile()")
        self._compiled.given["run_eagerly"] = checks.switch(value, "run_eagerly")
        self._forget_programs()

    def _check_compiles(self, compiled: Compiled) -> None:
        """ValueError for steps that are Python code; what else is one is known with the data."""
        cls, optimizer = type(self), compiled.optimizer
        own = [f"{kind}_step" for kind in ("train", "test") if steps_itself(cls, kind)]
        parts = [f"{cls.__name__}.{name}" for name in own]
        if optimizer.is_written:
            parts.append(f"{type(optimizer).__name__}.update_step")
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
        validation_freq: Any = 1,
    ) -> History:
        """Train for `epochs - initial_epoch` passes over the data.

        Args:
            x: samples: an array, DataFrame or lists of numbers; or an iterable of batches
                `(x,)`, `(x, y)` or `(x, y, sample_weight)`.
            y: targets.
            batch_size: rows of a batch, 32 unless `steps_per_epoch` says otherwise.
            epochs: the number of the last epoch, counted from 1.
            verbose: 0 silent, 1 a bar, 2 a line for each epoch; "auto" is 1.
            callbacks: a Callback or a list of them.
            validation_split: part of the rows, the last ones before any shuffling, to hold out.
            validation_data: `(x, y)`, `(x, y, sample_weight)` or an iterable of batches.
            shuffle: whether to take the rows in a new order in each epoch; "batch" keeps each
                batch's rows together.
            class_weight: {class: weight}; a class that is not in it weighs 1.
            sample_weight: a weight for each row.
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
        """
        return training.fit(
            self,
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

    @overload
    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
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
        callbacks: Any = None,
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
        """Loss and metrics on data, without training; arguments as in `fit`.

        Returns:
            The loss, or `[loss, metric, ...]` if there are metrics, or a dict by name.
        """
        return training.evaluate(
            self,
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
        callbacks: Any = None,
    ) -> NDArray[np.float32] | Any:
        """What `predict` is shown to take."""

    @shown_as(_predict)
    def predict(  # noqa: D417 - nobody is to give `misspelt`
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        steps: int | None = None,
        callbacks: Any = None,
        **misspelt: Any,  # @hinted takes a tenth of the time of a prediction
    ) -> Any:
        """The outputs for all rows of x: new float32 arrays, in the structure of the outputs.

        Args:
            x: samples, as in `fit`; or an iterable of batches.
            batch_size: rows of a batch, 32 if None.
            verbose: 0 silent, 1 a bar, 2 a line at the end; "auto" shows a bar on a terminal or in
                a notebook, and is silent elsewhere.
            steps: batches to predict, None for all.
            callbacks: a Callback or a list of them.
        """
        if misspelt:
            near = hint(misspelt, ("batch_size", "verbose", "steps", "callbacks"))
            named = ", ".join(misspelt)
            raise TypeError(f"predict() got an unexpected keyword argument {named!r}{near}")
        made = self._predictors_made
        if (
            made is not None
            and type(x) is np.ndarray
            and x.shape[1:] == made.row_shape
            and 0 < x.shape[0] <= MANY
            and x.dtype.kind in REAL_KINDS
            and batch_size is steps is callbacks is None
            and (verbose == 0 or (verbose == "auto" and sys.stdout is display.unwatched))
        ):
            return (made.few if x.shape[0] <= FEW else made.of(MANY)).predict((x,))
        return inference.predict(self, x, batch_size, verbose, steps, callbacks)

    def program(self, training: bool = False) -> Program:
        """What the core runs, to be printed: that of `predict`, or that of a training step.

        Raises:
            ValueError: if the model is not built, or, for training, not compiled.
        """
        if not self.built:  # type: ignore[attr-defined]
            raise ValueError(f"{self.name}: program() needs a built model: call build(input_shape)")
        compiled = self._compiled_for("program", trains=True) if training else None
        return program_of(self, compiled)

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """One step of training on one batch; its loss and metrics, measured before the step."""
        return training.on_batch(self, "train", x, y, sample_weight, class_weight, return_dict)

    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """Loss and metrics of one batch."""
        return training.on_batch(self, "test", x, y, sample_weight, None, return_dict)

    def predict_on_batch(self, x: Any) -> Any:
        """The outputs for one batch."""
        return self.predict(x, verbose=0)
