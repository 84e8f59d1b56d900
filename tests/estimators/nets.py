"""Functions that processes of the tests call: a module that they can import."""

import os

from cdl import _core
from cdl.layers import Dense, Dropout, Input
from cdl.models import Sequential
from cdl.sklearn.thread_share import shared_threads


def net(X, y, loss, units=(20,), activation="softmax", dropout=0.0):
    """A net whose input and output fit the data."""
    hidden = [Dense(width, "relu") for width in units]
    if y.shape[1] == 1 and activation == "softmax":  # which would warn: it is 1 for any scores
        activation = "sigmoid"
    last = [Dropout(dropout), Dense(y.shape[1], activation)]
    model = Sequential([Input((X.shape[1],)), *hidden, *last])
    model.compile(loss=loss, optimizer="rmsprop")
    return model


def threads_limit():
    """The limits of threads in a job: that of its thread, and those of its process."""
    with shared_threads():
        own = _core.limit_threads(0)
        _core.limit_threads(own)
    return own, _core.info()["threads"], os.environ.get("OMP_NUM_THREADS")
