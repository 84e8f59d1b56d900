"""Programs that branch and meet: gradients, bits, memory, many arrays."""

import numpy as np
import pytest
from oracle import Oracle, difference_gradients
from programs import (
    ISAS,
    TEAMS,
    activation,
    dense,
    gradients,
    learner,
    predict,
    random_weight,
    train,
)
from programs import weight as weight_of
from random_graphs import RandomGraph

from cdl import _core
from cdl._ir.program import Program

# ------------------------------------------------------------------------------- random graphs


def agree(found, expected):
    for v, gradient in expected.items():
        top = max(np.abs(gradient).max(), 0.1)
        np.testing.assert_allclose(found[v], gradient, rtol=2e-4, atol=5e-5 * top)


@pytest.mark.parametrize("seed", range(12))
def test_gradients_of_random_graphs_are_their_central_differences(seed):
    graph = RandomGraph(seed, size=9)
    expected = difference_gradients(graph.program, graph.arrays, training=True)
    oracle = Oracle(graph.program)
    oracle.forward(graph.arrays, training=True)
    agree(oracle.backward(), expected)
    agree(gradients(graph.program.fused(), graph.arrays), expected)


@pytest.mark.parametrize("seed", range(100, 160))
def test_random_graphs_give_what_numpy_gives_and_the_same_bits_on_any_number_of_threads(seed):
    graph = RandomGraph(seed, size=30, rows=37)
    oracle = Oracle(graph.program)
    oracle.forward(graph.arrays, training=True)
    expected, first = oracle.backward(), None
    fused = graph.program.fused()
    for options in ({"threads": 1}, *TEAMS):
        found = gradients(fused, graph.arrays, **options)
        first = first or found
        agree(found, expected)
        for v in found:
            np.testing.assert_array_equal(found[v], first[v])
    for options in ({"isa": isa} for isa in ISAS[1:]):
        agree(gradients(fused, graph.arrays, **options), expected)


