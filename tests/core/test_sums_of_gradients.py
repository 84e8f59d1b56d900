"""A value with several readers, a weight with several users."""

import numpy as np
import pytest
from programs import (
    ISAS,
    activation,
    dense,
    gradient_keeper,
    gradients,
    kept,
    learner,
    pull_back,
    random_weight,
    train,
    weight,
)

from cdl import _core
from cdl._ir.program import Instruction, Program

RNG = np.random.default_rng(3)
ROW = {"outer": 1, "n": 12, "inner": 1}  # places of a line of 12
ROWS = 50
X = RNG.normal(size=(ROWS, 7)).astype(np.float32)
TARGETS = [RNG.normal(size=(ROWS, n)).astype(np.float32) for n in (3, 1, 17)]


def branches(trunk, heads):
    """x -> trunk -> tanh, which each head reads for a loss of its own."""
    program = Program()
    h = activation(program, dense(program, program.input((7,)), trunk), "tanh")
    for head, target in zip(heads, TARGETS, strict=False):
        y = dense(program, h, head)
        t = program.input(target.shape[1:], role="y")
        program.loss("mean_squared_error", t, y)
    return program


def by_hand(trunk, heads):
    """The gradients of `branches`, in float64."""
    x, w = X.astype(np.float64), trunk.numpy().astype(np.float64)
    h = np.tanh(x @ w)
    dh, found = 0, []
    for head, target in zip(heads, TARGETS, strict=False):
        v = head.numpy().astype(np.float64)
        dy = 2 * (h @ v - target) / target.size
        found.append(h.T @ dy)
        dh = dh + dy @ v.T
    return [x.T @ (dh * (1 - h * h)), *found]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("n_heads", [1, 2, 3])
def test_a_value_with_several_readers_gets_the_sum_of_their_gradients(n_heads, isa):
    trunk = random_weight(RNG, 7, 5)
    heads = [random_weight(RNG, 5, t.shape[1]) for t in TARGETS[:n_heads]]
    program = branches(trunk, heads).fused()
    assert sum(i.op == "fork" for i in program.instructions) == n_heads - 1
    arrays = [X, *TARGETS[:n_heads]]
    by_numpy = by_hand(trunk, heads)
    found = gradients(program, arrays, isa=isa)
    for variable, expected in zip([trunk, *heads], by_numpy, strict=True):
        np.testing.assert_allclose(found[variable], expected, rtol=1e-5, atol=1e-7)


def test_two_losses_on_one_prediction_add_up():
    values = random_weight(RNG, 7, 3).numpy()

    def of(*kinds):
        w = weight(values)
        program = Program()
        y = dense(program, program.input((7,)), w)
        t = program.input((3,), role="y")
        for kind in kinds:
            program.loss(kind, t, y)
        return gradients(program.fused(), [X, TARGETS[0]])[w]

    squares, absolute = "mean_squared_error", "mean_absolute_error"
    both = of(squares, absolute)
    np.testing.assert_allclose(both, of(squares) + of(absolute), rtol=1e-6, atol=1e-8)


def test_what_leads_to_no_loss_gives_no_gradient_and_does_not_learn():
    w, beside = weight(np.eye(7)[:, :3]), weight(np.ones((3, 2)))
    seen = []
    for ends in ([], ["tanh"], ["tanh", "dense"]):
        program = Program()
        y = dense(program, program.input((7,)), w)
        program.output(y)
        for end in ends:
            h = dense(program, y, beside) if end == "dense" else activation(program, y, end)
            program.tally("r2_score", program.input(h.shape, role="y"), h)
        program = program.fused()
        assert "fork" not in [i.op for i in program.instructions]
        arrays = [X, *(np.ones((len(X), *v.shape)) for v in program.inputs[1:])]
        _, gradients_of = pull_back(program, arrays, np.float32(0.5))
        seen.append(gradients_of[w])
        assert not np.any(gradients_of.get(beside, 0.0))
    np.testing.assert_array_equal(seen[0], seen[1])
    np.testing.assert_array_equal(seen[0], seen[2])


