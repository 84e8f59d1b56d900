"""Numbers beside the batch in recorded steps: constants, and what is computed ahead of a tape."""

import numpy as np
import pytest

import cdl
from cdl import layers, ops

X = np.random.default_rng(0).normal(size=(12, 3)).astype("float32")
THREE = np.float32([0.5, 1.5, 2.5])
ONE = ops.convert_to_tensor(0.3)


def net():
    cdl.utils.set_random_seed(4)
    return cdl.Sequential([cdl.Input((3,)), layers.Dense(2)])


def literal(x, model):
    three = ops.convert_to_tensor([1.0, 2.0, 3.0])
    return lambda: ops.mean(model(x * three) ** 2) * ops.sum(three)


def of_numbers(x, model):
    factors = ops.sqrt(ops.arange(1, 4, dtype="float32"))
    total = ops.sum(factors) / len(x)
    return lambda: ops.mean(ops.square(model(x * factors))) * total


def of_globals(x, model):
    return lambda: ops.mean(model(x * THREE) ** 2) * ONE


def of_closure(x, model, factors=THREE):
    return lambda: ops.mean(model(x) ** 2) * factors[1]


def ahead(x, model):
    spread = ops.std(x)
    return lambda: ops.mean(model(x) ** 2) * spread


def ahead_with_a_constant(x, model):
    spread = ops.max(ops.convert_to_tensor([0.1, 0.2])) + ops.std(x)
    return lambda: ops.mean(model(x) ** 2) * spread


def of_weights(x, model):
    norm = ops.sum(ops.square(model.trainable_variables[0]))
    return lambda: ops.mean(model(x) ** 2) / norm


def drawn(x, model):
    factor = cdl.random.uniform(())
    return lambda: ops.mean(model(x) ** 2) * factor


def steps(kind, wrap):
    model, sgd = net(), cdl.optimizers.SGD(0.05)

    def step(x):
        loss_of = kind(x, model)
        with cdl.GradientTape() as tape:
            loss = loss_of()
        weights = model.trainable_variables
        sgd.apply(tape.gradient(loss, weights), weights)
        return loss

    return wrap(step), model


def run(kind, wrap):
    cdl.utils.set_random_seed(7)
    step, model = steps(kind, wrap)
    losses = [float(step(X[i % 3 : i % 3 + 8] * (1 + i / 4))) for i in range(6)]
    return losses, [each.tobytes() for each in model.get_weights()], step


@pytest.mark.parametrize("kind", [literal, of_numbers, of_globals])
def test_constants_are_part_of_a_record(kind):
    *found, step = run(kind, cdl.Steps)
    assert found == list(run(kind, lambda step: step)[:2])
    assert step.reason == ""


@pytest.mark.filterwarnings("ignore::cdl.UntracedWarning")
@pytest.mark.parametrize("kind", [of_closure, ahead, ahead_with_a_constant, of_weights, drawn])
def test_what_changes_with_each_batch_is_no_constant(kind):
    *found, _ = run(kind, cdl.Steps)
    assert found == list(run(kind, lambda step: step)[:2])


def test_an_array_that_is_written_to_counts_from_the_next_call_on():
    try:
        found = []
        for wrap in (lambda step: step, cdl.Steps):
            THREE[:] = [0.5, 1.5, 2.5]
            step, model = steps(of_globals, wrap)
            losses = [float(step(X)) for _ in range(4)]
            THREE[0] = 9.0
            losses += [float(step(X)) for _ in range(4)]
            found.append((losses, [each.tobytes() for each in model.get_weights()]))
        assert found[0] == found[1] and step.reason == ""
    finally:
        THREE[:] = [0.5, 1.5, 2.5]
