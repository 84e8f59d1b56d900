"""__init__.py - callbacks: one family a file."""

from cdl.callbacks.callback import Callback
from cdl.callbacks.callback_list import CallbackList
from cdl.callbacks.early_stopping import EarlyStopping
from cdl.callbacks.history import History
from cdl.callbacks.lambda_callback import LambdaCallback
from cdl.callbacks.progbar_logger import ProgbarLogger

__all__ = [
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "ProgbarLogger",
]