# Slices along an axis of 12: start, count, step; None is a reader of all of it.
READERS = {
    "slices": [(0, 4, 1), (4, 4, 1), (8, 4, 1)],
    "overlapping slices": [(0, 8, 1), (2, 5, 2), (11, 12, -1)],
    "a slice in front of all": [(3, 6, 1), None],
    "a slice behind all": [None, (3, 6, 1)],
    "slices between others": [None, (1, 2, 1), None, (5, 3, 2), (0, 12, 1), None],
    "an equal slice twice": [(2, 3, 1), (2, 3, 1)],
}


def reading(trunk, heads, readers, axis):
    """x -> trunk, of which each reader takes a part for a head and loss of its own."""
    program = Program()
    h = dense(program, program.input((7,)), trunk)
    lines = (12, 1) if axis == "lines" else (1, 12)
    h = program.emit("reshape", (h,), lines)
    for head, run in zip(heads, readers, strict=True):
        count = 12 if run is None else run[1]
        shape = (count, 1) if axis == "lines" else (1, count)
        part = h if run is None else program.emit("pick", (h,), shape, **ROW, numbers=run)
        y = dense(program, program.emit("reshape", (part,), (count,)), head)
        program.loss("mean_squared_error", program.input((2,), role="y"), y)
    return program.fused()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("axis", ["lines", "columns"])
