"""OptunaPruning: pruning of unpromising Optuna trials."""

from typing import Any

import numpy as np

from cdl._common.optional_imports import needed
from cdl.callbacks.callback import Callback, Logs


class OptunaPruning(Callback):
    """Report a value to an Optuna trial after each epoch, and stop when its pruner says so.

    `fit` then ends with `optuna.TrialPruned`, as an objective is to. In a job of `train_many` the
    job ends early instead and `pruned` says so: tell the study by
    ``study.tell(trial, state=optuna.trial.TrialState.PRUNED)``. A trial is of one training, so each
    job has its own callback, by `callbacks=` a function or the job's options.

    It needs the extra `optuna`. Keras has no such callback.

    Args:
        trial: the trial.
        monitor: the value of the logs that is reported.

    Attributes:
        pruned: whether the last run was given up.

    Raises:
        TypeError: no trial, or no name.
        ValueError: in `fit`, if the logs do not have the value.
        ImportError: in `fit`, if a trial is given up and `optuna` is not there.
    """

    _of_one_fit = True

    def __init__(self, trial: Any, monitor: str = "val_loss") -> None:
        super().__init__()
        if not callable(getattr(trial, "report", None)):
            raise TypeError(f"OptunaPruning: trial must be a trial of Optuna's, got {trial!r}")
        if not isinstance(monitor, str):
            raise TypeError(f"OptunaPruning: monitor must be a name, got {monitor!r}")
        self.trial = trial
        self.monitor = monitor
        self.pruned = False

    def on_train_begin(self, logs: Logs = None) -> None:
        self.pruned = False

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Report the value, and end a pruned trial."""
        logs = logs or {}
        if self.monitor not in logs:
            raise ValueError(
                f"OptunaPruning: monitor must be one of {', '.join(map(repr, logs))}, got "
                f"{self.monitor!r}"
            )
        self.trial.report(float(np.mean(logs[self.monitor])), epoch)
        if not self.trial.should_prune():
            return
        self.pruned = True
        if "job" in self.params:
            self.model.stop_training = True
            return
        optuna = needed("optuna", "optuna", "OptunaPruning")
        raise optuna.TrialPruned(f"given up after epoch {epoch + 1}")

    def __deepcopy__(self, memo: Any) -> Any:
        raise TypeError("a trial of Optuna's is of one training")
