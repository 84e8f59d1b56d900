"""Warning of a step that cannot be recorded: once, with the line and the reason."""

import numpy as np
import pytest
from trainers.stepping_nets import Net, X, Y, fit, learn, made, runs_of

import cdl
from cdl import ops
from cdl.trainers.chains import step_chains


class Branching(Net):
    def train_step(self, data):
        if ops.mean(data[1]) > 0.0:
            data = data[0], -data[1]
        return learn(self, *data)


class Ordinary(cdl.Model):
    def __init__(self):
        super().__init__()
        self.last = cdl.layers.Dense(1)

    def call(self, inputs):
        return self.last(inputs)

    def train_step(self, data):
        return super().train_step(data)


class Prints(Net):
    def train_step(self, data):
        print(end="")
        return learn(self, *data)


def line_of(function):
    return f"{__file__}:{function.__code__.co_firstlineno + 1}: "


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Tell after 100 batches."""
    monkeypatch.setattr(step_chains, "_TOLD", 100)


CASES = {
    "branch": (Branching, line_of(Branching.train_step) + "what comes next depends on a number"),
    "print": (Prints, line_of(Prints.train_step) + r"print\(\) is called"),
}


@pytest.mark.parametrize("kind", CASES)
def test_the_line_and_the_reason_are_told_once(kind):
    cls, text = CASES[kind]
    model = made(cls)
    with pytest.warns(UserWarning, match=text) as told:
        fit(model, epochs=30)
    assert len(told) == 1 and told[0].filename == fit.__code__.co_filename
    fit(model, epochs=30)  # and warnings are errors


def test_nothing_is_told_where_little_or_nothing_is_lost():
    fit(made(Branching), epochs=3)
    fit(made(Branching, eagerly=True), epochs=30)
    fit(made(Net), epochs=30)
    fit(made(Ordinary), epochs=30)
    model = made(Branching)
    for _ in range(150):
        model.train_on_batch(X[:16], Y[:16])


def test_another_form_is_recorded_after_a_refusal():
    class ByRows(Net):
        def train_step(self, data):
            x, y = data
            if len(x) > 16:
                x = x * float(np.sum(x) > 0.0)
            return learn(self, x, y)

    model = made(ByRows)  # 16 batches of 20 rows, and two of the four last ones of 4 rows
    assert runs_of(model, lambda: fit(model, batch_size=20)) == 18