@pytest.mark.parametrize("readers", READERS.values(), ids=READERS)
def test_slices_of_a_value_add_to_one_gradient(readers, axis, isa):
    rng = np.random.default_rng(7)
    trunk, targets = random_weight(rng, 7, 12), rng.normal(size=(len(readers), ROWS, 2))
    heads = [random_weight(rng, 12 if run is None else run[1], 2) for run in readers]
    program = reading(trunk, heads, readers, axis)
    found = gradients(program, [X, *targets.astype(np.float32)], isa=isa)
    h, dh = X.astype(np.float64) @ trunk.numpy(), np.zeros((ROWS, 12))
    for head, target, run in zip(heads, targets, readers, strict=True):
        start, count, step = (0, 12, 1) if run is None else run
        places = start + step * np.arange(count)
        v = head.numpy().astype(np.float64)
        dy = 2 * (h[:, places] @ v - target) / target.size
        np.add.at(dh, (slice(None), places), dy @ v.T)
        np.testing.assert_allclose(found[head], h[:, places].T @ dy, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found[trunk], X.T.astype(np.float64) @ dh, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("sliced", [0, 1])
@pytest.mark.parametrize("first", ["slice", "all"])
def test_a_slice_adds_only_to_what_has_been_written(sliced, first):
    """Either output of a fork is sliced, before or behind the reader of the other one."""
    trunk, head = random_weight(RNG, 7, 12), random_weight(RNG, 12, 3)
    target = np.zeros((ROWS, 3), np.float32)
    program = Program()
    h = dense(program, program.input((7,)), trunk)
    both = [program.value(h.shape) for _ in range(2)]
    program.instructions.append(Instruction("fork", (h,), tuple(both), (), {}))

    def read(slices):
        x = both[sliced if slices else 1 - sliced]
        if slices:
            y = program.emit("pick", (x,), (3,), **ROW, numbers=(2, 3, 1))
        else:
            y = dense(program, x, head)
        program.loss("mean_squared_error", program.input((3,), role="y"), y)

    read(first == "slice")
    read(first != "slice")
    found = gradients(program, [X, target, target])
    x, w, v = (each.astype(np.float64) for each in (X, trunk.numpy(), head.numpy()))
    dh = 2 * (x @ w @ v) / target.size @ v.T
    dh[:, 2:5] += 2 * (x @ w)[:, 2:5] / target.size
    np.testing.assert_allclose(found[trunk], x.T @ dh, rtol=1e-4, atol=1e-6)


def test_slices_of_a_value_take_the_memory_of_one_gradient():
    def memory(n):
        trunk, head = random_weight(RNG, 7, 16 * n), random_weight(RNG, 16, 1)
        program = Program()
        h = dense(program, program.input((7,)), trunk)
        for i in range(n):
            part = program.emit(
                "pick", (h,), (16,), outer=1, n=16 * n, inner=1, numbers=(16 * i, 16, 1)
            )
            program.loss(
                "mean_squared_error", program.input((1,), role="y"), dense(program, part, head)
            )
        optimizer = gradient_keeper([trunk, head])
        executor = _core.Executor(program.fused(), 64, training=True, optimizer=optimizer)
        return executor.memory()[1]

    assert memory(300) - memory(200) < 1.1 * (memory(200) - memory(100))


def chain(first, second):
    """x -> first -> tanh -> second -> loss; both may be the same weight."""
    program = Program()
    h = activation(program, dense(program, program.input((7,)), first), "tanh")
    y = dense(program, h, second)
    program.loss("mean_squared_error", program.input((7,), role="y"), y)
    return program.fused()


@pytest.fixture
def square():
    return np.random.default_rng(1).normal(size=(7, 7)).astype(np.float32) / 3


SQUARE_TARGET = RNG.normal(size=(ROWS, 7)).astype(np.float32)


@pytest.mark.parametrize("isa", ISAS)
def test_a_weight_with_two_users_gets_the_sum_of_both_gradients(square, isa):
    shared, first, second = weight(square), weight(square), weight(square)
    arrays = [X, SQUARE_TARGET]
    apart = gradients(chain(first, second), arrays, isa=isa)
    together = gradients(chain(shared, shared), arrays, isa=isa)
    np.testing.assert_array_equal(together[shared], apart[first] + apart[second])


RULES = {
    "none": {},
    "clipnorm": {"clipnorm": 0.01},
    "global": {"global_clipnorm": 0.01},
    "clipvalue": {"clipvalue": 0.003},
    "decay": {"weight_decay": 0.1},
}


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_shared_weight_learns_once_a_step_by_the_whole_gradient(square, threads, rules):
    """A step with a shared weight is a step of NumPy with the summed gradient."""
    w, arrays = weight(square), [X, SQUARE_TARGET]
    again = weight(square)
    g = gradients(chain(again, again), arrays)[again].astype(np.float64)
    given = {**RULES[rules], "penalties": {w: (0.01, 0.02)}}
    optimizer = learner("sgd_momentum", [w], momentum=0.0)
    train(chain(w, w), arrays, optimizer, batch=ROWS, rate=1.0, threads=threads, rules=given)
    g = g + 0.01 * np.sign(square) + 2 * 0.02 * square
    if "clipvalue" in given:
        g = np.clip(g, -given["clipvalue"], given["clipvalue"])
    for name in ("clipnorm", "global_clipnorm"):
        if name in given:
            g *= given[name] / max(given[name], np.linalg.norm(g))
    expected = square * (1 - given.get("weight_decay", 0.0)) - g
    np.testing.assert_allclose(w.numpy(), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_many_steps_give_the_same_bits_on_any_number_of_threads(square, threads):
    def run(n):
        w, trunk = weight(square), random_weight(np.random.default_rng(5), 7, 7)
        program = Program()
        h = activation(program, dense(program, program.input((7,)), trunk), "tanh")
        t = program.input((7,), role="y")
        program.loss("mean_squared_error", t, dense(program, h, w))
        program.loss("mean_absolute_error", t, dense(program, dense(program, h, w), trunk))
        optimizer = learner("adam", [w, trunk], beta_1=0.9, beta_2=0.999, epsilon=1e-7)
        train(program.fused(), [X, SQUARE_TARGET], optimizer, batch=23, epochs=3, threads=n)
        return w.numpy(), trunk.numpy()

    for a, b in zip(run(1), run(threads), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_slots_of_a_shared_weight_move_once_a_step(square):
    w = weight(square)
    optimizer = gradient_keeper([w])
    executor = _core.Executor(chain(w, w), ROWS, training=True, optimizer=optimizer)
    executor.begin([X, SQUARE_TARGET], ROWS)
    executor.train(1, 1e9, [1.0], 0, 0)
    np.testing.assert_array_equal(w.numpy(), square - kept(optimizer)[w])