@pytest.mark.parametrize("seed", range(200, 220))
def test_predictions_of_random_graphs_do_not_depend_on_what_memory_they_share(seed):
    """Each value as an output of its own, which keeps it, against all of them computed at once."""
    graph = RandomGraph(seed, size=20, rows=37)
    values = graph.pool[2:]
    for value in values:
        graph.program.output(value)
    together = predict(graph.program, graph.arrays, rows=64)
    for value, expected in zip(values, together, strict=True):
        graph.program.outputs = [value]
        for threads in (1, 3):
            alone = _core.Executor(graph.program.fused(training=False), 64, threads=threads)
            np.testing.assert_allclose(alone.predict(graph.arrays), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("team", TEAMS)
def test_many_steps_of_a_graph_give_the_same_bits_on_any_number_of_threads(team):
    def run(options):
        graph = RandomGraph(7, size=30, rows=100)
        optimizer = learner("adam", graph.program.variables, beta_1=0.9, beta_2=0.999, epsilon=1e-7)
        fused = graph.program.fused()
        logs = train(fused, graph.arrays, optimizer, batch=33, epochs=4, **options)
        return [logs, *(v.numpy() for v in graph.program.variables)]

    for a, b in zip(run({"threads": 1}), run(team), strict=True):
        np.testing.assert_array_equal(a, b)


# --------------------------------------------------------------------------------------- memory


def tower(blocks, width=64):
    """x -> blocks of y = x + tanh(x W) -> loss."""
    rng = np.random.default_rng(0)
    program = Program()
    x = dense(program, program.input((width,)), random_weight(rng, width, width))
    for _ in range(blocks):
        h = activation(program, dense(program, x, random_weight(rng, width, width)), "tanh")
        x = program.map("add", [x, h])
    program.output(x)
    return program


def brush(bristles, width=64):
    """A program in which many branches read one value, and their outputs are added up."""
    rng = np.random.default_rng(0)
    program = Program()
    x = dense(program, program.input((width,)), random_weight(rng, width, width))
    total = None
    for _ in range(bristles):
        h = activation(program, dense(program, x, random_weight(rng, width, width)), "tanh")
        total = h if total is None else program.map("add", [total, h])
    program.output(total)
    return program


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("seed", range(300, 312))
def test_the_plan_of_a_graph_takes_little_more_than_lives_at_one_moment(seed, training):
    graph = RandomGraph(seed, size=40)
    optimizer = learner("sgd", graph.program.variables) if training else None
    fused = graph.program.fused(training)
    taken, least = _core.Executor(fused, 64, training=training, optimizer=optimizer).memory()
    assert least <= taken <= 1.1 * least


@pytest.mark.parametrize("training", [False, True])
def test_so_does_that_of_a_graph_of_thousands_of_instructions(training):
    program = RandomGraph(0, size=4000).program.fused(training)
    optimizer = learner("sgd", program.variables) if training else None
    executor = _core.Executor(program, 64, training=training, optimizer=optimizer, threads=1)
    taken, least = executor.memory()
    assert least <= taken <= 1.05 * least


def memory(program, learn=(), training=True, **options):
    """The bytes that a program takes for batches of 64 rows, on one thread by default."""
    optimizer = learner("sgd", learn) if training else None
    options = {"training": training, "optimizer": optimizer, "threads": 1, **options}
    return _core.Executor(program.fused(training), 64, **options).memory()[0]


@pytest.mark.parametrize("net", [tower, brush])
def test_a_deeper_graph_takes_no_more_memory_to_predict(net):
    few, many = (memory(net(n), training=False) for n in (20, 60))
    assert many == few


@pytest.mark.measures
def test_threads_in_lockstep_take_little_more_memory_than_one():
    program = tower(40)
    program.objective(program.outputs[0])
    alone, scratch = memory(program, program.variables), 64 * 64 * 4
    together = memory(program, program.variables, threads=2, lockstep=True)
    assert alone < together <= alone + 2 * scratch
    assert memory(program, program.variables, threads=2, lockstep=False) > 1.5 * alone


def test_a_value_that_many_read_has_two_gradients_however_many_they_are():
    one = 64 * 64 * 4

    def taken(bristles):
        program = brush(bristles)
        program.objective(program.outputs[0])
        return memory(program, program.variables)

    # A bristle more: its activation and the sum so far are kept; gradients come and go.
    assert taken(20) - taken(10) <= 10 * 3 * one


def test_what_no_gradient_reads_is_free_when_its_last_reader_is_done():
    """A trunk that does not learn: its activations go as the forward pass goes."""

    def taken(depth):
        rng = np.random.default_rng(0)
        program = Program()
        x = program.input((64,))
        for _ in range(depth):
            x = dense(program, x, random_weight(rng, 64, 64), activation="tanh")
        head = random_weight(rng, 64, 3)
        program.loss("mean_squared_error", program.input((3,), role="y"), dense(program, x, head))
        return memory(program, [head])

    assert taken(30) == taken(3)


def folded(times, width=64, twice=False):
    """x -> tanh of its lines of 32, or of them and their softmax -> the sum of that and x."""
    rng = np.random.default_rng(0)
    program = Program()
    x = dense(program, program.input((width,)), random_weight(rng, width, width))
    lines = x
    for _ in range(times):
        lines = program.emit("reshape", [lines], (width // 32, 32))
        lines = program.emit("reshape", [lines], (width,))
    lines = program.emit("reshape", [lines], (width // 32, 32))
    y = activation(program, lines, "tanh")
    if twice:
        y = program.map("add", [y, program.emit("softmax", [lines], lines.shape)])
    y = program.map("add", [x, program.emit("reshape", [y], (width,))])
    program.output(y)
    return program


def test_a_reshape_takes_no_memory_where_the_numbers_stay_in_their_places():
    few, many = (folded(n) for n in (0, 3))
    for program in (few, many):
        program.objective(program.outputs[0])
    assert memory(many, many.variables) == memory(few, few.variables)
    assert memory(many, training=False) == memory(few, training=False)


@pytest.mark.parametrize("twice", [False, True])
def test_gradients_pass_reshapes_that_share_memory_with_what_others_read(twice):
    program = folded(2, twice=twice)
    program.objective(program.outputs[0])
    x = np.random.default_rng(1).normal(size=(70, 64)).astype(np.float32)
    expected = difference_gradients(program, [x], training=True)
    found = [gradients(program.fused(), [x], threads=n) for n in (1, 2, 3)]
    agree(found[0], expected)
    for v in expected:
        for other in found[1:]:
            np.testing.assert_array_equal(other[v], found[0][v])


# --------------------------------------------------------------------------- what does not learn


def test_a_weight_that_leads_nowhere_learns_from_its_penalty_alone():
    rng = np.random.default_rng(1)
    beside, used, unread = (random_weight(rng, 3, 2) for _ in range(3))
    program = Program()
    x = program.input((3,))
    stopped = program.emit("stop", [dense(program, x, beside)], (2,))
    t = program.input((2,), role="y")
    program.loss("mean_squared_error", t, program.map("add", [stopped, dense(program, x, used)]))
    arrays = [rng.normal(size=(20, 3)), rng.normal(size=(20, 2))]
    for threads in (1, 2):
        before = {v: v.numpy().astype(np.float64) for v in (beside, unread)}
        optimizer = learner("sgd", [beside, used, unread])
        rules = {"penalties": {beside: (0.0, 0.1)}, "weight_decay": 0.5}
        options = {"batch": 20, "rate": 0.25, "rules": rules, "threads": threads}
        train(program.fused(), arrays, optimizer, **options)
        decayed = 1 - 0.5 * 0.25
        expected = before[beside] * decayed - 0.25 * 0.2 * before[beside]
        np.testing.assert_allclose(beside.numpy(), expected, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(unread.numpy(), before[unread] * decayed, rtol=1e-6)


# ----------------------------------------------------------------------------------- many arrays


@pytest.mark.parametrize("n", [1, 8, 9, 30])
def test_any_number_of_inputs_and_outputs(n):
    rng = np.random.default_rng(2)
    program = Program()
    inputs = [program.input((k % 3 + 1,)) for k in range(n)]
    for x in inputs:
        program.output(activation(program, x, "tanh"))
    arrays = [rng.normal(size=(50, *v.shape)).astype(np.float32) for v in inputs]
    found = predict(program, arrays, rows=7)
    for y, x in zip([found] if n == 1 else found, arrays, strict=True):
        np.testing.assert_allclose(y, np.tanh(x), rtol=1e-5)
    executor = _core.Executor(program.fused(), 50)
    executor.begin(arrays, 50)
    executor.test(1, 1e9)
    for k, x in enumerate(arrays):
        np.testing.assert_array_equal(executor.batch(k), x)
        np.testing.assert_allclose(executor.output(k), np.tanh(x), rtol=1e-5)


def test_the_caller_may_give_the_gradients_of_several_values():
    rng = np.random.default_rng(3)
    trunk, left, right = (random_weight(rng, 4, 4) for _ in range(3))
    program = Program()
    h = activation(program, dense(program, program.input((4,)), trunk), "tanh")
    program.output(dense(program, h, left))
    program.output(dense(program, h, right))
    program.external_grads = list(program.outputs)
    x, *dy = (rng.normal(size=(20, 4)).astype(np.float32) for _ in range(3))
    optimizer = learner("sgd_momentum", program.variables, momentum=0.0)
    executor = _core.Executor(program.fused(), 20, training=True, optimizer=optimizer)
    executor.begin([x], 20)
    executor.forward(True)
    with pytest.raises(ValueError, match="2 gradients"):
        executor.backward(dy[0], 1.0, 0)
    weights = [v.numpy().astype(np.float64) for v in (trunk, left, right)]
    executor.backward(dy, 1.0, 0)
    h = np.tanh(x.astype(np.float64) @ weights[0])
    dh = dy[0] @ weights[1].T + dy[1] @ weights[2].T
    expected = [x.T @ (dh * (1 - h * h)), h.T @ dy[0], h.T @ dy[1]]
    for v, g in zip((trunk, left, right), expected, strict=True):
        np.testing.assert_allclose(-optimizer[2][v][0].get(), g, rtol=1e-4, atol=1e-5)


def test_an_instruction_reads_one_value_twice_and_gives_both_gradients():
    w = weight_of(np.eye(3))
    program = Program()
    y = dense(program, program.input((3,)), w)
    program.objective(program.map("multiply", [y, y]), reduction="sum")
    x = np.random.default_rng(4).normal(size=(20, 3)).astype(np.float32)
    np.testing.assert_allclose(gradients(program.fused(), [x])[w], 2 * x.T @ x, rtol=1e-5)
