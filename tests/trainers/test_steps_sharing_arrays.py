"""Recorded steps whose arguments share their numbers with each other, or with other arrays."""

import numpy as np
import pytest
from trainers.stepping_nets import X, Y

import cdl
from cdl import layers, ops

FIXED = X[:16].copy()


def run(decorate, is_fixed):
    cdl.utils.set_random_seed(5)
    net = cdl.Sequential([cdl.Input((3,)), layers.Dense(4, "tanh"), layers.Dense(1)])
    sgd = cdl.optimizers.SGD(0.1)

    @decorate
    def learn(x, other, y):
        with cdl.GradientTape() as tape:
            loss = ops.mean(ops.square(y - net(x) + net(ops.square(other))))
        weights = net.trainable_variables
        sgd.apply(tape.gradient(loss, weights), weights)
        return loss, ops.mean((FIXED if is_fixed else other) + x)

    pairs = [(FIXED, FIXED)] * 4 + [(X[i : i + 16], X[i + 1 : i + 17]) for i in range(4)]
    found = [learn(x, other, Y[:16]) for x, other in pairs]
    assert not getattr(learn, "reason", "")
    return [np.asarray(each).tobytes() for each in (*sum(found, ()), *net.get_weights())]


@pytest.mark.parametrize("is_fixed", [False, True], ids=["with each other", "with a global"])
def test_other_arrays_in_later_calls_are_read(is_fixed):
    assert run(cdl.Steps, is_fixed) == run(lambda function: function, is_fixed)


def test_what_a_step_writes_is_written_to_its_arguments_in_each_call():
    x, seen = np.zeros(3, np.float32), []

    @cdl.Steps
    def count(x):
        x += 1.0
        return x

    with pytest.warns(cdl.UntracedWarning, match="written"):
        for _ in range(4):
            count(x)
            seen.append(x[0])
    assert seen == [1.0, 2.0, 3.0, 4.0]
