"""Callbacks: hooks into training, evaluation and prediction."""

from cdl._common.public_names import publish as _publish
from cdl.callbacks.backup_and_restore import BackupAndRestore as BackupAndRestore
from cdl.callbacks.callback import Callback as Callback
from cdl.callbacks.callback_list import CallbackList as CallbackList
from cdl.callbacks.csv_logger import CSVLogger as CSVLogger
from cdl.callbacks.early_stopping import EarlyStopping as EarlyStopping
from cdl.callbacks.history import History as History
from cdl.callbacks.lambda_callback import LambdaCallback as LambdaCallback
from cdl.callbacks.learning_rate_scheduler import LearningRateScheduler as LearningRateScheduler
from cdl.callbacks.model_checkpoint import ModelCheckpoint as ModelCheckpoint
from cdl.callbacks.monitor import MonitorCallback as MonitorCallback
from cdl.callbacks.optuna_pruning import OptunaPruning as OptunaPruning
from cdl.callbacks.progbar_logger import ProgbarLogger as ProgbarLogger
from cdl.callbacks.reduce_lr_on_plateau import ReduceLROnPlateau as ReduceLROnPlateau
from cdl.callbacks.remote_monitor import RemoteMonitor as RemoteMonitor
from cdl.callbacks.swap_ema_weights import SwapEMAWeights as SwapEMAWeights
from cdl.callbacks.tensorboard import TensorBoard as TensorBoard
from cdl.callbacks.terminate_on_nan import TerminateOnNaN as TerminateOnNaN

_publish(globals())
