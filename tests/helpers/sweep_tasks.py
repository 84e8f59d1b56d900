"""Functions that the tests of sweeps send to worker processes.

A worker loads a function by the name of its module. `tests/helpers` is on its path, as pytest has
it; the folder from which the tests were started may not be.
"""

import os

import cdl
from cdl.sklearn import CDLClassifier
from cdl.sklearn.thread_share import shared_threads


def build(X, y):
    """A small compiled net, as `SKLearnClassifier` takes it."""
    model = cdl.Sequential([cdl.Input(X.shape[1:]), cdl.layers.Dense(3, "softmax")])
    model.compile("adam", "categorical_crossentropy")
    return model


def threads_of_a_fit():
    """The number of threads that a fit may use where this runs."""
    with shared_threads():
        limit = cdl._core.limit_threads(1)
        cdl._core.limit_threads(limit)
        return limit or cdl._core.info()["threads"]


class Counting(CDLClassifier):
    """An estimator that reports how many threads its fit has."""

    def fit(self, X, y):
        super().fit(X, y)
        self.threads_ = threads_of_a_fit()
        return self


class Fatal(CDLClassifier):
    """An estimator that ends its process once, the first time that a file is not there."""

    def __init__(self, path=None, max_iter=20, random_state=0):
        super().__init__(max_iter=max_iter, random_state=random_state)
        self.path = path

    def fit(self, X, y):
        if not os.path.exists(self.path):
            open(self.path, "w").close()
            os._exit(1)
        return super().fit(X, y)
