"""The judge is judged: its gradients against central differences of its values."""

import numpy as np
import pytest
import references as reference
from oracle import BACKWARD, FORWARD, Oracle, central_differences, difference_gradients
from programs import activation, dense, random_weight, weight

from cdl import _core
from cdl._ir.program import Program


def agree(actual, expected, rtol=1e-6):
    top = np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol * top + 1e-12)


@pytest.mark.parametrize(
    ("table", "formulas"),
    [
        ("OPS", FORWARD),
        ("OPS", BACKWARD),
        ("ACTIVATIONS", reference.ACTIVATIONS),
        ("LOSSES", reference.LOSSES),
        ("METRICS", reference.METRICS),
        ("TALLIES", reference.TALLIES),
        ("OPTIMIZERS", reference.OPTIMIZERS),
    ],
)
def test_every_row_of_the_tables_has_a_formula(table, formulas):
    assert set(getattr(_core, table)) <= set(formulas)


@pytest.mark.parametrize("name", _core.ACTIVATIONS)
def test_gradients_of_activations_are_their_differences(name):
    x = np.array([-9.3, -3.1, -1.2, -0.4, -1e-3, 2e-3, 0.31, 1.1, 2.7, 5.4, 8.8])
    f, df = reference.ACTIVATIONS[name]
    for parameters in reference.activation_parameters(name):
        steps = (f(x + 1e-6, **parameters) - f(x - 1e-6, **parameters)) / 2e-6
        np.testing.assert_allclose(df(x, **parameters), steps, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", _core.LOSSES)
def test_gradients_of_losses_are_their_differences(name):
    y, p = reference.loss_arguments(name, 4, 5, np.random.default_rng(3))
    if reference.takes_probabilities(name):
        p = 0.02 + 0.96 * p  # away from the poles, where differences are poor
    value, gradient = reference.LOSSES[name]
    for parameters in reference.loss_parameters(name):

        def total(parameters=parameters):
            return value(y, p, **parameters).sum()

        agree(gradient(y, p, **parameters), central_differences(total, p, 1e-6), 1e-5)


@pytest.mark.parametrize("name", reference.ROW_ACTIVATIONS)
def test_gradients_of_activations_of_rows_are_their_differences(name):
    rng = np.random.default_rng(4)
    x = rng.normal(size=(5, 6))
    f, gradient = reference.ROW_ACTIVATIONS[name], reference.ROW_GRADIENTS[name]
    dy = rng.normal(size=f(x).shape)

    def total():
        return (f(x) * dy).sum()

    agree(gradient(x, dy), central_differences(total, x, 1e-6), 1e-5)


def test_gradients_of_a_program_of_all_ops_are_its_differences():
    rng = np.random.default_rng(5)
    program = Program()
    x = program.input((3, 4))
    x = dense(program, x, random_weight(rng, 4, 6), weight(rng.normal(size=6)))
    statistics = [weight(rng.uniform(0.5, 1.5, size=6)) for _ in range(4)]
    attributes = {"momentum": 0.9, "epsilon": 1e-3, "frozen": 0}
    x = program.emit("batch_norm", [x], x.shape, statistics, **attributes)
    x = program.emit(
        "dropout", [activation(program, x, "tanh")], x.shape, rate=0.5, seed=0, user_draw=0
    )
    x = program.emit("reshape", [x], (9, 2))
    x = dense(program, program.emit("softmax", [x], (9, 2)), random_weight(rng, 2, 5))
    program.output(x)
    target, w = program.input((9,), "int32", "y"), program.input((), role="weight")
    program.loss("softmax_sparse_categorical_crossentropy", target, x, w, scale=0.7)
    arrays = [rng.normal(size=(5, 3, 4)), rng.integers(0, 5, (5, 9)), rng.uniform(0, 2, 5)]
    dropout = next(i for i in program.instructions if i.op == "dropout")
    masks = {dropout: rng.integers(0, 2, (5, 3, 6)) * 2.0}
    oracle = Oracle(program)
    oracle.forward(arrays, training=True, masks=masks)
    found = oracle.backward()
    expected = difference_gradients(program, arrays, training=True, masks=masks)
    for v in program.variables:
        if v not in set(statistics[2:]):  # moving statistics are no part of a training step
            agree(found[v], expected[v], 1e-5)
