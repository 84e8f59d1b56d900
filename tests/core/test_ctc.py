"""The CTC loss: by definition, by the formula in float64, and in training."""

from itertools import groupby, product

import numpy as np
import pytest
import reference_ctc as reference
from oracle import difference_gradients
from programs import ISAS, gradients, random_weight, train, weight
from programs import dense as dense_layer

from cdl import _core, losses
from cdl._ir.program import Program


def program_of(steps, classes, labels, *, weighted=False, scale=1.0, reduction=0, width=3):
    """A dense layer in front of the loss."""
    rng = np.random.default_rng(0)
    program = Program()
    x = program.input((steps, width))
    h = dense_layer(program, x, random_weight(rng, width, classes), weight(np.zeros(classes)))
    inputs = [h, program.input((labels,), "int32", "y")]
    if weighted:
        inputs.append(program.input((), role="weight"))
    program.score("ctc", inputs, scale=scale, reduction=reduction)
    return program


def arguments(rows, steps, classes, labels, seed=0):
    """Scores, and labels of different lengths that fit into the steps."""
    rng = np.random.default_rng(seed)
    y = rng.integers(1, classes, (rows, labels))
    y[np.arange(labels) >= rng.integers(0, labels + 1, (rows, 1))] = 0
    y[-1, :2] = 1  # one that repeats
    return y, rng.normal(size=(rows, steps, classes)).astype(np.float32) * 2


def test_it_is_the_sum_over_all_ways_to_say_the_labels():
    y = np.array([[1, 2], [1, 1], [2, 0], [0, 0]])
    z = np.random.default_rng(1).normal(size=(4, 4, 3)).astype(np.float32)
    p = np.exp(reference.log_softmax(z.astype(np.float64)))
    for labels, probabilities, loss in zip(y, p, losses.ctc(y, z), strict=True):
        total = 0.0
        for way in product(range(3), repeat=4):
            said = [each for each, _ in groupby(way) if each]
            if said == [int(each) for each in labels if each]:
                total += np.prod([row[each] for row, each in zip(probabilities, way, strict=True)])
        np.testing.assert_allclose(loss, -np.log(total), rtol=1e-5)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("sizes", [(1, 2, 1), (7, 5, 3), (19, 3, 6), (33, 70, 11), (64, 17, 20)])
def test_value_is_that_of_the_formula(sizes, isa):
    y, z = arguments(6, *sizes)
    program = Program()
    target, scores = program.input(y.shape[1:], "int32", "y"), program.input(z.shape[1:])
    program.output(program.emit("ctc", (scores, target), (), scale=1.0, reduction=0))
    got = _core.Executor(program, 6, isa=isa).predict([y, z])
    expected = [reference.ctc(labels, scores)[0] for labels, scores in zip(y, z, strict=True)]
    feasible = np.isfinite(expected)
    np.testing.assert_allclose(got[feasible], np.array(expected)[feasible], rtol=2e-6, atol=2e-5)
    assert (got[~feasible] > 9e4).all()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("sizes", [(2, 3, 1), (9, 5, 3), (21, 18, 4)])
def test_gradient_is_that_of_the_formula(sizes, threads, isa):
    y, _ = arguments(20, *sizes)
    y[:, sizes[0] // 2 :] = 0  # all fit, however often they repeat
    x = np.random.default_rng(2).normal(size=(20, sizes[0], 3)).astype(np.float32)
    w = np.random.default_rng(3).uniform(0, 2, 20)
    for reduction in (0, 1):
        program = program_of(*sizes, weighted=True, scale=0.7, reduction=reduction)
        kernel, bias = program.variables
        z = x.astype(np.float64) @ kernel.numpy().astype(np.float64) + bias.numpy()
        derivatives = np.stack([reference.ctc(*each)[1] for each in zip(y, z, strict=True)])
        derivatives *= 0.7 * w[:, None, None] / (1 if reduction else 20)
        found = gradients(program.fused(), [x, y, w], threads=threads, isa=isa)
        expected = np.einsum("nti,ntj->ij", x, derivatives)
        atol = 3e-6 * np.abs(expected).max()
        np.testing.assert_allclose(found[kernel], expected, rtol=1e-4, atol=atol)
        atol = 1e-5 * np.abs(derivatives).sum()
        np.testing.assert_allclose(found[bias], derivatives.sum((0, 1)), rtol=1e-4, atol=atol)


def test_gradient_is_that_of_central_differences():
    y, _ = arguments(4, 6, 4, 3)
    x = np.random.default_rng(2).normal(size=(4, 6, 3)).astype(np.float32)
    program = program_of(6, 4, 3)
    expected = difference_gradients(program, [x, y])
    for variable, found in gradients(program, [x, y]).items():
        np.testing.assert_allclose(found, expected[variable], rtol=1e-4, atol=1e-5)


def test_labels_that_do_not_fit_cost_much_and_leave_numbers():
    y = np.array([[1, 1, 2, 2]])  # needs 6 steps
    x = np.ones((1, 3, 3), np.float32)
    assert 9e4 < losses.ctc(y, x)[0] < 1.1e5
    found = gradients(program_of(3, 3, 4).fused(), [x, y])
    assert all(np.isfinite(each).all() for each in found.values())


def test_labels_that_are_no_class_read_and_write_nothing_beside_their_row():
    x = np.random.default_rng(2).normal(size=(1, 9, 3)).astype(np.float32)
    found = []
    for label in (-1, 5, 10**8, -(2**31), 2**31 - 1):
        grads = gradients(program_of(9, 5, 3).fused(), [x, np.array([[2, label, 0]])])
        found.append([each.tolist() for each in grads.values()])
        assert np.isfinite(np.concatenate([each.ravel() for each in grads.values()])).all()
    assert all(each == found[0] for each in found)


def test_score_of_minus_infinity_is_a_class_that_never_comes():
    z = np.zeros((1, 5, 4), np.float32)
    z[..., 3] = -np.inf
    expected, _ = reference.ctc([1, 2], z[0, :, :3])
    np.testing.assert_allclose(losses.ctc(np.array([[1, 2]]), z), [expected], rtol=1e-6)


def test_training_brings_the_loss_down_with_the_same_bits_on_any_number_of_threads():
    y, _ = arguments(40, 9, 5, 3)
    x = np.random.default_rng(2).normal(size=(40, 9, 3)).astype(np.float32)
    logs = []
    for threads in (1, 2, 3):
        program = program_of(9, 5, 3).fused()
        logs.append(train(program, [x, y], ("sgd", {}, {v: [] for v in program.variables}),
                          batch=16, epochs=4, rate=0.05, threads=threads))  # fmt: skip
    assert logs[0] == logs[1] == logs[2]
    assert logs[0][-1][0] < logs[0][0][0]
