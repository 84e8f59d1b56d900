"""Rows of seed generators, schedules, and gradients of a compiled loss."""

import numpy as np
from over_time.thing import COPIES, Thing

import cdl
from cdl import layers
from cdl.optimizers import schedules

RNG = np.random.default_rng(10)
X = RNG.normal(size=(6, 3)).astype(np.float32)


def draw(generator):
    return [cdl.random.normal((2, 3), seed=generator), np.asarray(generator.state)]


def compiled():
    model = cdl.Sequential([cdl.Input((3,)), layers.Dense(4, "tanh"), layers.Dense(2)])
    model.compile("sgd", "mse")
    return model


def gradients(model):
    return list(model.gradients(X, X[:, :2]).values())


def set_weights(model):
    for each in model.weights:
        each.assign(each.numpy() * 1.5 + 0.25)


ROWS = [
    Thing(
        "seed generator",
        lambda: cdl.random.SeedGenerator(5),
        draw,
        (cdl.random.SeedGenerator,),
        {"state": lambda each: each.state.assign([7, 3])},
        COPIES,
        fails={"shape": lambda each: cdl.random.normal("a", seed=each)},
    ),
    Thing(
        "schedule",
        lambda: schedules.ExponentialDecay(0.1, 3, 0.5),
        lambda each: [np.float32(each(step)) for step in range(4)],
        (schedules.ExponentialDecay,),
        {},
        {
            **COPIES,
            "config": lambda each, _: type(each).from_config(each.get_config()),
        },
        shared=True,
    ),
    Thing(
        "gradients of a loss",
        compiled,
        gradients,
        (),
        {"weights": set_weights},
        COPIES,
        fails={"shape": lambda model: model.gradients(X[:, :2], X[:, :2])},
        shared=True,
    ),
]
