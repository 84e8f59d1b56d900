"""Derivative functions that several threads call at once."""

from concurrent.futures import ThreadPoolExecutor, wait
from threading import Event

import numpy as np
import pytest

import cdl
from cdl import layers, ops
from cdl.trainers.vjp import GradientExecutor

RNG = np.random.default_rng(6)
X = RNG.normal(size=(8, 3)).astype(np.float32)


def by_weights(model):
    function = cdl.value_and_grad(
        lambda x: ops.sum(ops.square(model(x)), -1), variables=model.trainable_variables
    )
    return lambda x: [function(x)[0], *function(x)[1]]


def by_arguments(model):
    function = cdl.value_and_grad(lambda x: ops.mean(ops.square(model(x))))
    return lambda x: list(function(x))


def of_loss(model):
    return lambda x: list(model.gradients(x, x[:, :2]).values())


@pytest.mark.parametrize("derive", [by_weights, by_arguments, of_loss])
def test_a_thread_waits_for_the_gradient_of_another_one(derive, monkeypatch):
    model = cdl.Sequential([cdl.Input((3,)), layers.Dense(4, "tanh"), layers.Dense(2)])
    model.compile("sgd", "mse")
    function = derive(model)
    expected = [function(X), function(-X)]
    begun, go_on, reset = Event(), Event(), GradientExecutor._reset

    def slow(self):
        reset(self)
        if not begun.is_set():
            begun.set()
            go_on.wait(60)

    monkeypatch.setattr(GradientExecutor, "_reset", slow)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(function, X)
        assert begun.wait(60)
        second = pool.submit(function, -X)
        wait([second], timeout=0.2)  # enough for one that does not wait
        go_on.set()
        found = [first.result(), second.result()]
    for mine, theirs in zip(found, expected, strict=True):
        for a, b in zip(mine, theirs, strict=True):
            np.testing.assert_array_equal(a, b)
