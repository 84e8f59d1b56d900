"""A signal is answered within a step, which is then whole or has never been."""

import signal
import threading
import time

import numpy as np
import pytest
import references as reference
from programs import activation, dense, learner, mlp, random_weight, weight

from cdl import _core
from cdl._ir import emit
from cdl._ir.loops import Loop
from cdl._ir.lowering import Lowering
from cdl._ir.program import Instruction, Program

ROWS = 256


class StopError(Exception):
    """An error that the handler of a signal raises."""


class Looks:
    """Stands in the place of signal handlers: the core asks at each look, and `at` ends the run."""

    def __init__(self):
        self.seen, self.at = 0, None

    def __call__(self):
        self.seen += 1
        if self.seen == self.at:
            raise StopError

    def of(self, call, at=None):
        """The number of looks of the core in `call`, which the look number `at` ends."""
        self.seen, self.at = 0, at
        if at is None:
            call()
        else:
            with pytest.raises(StopError):
                call()
        return self.seen


@pytest.fixture
def looks():
    counted = Looks()
    _core.answer_signals(counted, 0.0)
    yield counted
    _core.answer_signals()


def moments(n):
    """The first looks of n, the last ones but that behind the batch, and some between."""
    return sorted({*range(1, min(n, 5)), *range(1, n, max(1, n // 12)), *range(max(1, n - 4), n)})


# --- programs: each gives what learns ---


def plain(program, x, rng):
    kernels = [random_weight(rng, *x.shape, *x.shape) for _ in range(3)]
    biases = [weight(np.zeros(x.shape)) for _ in range(3)]
    for kernel, bias in zip(kernels, biases, strict=True):
        x = activation(program, dense(program, x, kernel, bias), "tanh")
    return x, kernels + biases


def normalized(program, x, rng):
    """A net with batch normalization, whose moving statistics change in the forward pass."""
    kernels = [random_weight(rng, *x.shape, *x.shape) for _ in range(2)]
    gamma, beta, mean, variance = (weight(np.full(x.shape, v)) for v in (1.0, 0.0, 0.0, 1.0))
    x = dense(program, x, kernels[0])
    options = {"momentum": 0.9, "epsilon": 1e-3, "frozen": 0}
    x = program.emit("batch_norm", [x], x.shape, (gamma, beta, mean, variance), **options)
    return dense(program, x, kernels[1]), [*kernels, gamma, beta]


def shared(program, x, rng):
    """Two instructions use one weight."""
    kernel = random_weight(rng, *x.shape, *x.shape)
    return dense(program, activation(program, dense(program, x, kernel), "tanh"), kernel), [kernel]


def looped(program, x, rng):
    """A loop over the parts of a sample, within which the core looks as well."""
    n = x.shape[0] // 16
    kernels = [random_weight(rng, rows, 16) for rows in (*x.shape, 16, 16)]
    first = dense(program, x, kernels[0])
    body = Program()
    h, part = body.value((16,)), body.value((16,))
    body.instructions = [
        Instruction(op, (), (v,), (), {}) for op, v in (("carried", h), ("element", part))
    ]
    z = body.map("add", [dense(body, h, kernels[1]), dense(body, part, kernels[2])])
    body.outputs = [activation(body, z, "tanh")] * 2
    outputs = [program.value((16,)), program.value((n, 16))]
    inputs = [first, emit.reshape(program, x, (n, 16))]
    attributes = {"iterations": n, "draws": 0, "drawn": 0, "reverse": 0, "by_place": 1}
    ways = ["carry", "collect"]
    program.instructions.append(Loop(body, ways, inputs, outputs, attributes))
    return emit.reshape(program, outputs[1], x.shape), kernels


NETS = {"plain": plain, "normalized": normalized, "shared": shared, "looped": looped}
RULES = {"at once": {}, "kept": {"clipnorm": 1.0}, "later": {"gradient_accumulation_steps": 2}}


class Training:
    """A program that trains in steps of some rows, and all that such a step may change."""

    def __init__(self, net="plain", rules="at once", *, row="adam", threads=1, wide=384, rows=ROWS):
        rng = np.random.default_rng(0)
        self.program = Program()
        y, learning = NETS[net](self.program, self.program.input((wide,)), rng)
        self.program.output(y)
        self.program.loss("mean_squared_error", self.program.input((wide,), role="y"), y)
        rules = dict(RULES[rules])
        if "gradient_accumulation_steps" in rules:
            rules["accumulators"] = {
                v: _core.Parameter(v.shape, v.storage.matrix) for v in learning
            }
        rows_of = {row: [v for v in learning if len(v.shape) > 1]}  # by row of the optimizers
        rows_of.setdefault("adam", []).extend(v for v in learning if len(v.shape) == 1)
        optimizer = [
            learner(name, variables, **reference.OPTIMIZER_HYPERS[name])
            for name, variables in rows_of.items()
        ]
        options = {"training": True, "optimizer": optimizer, "rules": rules, "threads": threads}
        self.executor = _core.Executor(self.program.fused(), rows, **options)
        self.parameters = [v.storage for v in self.program.variables]
        by_variable = [slots for group in optimizer for slots in group[2].values()]
        self.parameters += [slot for slots in by_variable for slot in slots]
        self.parameters += rules.get("accumulators", {}).values()
        x = rng.normal(size=(3 * rows, wide)).astype(np.float32)
        self.executor.begin([x, np.tanh(x)], rows)

    def step(self):
        self.executor.train(1, 1e9, [0.01], self.executor.done, 0)

    def forever(self):
        """Passes over the data without a break."""
        rows = np.tile(np.arange(3 * self.executor.rows), (50, 1))
        self.executor.train_epochs(rows, 0.01, 0, 0, [])

    def state(self):
        return [each.get() for each in self.parameters], self.executor.states()


def same(found, expected):
    return found[1] == expected[1] and all(map(np.array_equal, found[0], expected[0]))


# --- what has happened where ---


@pytest.mark.parametrize("wide", [64, 384], ids=["between steps", "within them too"])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("net", ["plain", "shared"])
def test_each_look_finds_what_so_many_whole_steps_have_made(net, rules, threads, wide, looks):
    training, states = Training(net, rules, wide=wide), []
    for _ in range(3):
        states.append(training.state()[0])
        training.step()
    states.append(training.state()[0])
    training, counter, wrong = Training(net, rules, threads=threads, wide=wide), np.zeros(1, int), 0
    training.executor.count_in(counter)

    def look():
        nonlocal wrong
        looks.seen += 1
        expected = states[training.executor.done]
        wrong += not all(map(np.array_equal, training.state()[0], expected))
        wrong += counter[0] != training.executor.done

    _core.answer_signals(look, 0.0)
    training.executor.train(3, 1e9, [0.01], 0, 0)
    assert looks.seen >= 3
    assert wrong == 0


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("net", NETS)
def test_a_step_that_is_cut_short_has_changed_nothing(net, rules, threads, looks):
    training, states, counts = Training(net, rules, threads=threads), [], []
    for _ in range(3):
        states.append(training.state())
        counts.append(looks.of(training.step))
    states.append(training.state())

    training = Training(net, rules, threads=threads)
    for i, n in enumerate(counts):
        assert n > 5
        for at in moments(n):
            looks.of(training.step, at)
            assert same(training.state(), states[i]), f"step {i}, look {at} of {n}"
            assert training.executor.done == i
        assert looks.of(training.step) == n
        assert same(training.state(), states[i + 1])


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("rules", ["at once", "later"])
def test_gradients_of_long_products_are_kept_so_that_they_can_be_cut_short(rules, threads, looks):
    few, many, again = (
        Training(rules=rules, wide=512, rows=rows, threads=threads)
        for rows in (256, 2048 * threads, 2048 * threads)
    )
    for _ in range(2):  # of which one may add to what is accumulated, and one apply it
        before = many.state()
        n = looks.of(many.step)
        blocks = 3 * (512 // 64) ** 2 // threads  # of the products of the update
        assert n > looks.of(few.step) + 0.9 * blocks  # each is looked at
        after = many.state()
        for at in (1, n // 3, n // 2, n - 9, n - 1):  # the last third are products of the update
            looks.of(again.step, at)
            assert same(again.state(), before)
        again.step()
        assert same(again.state(), after)


@pytest.mark.parametrize("rules", ["at once", "later"])
def test_kept_gradients_give_the_bits_of_learning_block_by_block(rules):
    """Gradients long enough to be kept by one thread are shared by two, which keep none."""
    kept, at_once = (Training(rules=rules, wide=512, rows=2048, threads=n) for n in (1, 2))
    for _ in range(3):
        kept.step()
        at_once.step()
        assert same(kept.state(), at_once.state())


@pytest.mark.parametrize("threads", [1, 2])
def test_an_update_of_products_that_is_cut_short_has_changed_nothing(threads, looks):
    """Muon's steps take seconds for large matrices, whatever the batch; biases learn by Adam."""
    training = Training(row="muon", threads=threads, wide=700, rows=32)
    before = training.state()
    n = looks.of(training.step)
    assert n > 300
    after = training.state()
    again = Training(row="muon", threads=threads, wide=700, rows=32)
    for at in (n // 8, n // 3, n // 2, n - 40, n - 2):
        looks.of(again.step, at)
        assert same(again.state(), before)
        assert again.executor.done == 0
    again.step()
    assert same(again.state(), after)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_batch_of_an_evaluation_that_is_cut_short_does_not_count(threads, looks):
    training = Training(threads=threads)
    n = looks.of(lambda: training.executor.test(1, 1e9))
    counted = training.executor.states()
    for at in moments(n):
        looks.of(lambda: training.executor.test(1, 1e9), at)
        assert training.executor.done == 1
        assert training.executor.states() == counted


@pytest.mark.parametrize("halves", ["forward", "backward"])
def test_a_half_of_a_step_that_is_cut_short_has_changed_nothing(halves, looks):
    rng = np.random.default_rng(0)
    program = Program()
    y, learning = normalized(program, program.input((512,)), rng)
    program.output(y)
    optimizer = learner("sgd", learning)
    executor = _core.Executor(program.fused(), ROWS, training=True, optimizer=optimizer)
    executor.begin([rng.normal(size=(ROWS, 512))], ROWS)
    weights = [v.numpy() for v in program.variables]
    dy = np.ones((ROWS, 512), np.float32)

    def step(forward_at=None, backward_at=None):
        n = looks.of(lambda: executor.forward(True), forward_at)
        if forward_at is None:
            n = looks.of(lambda: executor.backward(dy, 0.1, 0), backward_at)
        return n

    for at in range(1, 6):
        step(**{f"{halves}_at": at})
        assert all(map(np.array_equal, weights, [v.numpy() for v in program.variables]))
    assert step() >= 5
    assert not np.array_equal(weights[0], program.variables[0].numpy())


def test_a_fault_brings_the_moving_statistics_back_too():
    rng = np.random.default_rng(0)
    program = Lowering()
    y, learning = normalized(program, program.input((8,)), rng)
    rows = emit.gather(program, program.input((1,)), weight(rng.normal(size=(3, 8))), label="r")
    program.output(y)
    program.output(rows)
    optimizer = learner("sgd", learning)
    executor = _core.Executor(program.fused(), 4, training=True, optimizer=optimizer)
    executor.begin([rng.normal(size=(4, 8)), np.full((4, 1), 3)], 4)
    before = [v.numpy() for v in program.variables]
    with pytest.raises(ValueError, match=r"r: expected numbers in \[0, 3\), got 3"):
        executor.forward(True)
    assert all(map(np.array_equal, before, [v.numpy() for v in program.variables]))


@pytest.mark.parametrize("threads", [1, 2])
def test_a_prediction_that_is_cut_short_is_right_the_next_time(threads, looks):
    program, _ = mlp(np.random.default_rng(0), [512] * 4)
    x = np.random.default_rng(1).normal(size=(3000, 512)).astype(np.float32)
    for rows in (32, 1500):  # many blocks; few that are long
        executor = _core.Executor(program.fused(), rows, threads=threads)
        expected = executor.predict([x])
        n = looks.of(lambda: executor.predict([x]))  # noqa: B023
        for at in moments(n):
            looks.of(lambda: executor.predict([x]), at)  # noqa: B023
        np.testing.assert_array_equal(executor.predict([x]), expected)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_large_output_is_copied_out_in_pieces(threads, looks):
    program = Program()
    x = program.input((4096,))
    program.output(activation(program, x, "tanh"))
    executor = _core.Executor(program.fused(), 8000, threads=threads)
    values = np.random.default_rng(0).normal(size=(8000, 4096)).astype(np.float32)
    pieces = 8000 * 4096 // 2_500_000 // threads
    n = looks.of(lambda: executor.predict([values]))
    assert (
        n >= 4 * pieces
    )  # of the input, of the output, and twice as many of the hyperbolic tangent
    looks.of(lambda: executor.predict([values]), n - 2)
    np.testing.assert_allclose(executor.predict([values]), np.tanh(values), rtol=1e-6)


def test_passes_before_the_one_that_is_cut_short_are_told(looks):
    training, passes = Training(), []
    orders = np.tile(np.arange(3 * ROWS), (4, 1))
    whole = []
    n = looks.of(lambda: training.executor.train_epochs(orders, 0.01, 0, 0, whole))
    assert len(whole) == 4
    again = Training()
    looks.of(lambda: again.executor.train_epochs(orders, 0.01, 0, 0, passes), n * 5 // 8)
    assert passes == whole[:2]
    assert 6 <= again.executor.done < 9


def test_an_answer_without_an_exception_changes_nothing(looks):
    asked, alone = Training(), Training()
    for _ in range(3):
        looks.of(asked.step)
    assert looks.seen
    _core.answer_signals()
    for _ in range(3):
        alone.step()
    assert same(asked.state(), alone.state())


def test_the_answer_may_use_the_model_that_is_running(looks):
    program, _ = mlp(np.random.default_rng(0), [512] * 4)
    executor = _core.Executor(program.fused(), 32)
    x = np.ones((2000, 512), np.float32)
    expected, found = executor.predict([x]), []

    def predict():
        _core.answer_signals()
        found.append(executor.predict([x[:5]]))

    _core.answer_signals(predict, 0.0)
    np.testing.assert_array_equal(executor.predict([x]), expected)
    np.testing.assert_array_equal(found[0], expected[:5])


def test_other_threads_than_the_main_one_do_not_ask(looks):
    training = Training()
    thread = threading.Thread(target=training.step)
    thread.start()
    thread.join()
    assert training.executor.done == 1
    assert not looks.seen


def test_with_several_threads_each_batch_is_followed_by_a_look(looks):
    """Threads that wait for another may be late by a time slice of the system at each."""
    training = Training(threads=2, wide=16, rows=32)
    rows = np.tile(np.arange(96), (100, 1))
    assert looks.of(lambda: training.executor.train_epochs(rows, 0.01, 0, 0, [])) == 300


# --- when: by the time that the process has worked, since a busy machine makes it wait, too ---


@pytest.fixture
def late():
    """The delay with which a signal is answered that comes after some seconds of work."""

    def handler(*_):
        raise StopError

    def once(call, seconds):
        start = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            with pytest.raises(StopError):
                call()
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        return time.process_time() - start - seconds

    def of(call, seconds):
        # The host of a virtual machine takes time that counts as work of the process.
        return min(once(call, seconds) for _ in range(3))

    before = signal.signal(signal.SIGPROF, handler)
    yield of
    signal.signal(signal.SIGPROF, before)


@pytest.mark.measures
@pytest.mark.parametrize("rules", ["at once", "kept"])
def test_a_signal_is_answered_within_100_ms_of_a_step_of_seconds(rules, late):
    training = Training(rules=rules, wide=1536, rows=3072)
    before = training.state()
    assert late(training.step, 0.05) < 0.1
    assert same(training.state(), before)
    for seconds in (0.3, 0.9):
        assert late(training.forever, seconds) < 0.1


@pytest.mark.measures
def test_a_signal_is_answered_within_100_ms_of_an_evaluation_or_prediction(late):
    training = Training(wide=1536, rows=3072)
    assert late(lambda: [training.executor.test(1, 1e9) for _ in range(3)], 0.2) < 0.1
    program, _ = mlp(np.random.default_rng(0), [64, 256, 64])
    x = np.broadcast_to(np.float32(1), (10_000_000, 64))
    for rows in (64, 20_000):
        executor = _core.Executor(program.fused(), rows, threads=1)
        assert late(lambda: executor.predict([x]), 0.1) < 0.1  # noqa: B023


@pytest.mark.parametrize("threads", [1, 2])
def test_a_pass_returns_when_its_time_is_up(threads):
    program, y = mlp(np.random.default_rng(0), [64, 256, 64])
    program.loss("mean_squared_error", program.input((64,), role="y"), y)
    arrays = [np.broadcast_to(np.float32(1), (4_000_000, 64))] * 2
    optimizer = learner("sgd", program.variables)
    options = {"training": True, "optimizer": optimizer, "threads": threads}
    executor = _core.Executor(program.fused(), 128, **options)
    executor.begin(arrays, 128)
    start = time.monotonic()
    trained = executor.train(10**9, 0.05, [0.0], 0, 0)
    assert time.monotonic() - start > 0.04
    assert 0 < trained < executor.test(10**9, 0.05) < 4_000_000 // 128


def test_numpy_warnings_of_a_call_are_not_left_for_the_next():
    """inf - inf and 0 * inf inside raise flags that NumPy must not find afterwards."""
    program, _ = mlp(np.random.default_rng(0), [4, 5], last="softmax")
    executor = _core.Executor(program, 4)
    executor.predict([np.full((4, 4), np.inf)])
    with np.errstate(all="raise"):
        assert np.float32(1) + np.float32(1) == 2
        assert (np.ones(8, np.float32) * np.ones(8, np.float32) == 1).all()
